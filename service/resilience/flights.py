"""Single-flight: requests for the same thing at the same time share one call."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

from service.deadline import Deadline
from service.endings import Endings
from service.errors import ServiceError, UpstreamTimeout

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

BEGUN: Final = "begun"
JOINED: Final = "joined"
ABANDONED: Final = "abandoned"
EVENTS: Final = (BEGUN, JOINED, ABANDONED)


@dataclass(slots=True, eq=False)
class _Flight(Generic[V]):
    """A call, when it began, and who waits: a future each, done when the wait is over."""

    task: asyncio.Task[V]
    begun: float
    waiting: set[asyncio.Future[None]]


class Flights(Generic[K, V]):
    """Calls under way, by what they ask; an entry lives exactly as long as its call.

    The call runs in a task of its own, so that whoever waits can go without harm to the others;
    when nobody waits any more, it is cancelled. ``monotonic`` gives seconds.
    """

    def __init__(
        self, *, monotonic: Callable[[], float], observe: Callable[[str], None] = lambda _: None
    ) -> None:
        self._under_way: dict[K, _Flight[V]] = {}
        self._monotonic = monotonic
        self._observe = observe
        self._endings = Endings(_over)

    def __len__(self) -> int:
        """Return how many calls new requests could join."""
        return len(self._under_way)

    async def result(
        self,
        key: K,
        call: Callable[[], Coroutine[Any, Any, V]],
        *,
        deadline: Deadline,
        oldest: float | None = None,
    ) -> V:
        """Return what ``call`` returns, or what one under way for ``key`` returns.

        ``oldest`` (seconds) is how long ago a call may have begun to be joined; 0 joins none.
        Raises what the call raises, and ``UpstreamTimeout`` at this request's own ``deadline``.
        """
        loop = asyncio.get_running_loop()
        # Not asyncio.wait(): each request waits here, and it costs twice as much.
        end: asyncio.Future[None] = loop.create_future()
        flight = self._under_way.get(key)
        if flight is None or (oldest is not None and not self._began_within(flight, oldest)):
            flight = _Flight(loop.create_task(call()), self._monotonic(), {end})
            self._begin(key, flight)
        else:
            flight.waiting.add(end)
            self._observe(JOINED)
        self._endings.add(end, deadline)
        try:
            await end
        finally:
            self._endings.discard(end)
            flight.waiting.discard(end)
            if not flight.waiting and flight.task.cancel():
                # It leaves the table now: who comes next must not join what is being cancelled.
                self._leave(key, flight)
                self._observe(ABANDONED)
        return _outcome(flight.task)

    def _began_within(self, flight: _Flight[V], seconds: float) -> bool:
        return seconds > 0 and self._monotonic() - flight.begun <= seconds

    def _begin(self, key: K, flight: _Flight[V]) -> None:
        self._under_way[key] = flight
        flight.task.add_done_callback(partial(self._land, key, flight))
        self._observe(BEGUN)

    def _land(self, key: K, flight: _Flight[V], task: asyncio.Task[V]) -> None:
        self._leave(key, flight)
        if not task.cancelled():
            task.exception()  # nobody may be left to look at it
        for end in flight.waiting:
            _over(end)

    def _leave(self, key: K, flight: _Flight[V]) -> None:
        if self._under_way.get(key) is flight:  # a younger call may have taken its place
            del self._under_way[key]


def _over(end: asyncio.Future[None]) -> None:
    """End a wait, unless something else has just ended it."""
    if not end.done():
        end.set_result(None)


def _outcome(task: asyncio.Task[V]) -> V:
    if not task.done() or task.cancelled():
        raise UpstreamTimeout("Gigya did not answer within this request's deadline. Ask again.")
    if (error := task.exception()) is None:
        return task.result()
    raise error.again() if isinstance(error, ServiceError) else error
