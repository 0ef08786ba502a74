"""What several requests need at once: asked for once, waited for together, not again too soon."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from service.callers.flights import Flights, landed
from service.callers.refusals import Unavailable, unavailable
from service.deadline import Clock, Deadline
from service.errors import AuthenticationUnavailable


class Asking:
    """One question about keys; ``cool_down`` is the seconds between two that requests cause.

    ``not_before`` is when the next may begin, in seconds of the monotonic clock; whoever is asked
    may change it.
    """

    def __init__(
        self, question: Callable[[], Awaitable[None]], *, clock: Clock, cool_down: float
    ) -> None:
        self._question, self._clock, self._cool_down = question, clock, cool_down
        self._flights: Flights[None, None] = Flights()
        self.not_before = -math.inf

    @property
    def may_ask(self) -> bool:
        """Whether the question is being asked, or may be."""
        return self._is_asked or self._clock.monotonic() >= self.not_before

    def begin(self) -> asyncio.Task[None]:
        """Ask, unless it is being asked, whether that is too soon or not."""
        return self._flights.start(None, self._ask)

    async def ask(self, deadline: Deadline) -> None:
        """Ask, or wait with those who have; raises ``AuthenticationUnavailable`` if it is late."""
        if not self._is_asked:
            self.not_before = self._clock.monotonic() + self._cool_down
        try:
            await landed(self.begin(), deadline)
        except TimeoutError:
            is_late = True
        else:
            is_late = False
        if is_late:
            raise self.unavailable()

    def unavailable(self) -> AuthenticationUnavailable:
        """Return the error that says when it can be asked again."""
        wait = max(self.not_before - self._clock.monotonic(), 1.0)
        return unavailable(Unavailable.KEYS_UNAVAILABLE, wait)

    @property
    def _is_asked(self) -> bool:
        return self._flights.under_way(None) is not None

    async def _ask(self) -> None:
        await self._question()
