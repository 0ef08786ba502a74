"""Single-flight: requests for the same thing at the same time share one call."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from service.deadline import Deadline
from service.errors import ServiceError, UpstreamTimeout

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

BEGUN: Final = "begun"
JOINED: Final = "joined"
ABANDONED: Final = "abandoned"
EVENTS: Final = (BEGUN, JOINED, ABANDONED)


@dataclass(slots=True, eq=False)
class _Flight(Generic[V]):
    task: asyncio.Task[V]
    begun: float
    waiting: int = 0


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

    def __len__(self) -> int:
        """Return how many calls new requests could join."""
        return len(self._under_way)

    async def result(
        self,
        key: K,
        call: Callable[[], Awaitable[V]],
        *,
        deadline: Deadline,
        oldest: float | None = None,
    ) -> V:
        """Return what ``call`` returns, or what one under way for ``key`` returns.

        ``oldest`` (seconds) is how long ago a call may have begun to be joined; 0 joins none.
        Raises what the call raises, and ``UpstreamTimeout`` at this request's own ``deadline``.
        """
        flight = self._under_way.get(key)
        if flight is None or (oldest is not None and not self._began_within(flight, oldest)):
            flight = self._begin(key, call)
        else:
            self._observe(JOINED)
        flight.waiting += 1
        try:
            await _ended(flight.task, deadline.remaining())
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and flight.task.cancel():
                # It leaves the table now: who comes next must not join what is being cancelled.
                self._land(key, flight)
                self._observe(ABANDONED)
        return _outcome(flight.task)

    def _began_within(self, flight: _Flight[V], seconds: float) -> bool:
        return seconds > 0 and self._monotonic() - flight.begun <= seconds

    def _begin(self, key: K, call: Callable[[], Awaitable[V]]) -> _Flight[V]:
        async def run() -> V:
            return await call()

        flight = _Flight(asyncio.create_task(run()), self._monotonic())
        self._under_way[key] = flight
        flight.task.add_done_callback(lambda _: self._land(key, flight))
        self._observe(BEGUN)
        return flight

    def _land(self, key: K, flight: _Flight[V]) -> None:
        if self._under_way.get(key) is flight:  # a younger call may have taken its place
            del self._under_way[key]
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # nobody may be left to look at it


async def _ended(task: asyncio.Task[V], seconds: float) -> None:
    """Wait until ``task`` has ended, but no longer; ``asyncio.wait`` does, at twice the cost."""
    loop = asyncio.get_running_loop()
    is_time: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not is_time.done():
            is_time.set_result(None)

    timer = loop.call_later(seconds, wake)
    task.add_done_callback(wake)
    try:
        await is_time
    finally:
        timer.cancel()
        task.remove_done_callback(wake)


def _outcome(task: asyncio.Task[V]) -> V:
    if not task.done() or task.cancelled():
        raise UpstreamTimeout("Gigya did not answer within this request's deadline. Ask again.")
    error = task.exception()
    if isinstance(error, ServiceError):
        raise error.again()
    return task.result()
