"""Waiting for the sake of a caller, which ends when the caller leaves."""

import asyncio
from types import TracebackType

from starlette.types import Scope

from service.api.bodies import CallerGone
from service.model import ON_GONE


class Attended:
    """Ends what its block waits for, with ``CallerGone``, when the listener sees the caller go.

    A listener that does not tell (the scope has no ``state``) changes nothing.
    """

    __slots__ = ("_before", "_is_gone", "_state", "_task")

    def __init__(self, scope: Scope) -> None:
        self._state = scope.get("state")
        self._is_gone = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if self._state is not None and task is not None:
            self._task, self._before = task, task.cancelling()
            self._state[ON_GONE] = self._leave

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._state is not None:
            self._state.pop(ON_GONE, None)
        # The end of the process may have cancelled it, too: that goes on.
        if self._is_gone and self._task.uncancel() <= self._before and _is_cancelling(error):
            raise CallerGone from None

    def _leave(self) -> None:
        if not self._is_gone:
            self._is_gone = True
            self._task.cancel()


def _is_cancelling(error: BaseException | None) -> bool:
    return isinstance(error, asyncio.CancelledError)
