"""When a call may be tried again: jittered pauses by a deadline, and a budget of extra calls."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from service.deadline import Deadline


class Retry(StrEnum):
    """What became of the wish to try again; a closed set, good as a label."""

    ALLOWED = "allowed"
    NO_ATTEMPTS = "no_attempts"
    NO_TIME = "no_time"
    NO_BUDGET = "no_budget"


class Budget:
    """Extra calls: each first call earns ``share`` of one, and at most ``reserve`` are saved up.

    So over any stretch of time extra calls are at most ``reserve + share * first calls``. The
    reserve is full at the start, so that a quiet site can retry; with a ``share`` of 0 it is 0.
    """

    def __init__(self, *, share: float = 0.1, reserve: float = 10.0) -> None:
        self._share = share
        self._reserve = reserve if share > 0 else 0.0
        self._left = self._reserve

    def earn(self) -> None:
        """Count a first call."""
        if self._left < self._reserve:  # it hardly ever is: most calls are no extra ones
            self._left = min(self._reserve, self._left + self._share)

    def spend(self) -> bool:
        """Take one extra call, if there is one."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses with full jitter: before try n + 1, between 0 and ``first * 2**(n - 1)`` seconds.

    ``attempts`` counts the first one; no pause is longer than ``longest`` seconds.
    """

    attempts: int = 3
    first: float = 0.1
    longest: float = 2.0

    def seconds(self, attempt: int, fraction: float) -> float:
        """Return the pause after try ``attempt`` (from 1); ``fraction`` is random in [0, 1)."""
        return fraction * min(self.longest, self.first * 2.0 ** min(attempt - 1, 32))


class Retries:
    """What one site may try again."""

    def __init__(
        self,
        backoff: Backoff,
        budget: Budget,
        *,
        random: Callable[[], float],
        observe: Callable[[Retry], None] = lambda _: None,
    ) -> None:
        self._backoff = backoff
        self._budget = budget
        self._random = random
        self._observe = observe

    def begin(self) -> None:
        """Count a first call; it earns its share of an extra one."""
        self._budget.earn()

    async def pause(self, attempt: int, deadline: Deadline, *, at_least: float = 0.0) -> bool:
        """Wait before try ``attempt + 1`` and return True, or return False at once.

        ``at_least`` seconds are waited before the jitter; a pause that would outlast the deadline
        is not begun, and costs nothing of the budget.
        """
        seconds = at_least + self._backoff.seconds(attempt, self._random())
        verdict = self._verdict(attempt, seconds, deadline)
        self._observe(verdict)
        if verdict is Retry.ALLOWED:
            await asyncio.sleep(seconds)
        return verdict is Retry.ALLOWED

    def _verdict(self, attempt: int, seconds: float, deadline: Deadline) -> Retry:
        if attempt >= self._backoff.attempts:
            return Retry.NO_ATTEMPTS
        if seconds >= deadline.remaining():
            return Retry.NO_TIME
        return Retry.ALLOWED if self._budget.spend() else Retry.NO_BUDGET
