"""When to leave a site of Gigya's alone for a while, instead of asking it again."""

import math
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Final

from service.errors import (
    ServiceError,
    UpstreamBusy,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from service.resilience.blame import Blame, blame_of, code_of
from service.resilience.subjects import About, Subjects
from service.values import value


class State(StrEnum):
    """What the breaker does with the next call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    REJECTED = "rejected"
    """Open, because Gigya refuses our credentials; told to observers only."""
    BUSY = "busy"
    """Open, because Gigya asked us to slow down; told to observers only."""


PATIENCE: Final = 1.0
"""Seconds after which a call that its callers gave up counts as one that failed.

Without it callers with short deadlines would keep the breaker from ever learning of a black hole;
were it shorter, one impatient caller could close a healthy Gigya to all others.
"""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds of the first pause that Gigya's rate limit gets, and of the longest; each doubles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``failures`` within ``window`` seconds open the breaker for ``cool_down`` seconds."""

    failures: int
    window: float
    cool_down: float
    refusals: int = 3
    """Answers in a row that refuse us, or ask us to slow down; one alone may be about what a caller
    sent. So many in a row about one session or provider leave that one alone."""


@value(kw_only=False, eq=False)
class Call:
    """One call that was let through; ``is_stranger`` if although the breaker is open.

    As a block it lasts as long as its call, and tells its breaker how that ended.
    """

    breaker: "Breaker" = field(repr=False)
    at: float
    about: About = field(repr=False)
    is_stranger: bool = False

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.breaker.ended(error, self)


class Breaker:
    """Lets calls through, or refuses them at once, by what became of the last ones.

    After the cool-down one call is let through as a probe; its fate decides, and one that hangs
    makes room for the next after another cool-down. Only a success says that others fare better
    than those that failed, so until as many sessions as ``failures`` have failed, a stranger, a
    session that has not, may still ask: a few sick ones close nothing for the others.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        monotonic: Callable[[], float],
        observe: Callable[[State], None] = lambda _: None,
    ) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._observe = observe
        self._failures: deque[tuple[float, About]] = deque(maxlen=limits.failures)
        self._subjects = Subjects(window=limits.window, cool_down=limits.cool_down)
        self._row = _Row()
        self._until: float | None = None
        self._opened_by = Blame.OUTAGE
        self._sick: set[About] = set()
        self._probe: Call | None = None
        self._strangers = 0
        self._pause = 0.0
        self._renewed_at = self._closed_at = -math.inf
        self._is_calm = True
        """Whether nothing of a failure is remembered: nothing to check, nothing to forget."""

    @property
    def state(self) -> State:
        """What the breaker does with the next call; for a stranger see ``check``."""
        if self._until is None:
            return State.CLOSED
        now, probe = self._monotonic(), self._probe
        waits = now < self._until or (probe is not None and now < probe.at + self._limits.cool_down)
        return State.OPEN if waits else State.HALF_OPEN

    @property
    def resting(self) -> int:
        """How many sessions and providers are left alone, each by itself."""
        return self._subjects.resting(self._monotonic())

    def renew(self) -> None:
        """Note that our credentials are others now: what was refused tells nothing about them."""
        self._renewed_at = self._monotonic()
        self._row.clear()
        self._subjects.forgive(UpstreamRejected)
        if self._until is not None and self._opened_by in REJECTIONS:
            self._until, self._probe = self._renewed_at, None

    def check(self, about: About = ()) -> None:
        """Raise what the last calls met if no call ``about`` this would be let through now."""
        if self._is_calm:
            return
        self._subjects.check(about, self._monotonic())
        if self._until is not None and self.state is State.OPEN and not self._is_stranger(about):
            wait = max(self._until - self._monotonic(), self._limits.cool_down / 10)
            kind = KINDS[self._opened_by]
            raise kind(REFUSALS[kind], reason="breaker-open", retry_after=wait)

    def began(self, about: About = ()) -> Call:
        """Let a call through, and return it as a block, or for ``ended``; raises as ``check`` does.

        A session that fails again and again gets a cool-down of its own, whatever becomes of the
        others.
        """
        if self._is_calm:
            return Call(self, self._monotonic(), about)
        self.check(about)
        state = self.state
        call = Call(self, self._monotonic(), about, state is State.OPEN)
        if state is State.HALF_OPEN:
            self._probe = call
            self._observe(State.HALF_OPEN)
        self._strangers += call.is_stranger
        return call

    def ended(self, error: BaseException | None, call: Call) -> None:
        """Note the fate of a call that was let through; each ends once."""
        probes = self._probe is call
        if probes:
            self._probe = None
        self._strangers -= call.is_stranger
        if error is None:
            if not self._is_calm:
                self._answered(Blame.NOBODY, call)
        elif isinstance(error, ServiceError):
            self._judge(error, call, probes=probes)
        elif self._monotonic() - call.at >= PATIENCE:
            self._judge(UpstreamTimeout("Nobody waited any longer."), call, probes=probes)

    def _judge(self, error: ServiceError, call: Call, *, probes: bool) -> None:
        blame = blame_of(error)
        if blame in REJECTIONS and call.at < self._renewed_at:
            return  # it refuses what is no longer in use
        self._is_calm = False
        if blame not in KINDS:
            self._answered(blame, call, type(error))
            return
        if blame not in OF_ALL:
            self._subjects.failed(
                call.about, self._monotonic(), most=self._limits.failures, why=KINDS[blame]
            )
        if call.at >= self._closed_at:  # else it is of an outage that is over
            self._failed(blame, error, call, probes=probes)

    def _answered(self, blame: Blame, call: Call, why: type[ServiceError] = ServiceError) -> None:
        now = self._monotonic()
        for subject, of in ((call.about[:1], Blame.PROVIDER), (call.about, Blame.SESSION)):
            if blame is of:
                self._subjects.failed(subject, now, most=self._limits.refusals, why=why)
            else:
                self._subjects.well(subject)
        self._row.clear()
        self._failures.clear()
        self._pause = 0.0
        if self._until is not None:
            self._until, self._probe, self._closed_at = None, None, now
            self._observe(State.CLOSED)
        self._is_calm = len(self._subjects) == 0

    def _failed(self, blame: Blame, error: ServiceError, call: Call, *, probes: bool) -> None:
        if self._until is not None:
            self._sick.add(call.about)
            if not probes:
                return  # begun before the breaker opened, or by a stranger: the wait is as long
        is_one_too_many = self._is_one_too_many(blame, call)
        if probes or is_one_too_many:
            self._open(blame, error)

    def _is_one_too_many(self, blame: Blame, call: Call) -> bool:
        now, in_a_row = self._monotonic(), self._row.count(blame, call)
        if not in_a_row:
            return False  # a right that is missing counts once for each session
        self._failures.append((now, call.about))
        is_full = len(self._failures) == self._limits.failures
        return (blame is not Blame.OUTAGE and in_a_row >= self._limits.refusals) or (
            is_full and now - self._failures[0][0] <= self._limits.window
        )

    def _open(self, blame: Blame, error: ServiceError) -> None:
        if self._until is None:
            self._sick = {about for _, about in self._failures}
        self._until = self._monotonic() + self._seconds(blame, error)
        self._opened_by = blame
        self._observe(STATES[KINDS[blame]])

    def _seconds(self, blame: Blame, error: ServiceError) -> float:
        if blame is not Blame.PAUSE:
            return self._limits.cool_down
        # Gigya names no time; a gateway may, and then its word counts.
        asked = error.retry_after if code_of(error) is None else None
        self._pause = min(LONGEST_PAUSE, max(asked or FIRST_PAUSE, 2 * self._pause))
        return self._pause

    def _is_stranger(self, about: About) -> bool:
        return (
            self._opened_by not in OF_ALL
            and about != ()
            and about not in self._sick
            and len(self._sick) + self._strangers < self._limits.failures
        )


class _Row:
    """Answers of one kind in a row."""

    def __init__(self) -> None:
        self._kind: type[ServiceError] | None = None
        self._members: set[Hashable] = set()

    def clear(self) -> None:
        """End the row."""
        self._members.clear()

    def count(self, blame: Blame, call: Call) -> int:
        """Return which one in its row it is; 0 if it was counted before."""
        kind, member = KINDS[blame], call.about if blame is Blame.RIGHTS and call.about else call
        if kind is not self._kind or blame is Blame.OUTAGE:
            self._kind, self._members = kind, set()
        if member in self._members:
            return 0
        self._members.add(member)
        return len(self._members)


KINDS: Final[Mapping[Blame, type[ServiceError]]] = {
    Blame.OUTAGE: UpstreamUnavailable,
    Blame.PAUSE: UpstreamBusy,
    Blame.RIGHTS: UpstreamRejected,
    Blame.CREDENTIALS: UpstreamRejected,
}
"""What opens the breaker, and what is answered meanwhile; the rest is about less than the site."""

OF_ALL: Final = frozenset({Blame.PAUSE, Blame.CREDENTIALS})
"""What cannot be about the one session that was asked about: no stranger fares better."""

REJECTIONS: Final = frozenset({Blame.RIGHTS, Blame.CREDENTIALS})

STATES: Final[Mapping[type[ServiceError], State]] = {
    UpstreamUnavailable: State.OPEN,
    UpstreamBusy: State.BUSY,
    UpstreamRejected: State.REJECTED,
}

REFUSALS: Final[Mapping[type[ServiceError], str]] = {
    UpstreamUnavailable: (
        "Gigya has failed repeatedly and is left alone for a moment. Ask again later."
    ),
    UpstreamBusy: (
        "Gigya has asked this service to slow down and is left alone for a moment. Ask again"
        " later, and less often."
    ),
    UpstreamRejected: (
        "Gigya has just refused this service's credentials and is not asked again for a moment."
        " The operators must look at the site's keys."
    ),
}
