"""How much a caller may use of this replica: requests a second, in flight, and distinct users."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import Final, Self

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
    """A token bucket's level; full at first, whatever the burst."""

    __slots__ = ("_at", "_level")

    def __init__(self) -> None:
        self._level, self._at = math.inf, 0.0

    def wait(self, rate: Rate, now: float) -> float:
        """Return the seconds until there is a token, 0 where there is one."""
        return self.take(rate, now, 0.0)

    def is_full(self, rate: Rate, now: float) -> bool:
        """Whether nothing was taken lately."""
        self.take(rate, now, 0.0)  # for what has come since
        return self._level == rate.burst

    def take(self, rate: Rate, now: float, tokens: float = 1.0) -> float:
        """Take ``tokens`` (0 or 1) if there is one; return 0, or the seconds until there is one.

        Before that, put in what has come since the last time, up to the burst.
        """
        level, burst = self._level, rate.burst
        if now > self._at:
            level += (now - self._at) * rate.rate
        if level > burst:  # noqa: PLR1730  # each request would call ``min``
            level = burst
        self._at = now
        if level < 1.0:
            self._level = level
            return (1.0 - level) / rate.rate
        self._level = level - tokens
        return 0.0


class _Users:
    """Who was asked for lately, by keyed digest, oldest first; never more than the limit.

    Exact up to collisions of 64-bit digests: two users that collide (1 pair in 10^19) count as one.
    """

    __slots__ = ("_oldest", "_seen")

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._oldest = -math.inf
        """Nobody among them was asked for last before then, so till a window later all stay."""

    def note(self, digest: bytes, limit: DistinctUsers, now: float) -> float:
        """Count the user; return the seconds until it fits in where it does not."""
        if self._oldest + limit.window <= now:
            self._forget(limit, now)
        seen = self._seen
        if digest not in seen and len(seen) >= limit.count:
            return self._until_room(limit, now)
        seen[digest] = now
        seen.move_to_end(digest)
        return 0.0

    def _forget(self, limit: DistinctUsers, now: float) -> None:
        # By the same sum as what is told to wait: a user who need not wait has been counted.
        seen, self._oldest = self._seen, now
        while seen:
            oldest = next(iter(seen.values()))
            if oldest + limit.window > now:
                self._oldest = oldest
                return
            seen.popitem(last=False)

    def _until_room(self, limit: DistinctUsers, now: float) -> float:
        too_many = len(self._seen) - limit.count  # more than 0 only if the limit was lowered
        at = next(islice(self._seen.values(), too_many, None))
        return at + limit.window - now


class Usage:
    """What one caller has used, and under which limits: none at first.

    As a block it is one more request in flight. A limit of 0 is none here: policy blocks by it.
    ``monotonic`` gives seconds; ``key`` is that of ``Limits``.
    """

    __slots__ = (
        "_key",
        "_monotonic",
        "_seen",
        "bucket",
        "census",
        "distinct_users",
        "in_flight",
        "most_in_flight",
        "rate",
    )

    def __init__(self, monotonic: Callable[[], float], key: bytes) -> None:
        self._monotonic, self._key = monotonic, key
        self.rate: Rate | None = None
        self.most_in_flight: float = math.inf
        self.distinct_users: DistinctUsers | None = None
        self.bucket = Bucket()
        self.in_flight = 0
        self.census = Census()
        self._seen = _Users()

    def under(self, limits: CallerLimits) -> Self:
        """Return this, which has ``limits`` from now on."""
        self.rate, users = None, limits.distinct_users
        if limits.rate and limits.burst != 0:
            self.rate = Rate.of(limits.rate, limits.burst)
        self.most_in_flight = limits.in_flight or math.inf
        self.distinct_users = users if users and users.count else None
        return self

    def note_user(self, uid: Uid) -> None:
        """Count one of the caller's users; raises ``RateLimited`` where it is one too many."""
        octets, now = uid.encode("utf-8", "surrogatepass"), self._monotonic()
        digest = blake2b(octets, digest_size=8, key=self._key).digest()
        self.census.note(digest, now)
        limit = self.distinct_users
        if limit is None:
            return
        wait = self._seen.note(digest, limit, now)
        if wait > 0.0:
            raise RateLimited(
                "This caller has asked for as many different users as it may for now.",
                reason="limit-distinct-users",
                retry_after=wait,
            )

    def __enter__(self) -> Self:
        self.in_flight += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1


class _Usages(dict[CallerName, Usage]):
    """What each caller has used; whoever is not among them has used nothing, and is not kept.

    A caller that a reload has just removed has no limits left, and no grants either.
    """

    def __init__(self, begin: Callable[[], Usage]) -> None:
        super().__init__()
        self._begin = begin

    def __missing__(self, _: CallerName) -> Usage:
        return self._begin()


class Limits:
    """The limits of all callers, counted by this replica alone.

    ``key`` (16 to 64 random octets, new with each start) keeps digests of users from meaning
    anything elsewhere.
    """

    def __init__(
        self, limits: Mapping[CallerName, CallerLimits], *, clock: Clock, key: bytes
    ) -> None:
        self._monotonic = clock.monotonic
        self._begin = partial(Usage, clock.monotonic, key)
        self._usages = _Usages(self._begin)
        self.replace(limits)

    def replace(self, limits: Mapping[CallerName, CallerLimits]) -> None:
        """Put reloaded limits in place; what the callers have used so far goes on counting.

        A caller that is taken out begins anew if it comes back; what it had in flight when it was
        taken out has no limits and is not counted, then or later.
        """
        known, usages = self._usages, _Usages(self._begin)
        for name, row in limits.items():
            usages[name] = known[name].under(row)
        for name in known.keys() - limits.keys():
            known[name].under(CallerLimits())
        self._usages = usages

    def admit(self, caller: CallerName) -> AbstractContextManager[Usage]:
        """Count one request of the caller, and return the block in which it is in flight.

        Raises ``RateLimited``.
        """
        usage = self._usages[caller]
        if usage.in_flight >= usage.most_in_flight:
            raise RateLimited(
                "Too many requests of this caller are in flight.",
                reason="limit-in-flight",
                retry_after=IN_FLIGHT_RETRY,
            )
        rate = usage.rate
        if rate is not None:
            wait = usage.bucket.take(rate, self._monotonic())
            if wait > 0.0:
                raise RateLimited(
                    "This caller's rate is exceeded.", reason="limit-rate", retry_after=wait
                )
        return usage

    @property
    def callers(self) -> Sequence[CallerName]:
        """Who has limits, or could have."""
        return tuple(self._usages)

    def users(self, caller: CallerName) -> int:
        """Return about how many different users the caller asked for in the last hour."""
        return self._usages[caller].census.estimate(self._monotonic())
