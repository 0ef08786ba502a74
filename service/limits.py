"""How much a caller may use of this replica: requests a second, in flight, and distinct users."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Final

from service.census import Census
from service.deadline import Clock
from service.errors import RateLimited
from service.model import CallerName, Uid
from service.values import value

IN_FLIGHT_RETRY: Final = 1.0
"""Seconds; when another request of the caller ends is not known."""


@value()
class Rate:
    """A token bucket: ``rate`` (more than 0) a second in the long run, ``burst`` at once."""

    rate: float
    burst: float

    @classmethod
    def of(cls, rate: float, burst: float | None = None) -> "Rate":
        """Return the bucket; without ``burst`` it holds a second's worth, one at least."""
        return cls(rate=rate, burst=max(1.0, math.ceil(rate) if burst is None else burst))


@dataclass(frozen=True, slots=True, kw_only=True)
class DistinctUsers:
    """At most ``count`` different users in any ``window`` (seconds)."""

    count: int
    window: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLimits:
    """What one caller may use; ``None`` is no limit, 0 blocks the caller (by policy, not here)."""

    rate: float | None = None
    burst: float | None = None
    in_flight: int | None = None
    distinct_users: DistinctUsers | None = None

    @property
    def is_blocked(self) -> bool:
        """Whether one of the limits is 0."""
        users = self.distinct_users and self.distinct_users.count
        return 0 in (self.rate, self.burst, self.in_flight, users)


class Bucket:
    """A token bucket's level; full at first."""

    __slots__ = ("_at", "_level")

    def __init__(self, rate: Rate, now: float) -> None:
        self._level = rate.burst
        self._at = now

    def wait(self, rate: Rate, now: float) -> float:
        """Return the seconds until there is a token, 0 where there is one."""
        elapsed = max(0.0, now - self._at)
        self._level = min(rate.burst, self._level + elapsed * rate.rate)
        self._at = now
        missing = 1.0 - self._level
        return missing / rate.rate if missing > 0.0 else 0.0

    def is_full(self, rate: Rate, now: float) -> bool:
        """Whether nothing was taken lately."""
        self.wait(rate, now)
        return self._level == rate.burst

    def take(self, rate: Rate, now: float) -> float:
        """Take a token if there is one; return what ``wait`` says of it."""
        wait = self.wait(rate, now)
        if wait == 0.0:
            self._level -= 1.0
        return wait


class _Users:
    """Who was asked for lately, by keyed digest, oldest first; never more than the limit.

    Exact up to collisions of 64-bit digests: two users that collide (1 pair in 10^19) count as one.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def note(self, digest: bytes, limit: DistinctUsers, now: float) -> float:
        """Count the user; return the seconds until it fits in where it does not."""
        while self._seen and next(iter(self._seen.values())) <= now - limit.window:
            self._seen.popitem(last=False)
        if digest not in self._seen and len(self._seen) >= limit.count:
            return self._until_room(limit, now)
        self._seen[digest] = now
        self._seen.move_to_end(digest)
        return 0.0

    def _until_room(self, limit: DistinctUsers, now: float) -> float:
        too_many = len(self._seen) - limit.count  # more than 0 only if the limit was lowered
        at = next(islice(self._seen.values(), too_many, None))
        return at + limit.window - now


class _State:
    """What one caller has used."""

    __slots__ = ("bucket", "census", "in_flight", "users")

    def __init__(self) -> None:
        self.bucket: Bucket | None = None
        self.in_flight = 0
        self.users = _Users()
        self.census = Census()


class Stay:
    """One admitted request: in flight for as long as its block lasts."""

    __slots__ = ("_state",)

    def __init__(self, state: _State) -> None:
        self._state = state

    def __enter__(self) -> None:
        self._state.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self._state.in_flight -= 1


class Limits:
    """The limits of all callers, counted by this replica alone.

    ``key`` (16 to 64 random octets, new with each start) keeps digests of users from meaning
    anything elsewhere.
    """

    def __init__(
        self, limits: Mapping[CallerName, CallerLimits], *, clock: Clock, key: bytes
    ) -> None:
        self._limits = limits
        self._states: dict[CallerName, _State] = {name: _State() for name in limits}
        self._clock = clock
        self._key = key

    def replace(self, limits: Mapping[CallerName, CallerLimits]) -> None:
        """Put reloaded limits in place; what the callers have used so far goes on counting."""
        self._states = {name: self._states.get(name) or _State() for name in limits}
        self._limits = limits

    def admit(self, caller: CallerName) -> "Stay":
        """Count one request of the caller; it is in flight until the end of the block that it is.

        Raises ``RateLimited``.
        """
        state, limits = self._of(caller)
        if limits.in_flight and state.in_flight >= limits.in_flight:
            raise RateLimited(
                "Too many requests of this caller are in flight.",
                reason="limit-in-flight",
                retry_after=IN_FLIGHT_RETRY,
            )
        self._take(state, limits)
        return Stay(state)

    @property
    def callers(self) -> Sequence[CallerName]:
        """Who has limits, or could have."""
        return tuple(self._limits)

    def users(self, caller: CallerName) -> int:
        """Return about how many different users the caller asked for in the last hour."""
        state, _ = self._of(caller)
        return state.census.estimate(self._clock.monotonic())

    def _of(self, caller: CallerName) -> tuple[_State, CallerLimits]:
        # A caller that a reload has just removed has no limits left, and no grants either.
        return self._states.get(caller) or _State(), self._limits.get(caller) or CallerLimits()

    def _take(self, state: _State, limits: CallerLimits) -> None:
        if not limits.rate or limits.burst == 0:
            return
        rate, now = Rate.of(limits.rate, limits.burst), self._clock.monotonic()
        state.bucket = state.bucket or Bucket(rate, now)
        wait = state.bucket.take(rate, now)
        if wait > 0.0:
            raise RateLimited(
                "This caller's rate is exceeded.", reason="limit-rate", retry_after=wait
            )

    def note_user(self, caller: CallerName, uid: Uid) -> None:
        """Count one of the caller's users; raises ``RateLimited`` where it is one too many."""
        state, limits = self._of(caller)
        octets, now = uid.encode("utf-8", "surrogatepass"), self._clock.monotonic()
        digest = blake2b(octets, digest_size=8, key=self._key).digest()
        state.census.note(digest, now)
        if limits.distinct_users is None or limits.distinct_users.count == 0:
            return
        wait = state.users.note(digest, limits.distinct_users, now)
        if wait > 0.0:
            raise RateLimited(
                "This caller has asked for as many different users as it may for now.",
                reason="limit-distinct-users",
                retry_after=wait,
            )
