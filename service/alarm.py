"""An end to what takes too long: ``asyncio.timeout`` for every request, and nothing but that."""

import asyncio
from types import TracebackType
from typing import Self

from service.deadline import Deadline
from service.endings import Endings


class Alarm:
    """Cancels what its task does in its block at a deadline; then the block is a ``TimeoutError``.

    ``endings`` are to call ``ring`` then. A cancellation by anybody else stays one, also in the
    same moment. ``asyncio.timeout`` does all that too; that it could be put off besides, and has a
    timer of its own, costs each request as much again.
    """

    __slots__ = ("_endings", "_has_rung", "_others", "_task")

    def __init__(self, deadline: Deadline, endings: Endings["Alarm"]) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an alarm needs a task to wake")
        self._task = task
        self._others = task.cancelling()
        self._has_rung = False
        self._endings = endings
        endings.add(self, deadline)

    def ring(self) -> None:
        """Cancel what the task does."""
        self._has_rung = True
        self._task.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._endings.discard(self)
        if (
            self._has_rung
            and self._task.uncancel() <= self._others
            and isinstance(error, asyncio.CancelledError)
        ):
            raise TimeoutError from error
