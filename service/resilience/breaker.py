"""When to leave a site of Gigya's alone for a while, instead of asking it again."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
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


SUBJECTS: Final = 1024
"""Subjects that are remembered; the one that failed longest ago makes room."""

SUBJECT: Final = (
    "Gigya fails for this session again and again, and is not asked about it for a moment."
)


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
    being an outage. ``is_of_all`` tells what cannot be about the one session that was asked for.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        monotonic: Callable[[], float],
        is_rejection: Callable[[ServiceError], bool] = lambda _: False,
        is_of_all: Callable[[ServiceError], bool] = lambda _: False,
        observe: Callable[[State], None] = lambda _: None,
    ) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._is_rejection = is_rejection
        self._is_of_all = is_of_all
        self._observe = observe
        self._failures: deque[tuple[float, Hashable]] = deque(maxlen=limits.failures)
        self._subjects = _Subjects(limits)
        self._rejected = 0
        self._until: float | None = None
        self._why: type[ServiceError] = UpstreamUnavailable
        self._probing = False
        self._renewed_at = -math.inf

    @property
    def state(self) -> State:
        """What the breaker does with the next call."""
        if self._until is None:
            return State.CLOSED
        waits = self._probing or self._monotonic() < self._until
        return State.OPEN if waits else State.HALF_OPEN

    def renew(self) -> None:
        """Note that our credentials are others now: what was refused tells nothing about them."""
        self._renewed_at = self._monotonic()
        self._rejected = 0
        if self._until is not None and self._why is UpstreamRejected:
            self._until, self._probing = self._renewed_at, False

    def check(self, about: Hashable = None) -> None:
        """Raise what the last calls met if no call ``about`` this would be let through now."""
        if (wait := self._subjects.wait(about, self._monotonic())) > 0:
            raise UpstreamUnavailable(SUBJECT, reason="breaker-open", retry_after=wait)
        if self.state is State.OPEN and self._until is not None:
            wait = max(self._until - self._monotonic(), self._limits.cool_down / 10)
            raise self._why(REFUSALS[self._why], reason="breaker-open", retry_after=wait)

    def guard(self, about: Hashable = None) -> "Guard":
        """Return what lets the call in its block through and notes its fate.

        Entering it raises what the last calls met, with the seconds to wait, instead. Failures of
        calls that ask ``about`` the same count once in a window, and end in a cool-down of their
        own: one session that Gigya fails, and a caller that asks for it again and again, close
        nothing for the others.
        """
        return Guard(self, about)

    def began(self, about: Hashable = None) -> tuple[float, bool]:
        """Let a call through; return when that was, and whether it probes."""
        probes = self._admit(about)
        return self._monotonic(), probes

    def ended(
        self, error: BaseException | None, begun: tuple[float, bool], about: Hashable = None
    ) -> None:
        """Note the fate of a call that was let through."""
        at, probes = begun
        if error is None:
            self._succeeded(about)
        elif isinstance(error, ServiceError) and self._is_of_before(error, at):
            return
        elif isinstance(error, ServiceError):
            self._failed(error, about, probes=probes)
        else:
            self._given_up(self._monotonic() - at, about, probes=probes)

    def _is_of_before(self, error: ServiceError, at: float) -> bool:
        """Whether it refuses what is no longer in use."""
        return at < self._renewed_at and self._is_rejection(error)

    def _admit(self, about: Hashable) -> bool:
        self.check(about)
        if self.state is State.HALF_OPEN:
            self._probing = True
            self._observe(State.HALF_OPEN)
            return True
        return False

    def _succeeded(self, about: Hashable) -> None:
        self._subjects.well(about)
        self._probing = False
        self._rejected = 0
        self._failures.clear()
        if self._until is not None:
            self._until = None
            self._observe(State.CLOSED)

    def _given_up(self, seconds: float, about: Hashable, *, probes: bool) -> None:
        if seconds >= PATIENCE:
            self._failed(UpstreamTimeout("Nobody waited any longer."), about, probes=probes)
        elif probes:
            self._probing = False  # it told nothing: the next call may probe

    def _failed(self, error: ServiceError, about: Hashable, *, probes: bool) -> None:
        rejected = self._is_rejection(error)
        if not rejected and not is_outage(error):
            self._succeeded(about)  # Gigya answered, whatever it said of the user
            return
        if self._until is not None and not probes:
            return  # begun before the breaker opened: it tells nothing new
        self._probing = False
        now = self._monotonic()
        if self._subjects.failed(None if self._is_of_all(error) else about, now) == 1:
            self._rejected = self._rejected + 1 if rejected else 0
            self._failures.append((now, about))
        if probes or self._rejected >= self._limits.rejections or self._is_full(now):
            self._until = now + self._limits.cool_down
            self._why = UpstreamRejected if rejected else UpstreamUnavailable
            self._observe(State.REJECTED if rejected else State.OPEN)

    def _is_full(self, now: float) -> bool:
        full = len(self._failures) == self._limits.failures
        return full and now - self._failures[0][0] <= self._limits.window


class _Subjects:
    """What calls were about that failed lately, each with its count and its own cool-down."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def wait(self, about: Hashable, now: float) -> float:
        """Return the seconds that ``about`` is still left alone."""
        count, at = self._known.get(about, (0, 0.0))
        return at + self._limits.cool_down - now if count >= self._limits.failures else 0.0

    def failed(self, about: Hashable, now: float) -> int:
        """Count a failure; return which one it is in the window (without a subject: the first)."""
        if about is None:
            return 1
        count, at = self._known.pop(about, (0, now))
        count = count + 1 if now - at <= self._limits.window else 1
        self._known[about] = (count, now)
        if len(self._known) > SUBJECTS:
            self._known.popitem(last=False)
        return count

    def well(self, about: Hashable) -> None:
        """Forget a subject that was answered."""
        self._known.pop(about, None)


class Guard:
    """One call that a breaker watches."""

    __slots__ = ("_about", "_begun", "_breaker")

    def __init__(self, breaker: Breaker, about: Hashable = None) -> None:
        self._breaker = breaker
        self._about = about

    def __enter__(self) -> None:
        self._begun = self._breaker.began(self._about)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._breaker.ended(error, self._begun, self._about)


def is_outage(error: ServiceError) -> bool:
    """Whether ``error`` tells that Gigya is away, not what it answered about one session."""
    code = error.exchange.error_code if error.exchange else None
    if isinstance(error, UpstreamInvalid) and code is not None:
        return False  # Gigya answered, in words that we do not know
    return isinstance(error, OUTAGE) and code != PROVIDER_AWAY


PROVIDER_AWAY: Final = 500023
"""Gigya's "Provider error": one provider is away, and Gigya is not."""


REFUSALS: Final[Mapping[type[ServiceError], str]] = {
    UpstreamUnavailable: (
        "Gigya has failed repeatedly and is left alone for a moment. Ask again later."
    ),
    UpstreamRejected: (
        "Gigya has just refused this service's credentials and is not asked again for a moment."
        " The operators must look at the site's keys."
    ),
}
