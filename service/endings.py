"""One timer of the event loop for many that wait, each until its deadline.

Nearly all that waits is over long before: a timer each would be set only to be cancelled, which
costs a request more than what is kept here.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from math import inf
from operator import attrgetter
from typing import Final, Generic, TypeVar

from service.deadline import Deadline

W = TypeVar("W")

_WHEN: Final = attrgetter("at")


class Endings(Generic[W]):
    """Whoever waits, with the deadline of each; ``end`` gets those that still wait at theirs.

    Who waits is told apart by its hash. All deadlines are of one clock, which goes as the loop's
    does; they are all of one loop.
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
        # In a context of its own: it is for all, and outlives the request that happens to set it.
        self._timer = loop.call_later(deadline.remaining(), self._ring, context=Context())

    def _ring(self) -> None:
        """End all that is late by now, which may be more than what the timer was set for."""
        waiting = self._deadlines
        now = self._rings_at  # by the timer: a clock could say that it is a moment too early
        if waiting:
            now = max(now, next(iter(waiting.values())).monotonic())
        late = [who for who, deadline in waiting.items() if deadline.at <= now]
        self._rings_at, self._timer = inf, None
        try:
            for waiter in late:
                if waiting.pop(waiter, None) is not None:  # none that another's end has discarded
                    self._end(waiter)
        finally:
            if waiting:
                self._set(min(waiting.values(), key=_WHEN))
