"""Time as an argument: a clock, and a budget that a request spends."""

from collections.abc import Callable
from dataclasses import dataclass

from service.values import value


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Two readings of time, in seconds: ``wall`` since 1970 UTC, ``monotonic`` since whenever."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]


@value(kw_only=False)
class Deadline:
    """A moment on a monotonic clock by which everything must have happened."""

    at: float
    monotonic: Callable[[], float]

    @classmethod
    def after(cls, seconds: float, clock: Clock) -> "Deadline":
        """Return the deadline ``seconds`` from now."""
        return cls(clock.monotonic() + seconds, clock.monotonic)

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self.at - self.monotonic())

    @property
    def is_past(self) -> bool:
        """Whether nothing is left."""
        return self.at <= self.monotonic()

    def sooner(self, seconds: float) -> "Deadline":
        """Return this deadline or one ``seconds`` from now, whichever comes first."""
        return Deadline(min(self.at, self.monotonic() + seconds), self.monotonic)
