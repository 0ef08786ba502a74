"""One timer of the event loop for many that wait, each until its deadline.

Nearly all that waits is over long before: a timer each would be set only to be cancelled, which
costs a request more than what is kept here.
"""

import asyncio
from collections.abc import Callable
from math import inf
from operator import attrgetter
from typing import Final, Generic, TypeVar

from service.deadline import Deadline

W = TypeVar("W")

_WHEN: Final = attrgetter("at")


class Endings(Generic[W]):
    """Whoever waits, with the deadline of each; ``end`` gets those that still wait at theirs.

    Who waits is told apart by its hash. All deadlines are of one clock. ``end`` must not raise.
    """

    __slots__ = ("_deadlines", "_end", "_rings_at", "_timer")

    def __init__(self, end: Callable[[W], None]) -> None:
        self._end = end
        self._deadlines: dict[W, Deadline] = {}
        self._rings_at = inf
        self._timer: asyncio.TimerHandle | None = None

    def add(self, waiter: W, deadline: Deadline) -> None:
        """Wait for ``waiter`` no longer than its deadline."""
        self._deadlines[waiter] = deadline
        if deadline.at < self._rings_at:
            self._set(deadline)

    def discard(self, waiter: W) -> None:
        """Wait for it no more; the timer stays: it is for the next one as well."""
        self._deadlines.pop(waiter, None)

    def _set(self, deadline: Deadline) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = deadline.at
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(deadline.remaining(), self._ring)

    def _ring(self) -> None:
        # The timer says what time it is: a clock could say that it is a moment too early.
        late = [who for who, deadline in self._deadlines.items() if deadline.at <= self._rings_at]
        self._rings_at, self._timer = inf, None
        for waiter in late:
            del self._deadlines[waiter]
            self._end(waiter)
        if self._deadlines:
            self._set(min(self._deadlines.values(), key=_WHEN))
