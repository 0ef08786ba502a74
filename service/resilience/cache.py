"""Sessions kept in memory for a short while: bounded, never past their expiry, never stale."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from service.deadline import Clock
from service.errors import (
    ServiceError,
    UpstreamBusy,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from service.model import Exchange, Session
from service.values import value

K = TypeVar("K", bound=Hashable)

COOLS_DOWN: Final = (UpstreamBusy, UpstreamInvalid, UpstreamTimeout, UpstreamUnavailable)
"""Failures that are remembered for ``COOL_DOWN`` seconds; what is true of a user never is."""
COOL_DOWN: Final = 1.0
OVERHEAD: Final = 3700
"""Bytes that an entry takes at most beside its texts and its key's, rounded up.

What is made of it for a caller and for the audit is in it: a session that is handed out again has
both.
"""

HIT: Final = "hit"
MISS: Final = "miss"
STORED: Final = "stored"
EVICTED: Final = "evicted"
COOLED: Final = "cooled-down"
EVENTS: Final = (HIT, MISS, STORED, EVICTED, COOLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """``ttl`` and ``margin`` are seconds; ``margin`` is kept free before the earliest expiry."""

    ttl: float
    margin: float
    entries: int
    octets: int


@value(kw_only=False, eq=False)
class _Kept:
    """A session, until when (UNIX seconds) it is kept, and the octets that it counts as."""

    session: Session
    until: float
    octets: int

    def lives(self, now: float) -> bool:
        """Whether it is not over, and the clock was not set back."""
        return self.session.fetched_at <= now < self.until


class Cache(Generic[K]):
    """Sessions by key, least recently used first; ``weigh`` gives the octets of a key's texts."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        clock: Clock,
        weigh: Callable[[K], int] = lambda _: 0,
    ) -> None:
        self._bounds = bounds
        self._weigh = weigh
        self._clock = clock
        self._kept: OrderedDict[K, _Kept] = OrderedDict()
        self._failures: OrderedDict[K, tuple[ServiceError, float]] = OrderedDict()
        self.octets = 0
        self.events = dict.fromkeys(EVENTS, 0)
        """How often each of ``EVENTS`` has happened."""

    def __len__(self) -> int:
        """Return how many sessions are kept."""
        return len(self._kept)

    def session(self, key: K, *, max_age: float | None) -> Session | None:
        """Return the session kept for ``key`` if it is at most ``max_age`` seconds old."""
        kept, now = self._kept.get(key), self._clock.wall()
        if kept is not None and not kept.lives(now):
            self._drop(key)
            kept = None
        if kept is None or (max_age is not None and now - kept.session.fetched_at > max_age):
            self.events[MISS] += 1
            return None
        self._kept.move_to_end(key)
        self.events[HIT] += 1
        return kept.session

    def failure(self, key: K) -> ServiceError | None:
        """Return what Gigya failed with for ``key`` a moment ago, if it did."""
        error, until = self._failures.get(key, (None, 0.0))
        if error is None or self._clock.monotonic() >= until:
            self._failures.pop(key, None)
            return None
        self.events[COOLED] += 1
        again = error.again()
        again.exchange = error.exchange and _as_hit(error.exchange)
        return again

    def keep(self, key: K, session: Session) -> None:
        """Keep ``session`` until its time to live or its earliest expiry less the margin.

        One that Gigya was asked for later stays: a slow call must not bring back what was before.
        """
        if self._has_newer(key, session):
            return
        until = self._until(session)
        octets = _octets(session) + self._weigh(key)
        self._failures.pop(key, None)
        self._drop(key)
        if until <= self._clock.wall() or octets > self._bounds.octets:
            return
        # As one for which nobody was asked: it is the same for every hit.
        kept = replace(session, exchange=_as_hit(session.exchange))
        self._kept[key] = _Kept(kept, until, octets)
        self.octets += octets
        self.events[STORED] += 1
        while len(self._kept) > self._bounds.entries or self.octets > self._bounds.octets:
            self._drop(next(iter(self._kept)))
            self.events[EVICTED] += 1

    def keep_failure(self, key: K, error: ServiceError) -> None:
        """Remember a failure of Gigya's for a moment, so that it is not asked at once again."""
        if not isinstance(error, COOLS_DOWN):
            return
        self._failures[key] = (error, self._clock.monotonic() + COOL_DOWN)
        while len(self._failures) > self._bounds.entries:
            self._failures.popitem(last=False)

    def clear(self) -> None:
        """Forget everything: a key was rotated, or what may be kept has changed."""
        self._kept.clear()
        self._failures.clear()
        self.octets = 0

    def sweep(self) -> None:
        """Forget what is over: nobody may ask for it any more, and it holds tokens."""
        now, moment = self._clock.wall(), self._clock.monotonic()
        for key in [k for k, kept in self._kept.items() if not kept.lives(now)]:
            self._drop(key)
        for key in [k for k, (_, until) in self._failures.items() if moment >= until]:
            del self._failures[key]

    def _until(self, session: Session) -> float:
        expiries = (session.token_expires_at, session.session_expires_at)
        ends = (e.timestamp() - self._bounds.margin for e in expiries if e is not None)
        return min((session.fetched_at + self._bounds.ttl, *ends))

    def _has_newer(self, key: K, session: Session) -> bool:
        kept = self._kept.get(key)
        return (
            kept is not None
            and kept.session.fetched_at > session.fetched_at
            and kept.lives(self._clock.wall())
        )

    def _drop(self, key: K) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self.octets -= kept.octets


def _as_hit(exchange: Exchange) -> Exchange:
    return replace(exchange, cached=True, attempts=0, milliseconds=0.0)


def _octets(session: Session) -> int:
    secrets = (
        session.auth_token,
        session.token_secret,
        session.session_handle,
        session.provider_uid,
    )
    return OVERHEAD + sum(len(secret) for secret in secrets if secret is not None)
