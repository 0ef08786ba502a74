"""An end to what takes too long: ``asyncio.timeout`` for every request, and nothing but that."""

import asyncio
from types import TracebackType
from typing import Self


class Alarm:
    """Cancels what its task does in its block after ``seconds``; then the block is a TimeoutError.

    A cancellation by anybody else stays one, also in the same moment. ``asyncio.timeout`` does that
    too; that it could be put off besides costs each request as much again.
    """

    __slots__ = ("_has_rung", "_others", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an alarm needs a task to wake")
        self._task = task
        self._others = task.cancelling()
        self._has_rung = False
        self._timer = task.get_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
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
        self._timer.cancel()
        if (
            self._has_rung
            and self._task.uncancel() <= self._others
            and isinstance(error, asyncio.CancelledError)
        ):
            raise TimeoutError from error
