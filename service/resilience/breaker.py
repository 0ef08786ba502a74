"""When to leave a site of Gigya's alone for a while, instead of asking it again."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final

from service.errors import (
    ServiceError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)


class State(StrEnum):
    """What the breaker does with the next call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    REJECTED = "rejected"
    """Open, because Gigya refuses our credentials; told to observers only."""


OUTAGE: Final = (UpstreamUnavailable, UpstreamTimeout, UpstreamInvalid)
"""What counts as Gigya being away. A refusal of our credentials does not."""

PATIENCE: Final = 1.0
"""Seconds after which a call that its callers gave up counts as one that failed.

Without it callers with short deadlines would keep the breaker from ever learning of a black hole;
were it shorter, one impatient caller could close a healthy Gigya to all others.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``failures`` within ``window`` seconds open the breaker for ``cool_down`` seconds."""

    failures: int
    window: float
    cool_down: float
    rejections: int = 3
    """Refusals of our credentials in a row; one alone may be about what a caller sent."""


class Breaker:
    """Lets calls through, or refuses them at once, by what became of the last ones.

    After the cool-down one call is let through as a probe; its fate decides. ``is_rejection`` tells
    a refusal of our credentials: ``rejections`` in a row get a cool-down of the same length without
    being an outage.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        monotonic: Callable[[], float],
        is_rejection: Callable[[ServiceError], bool] = lambda _: False,
        observe: Callable[[State], None] = lambda _: None,
    ) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._is_rejection = is_rejection
        self._observe = observe
        self._failed_at: deque[float] = deque(maxlen=limits.failures)
        self._rejected = 0
        self._until: float | None = None
        self._why: type[ServiceError] = UpstreamUnavailable
        self._probing = False

    @property
    def state(self) -> State:
        """What the breaker does with the next call."""
        if self._until is None:
            return State.CLOSED
        waits = self._probing or self._monotonic() < self._until
        return State.OPEN if waits else State.HALF_OPEN

    def check(self) -> None:
        """Raise what the last calls met if no call would be let through now."""
        if self.state is State.OPEN and self._until is not None:
            wait = max(self._until - self._monotonic(), self._limits.cool_down / 10)
            raise self._why(REFUSALS[self._why], reason="breaker-open", retry_after=wait)

    def guard(self) -> "Guard":
        """Return what lets the call in its block through and notes its fate.

        Entering it raises what the last calls met, with the seconds to wait, instead.
        """
        return Guard(self)

    def began(self) -> tuple[float, bool]:
        """Let a call through; return when that was, and whether it probes."""
        probes = self._admit()
        return self._monotonic(), probes

    def ended(self, error: BaseException | None, begun: tuple[float, bool]) -> None:
        """Note the fate of a call that was let through."""
        at, probes = begun
        if error is None:
            self._succeeded()
        elif isinstance(error, ServiceError):
            self._failed(error, probes=probes)
        else:
            self._given_up(self._monotonic() - at, probes=probes)

    def _admit(self) -> bool:
        self.check()
        if self.state is State.HALF_OPEN:
            self._probing = True
            self._observe(State.HALF_OPEN)
            return True
        return False

    def _succeeded(self) -> None:
        self._probing = False
        self._rejected = 0
        self._failed_at.clear()
        if self._until is not None:
            self._until = None
            self._observe(State.CLOSED)

    def _given_up(self, seconds: float, *, probes: bool) -> None:
        if seconds >= PATIENCE:
            self._failed(UpstreamTimeout("Nobody waited any longer."), probes=probes)
        elif probes:
            self._probing = False  # it told nothing: the next call may probe

    def _failed(self, error: ServiceError, *, probes: bool) -> None:
        rejected = self._is_rejection(error)
        if not rejected and not is_outage(error):
            self._succeeded()  # Gigya answered, whatever it said of the user
            return
        if self._until is not None and not probes:
            return  # begun before the breaker opened: it tells nothing new
        self._probing = False
        now = self._monotonic()
        self._rejected = self._rejected + 1 if rejected else 0
        self._failed_at.append(now)
        if probes or self._rejected >= self._limits.rejections or self._is_full(now):
            self._until = now + self._limits.cool_down
            self._why = UpstreamRejected if rejected else UpstreamUnavailable
            self._observe(State.REJECTED if rejected else State.OPEN)

    def _is_full(self, now: float) -> bool:
        full = len(self._failed_at) == self._limits.failures
        return full and now - self._failed_at[0] <= self._limits.window


class Guard:
    """One call that a breaker watches."""

    __slots__ = ("_begun", "_breaker")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def __enter__(self) -> None:
        self._begun = self._breaker.began()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._breaker.ended(error, self._begun)


def is_outage(error: ServiceError) -> bool:
    """Whether ``error`` tells that Gigya is away, not what it answered about one session."""
    code = error.exchange.error_code if error.exchange else None
    return isinstance(error, OUTAGE) and code != 0


REFUSALS: Final[Mapping[type[ServiceError], str]] = {
    UpstreamUnavailable: (
        "Gigya has failed repeatedly and is left alone for a moment. Ask again later."
    ),
    UpstreamRejected: (
        "Gigya has just refused this service's credentials and is not asked again for a moment."
        " The operators must look at the site's keys."
    ),
}
