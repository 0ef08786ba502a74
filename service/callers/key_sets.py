"""An issuer's current keys: refreshed before they are old, kept while the issuer is away."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from service.callers.asking import Asking
from service.callers.fetching import FetchFailed
from service.callers.key_sources import Source
from service.callers.keys import Keys, UnusableKeys, VerificationKey, parse_keys
from service.callers.observed import Event, Observe, unobserved
from service.callers.refusals import Refusal, Unavailable
from service.callers.waiting import Room
from service.deadline import Clock, Deadline
from service.errors import AuthenticationUnavailable, Unauthenticated
from service.live import Live

NO_KEYS: Final[Keys] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """When keys are fetched, in seconds.

    ``refresh``: age at which they are fetched again in the background · ``max_staleness``: age
    after which they prove nothing · ``cool_down``: between fetches that a request or a failure
    causes · ``timeout``: of one fetch.
    """

    refresh: float = 300
    max_staleness: float = 86400
    cool_down: float = 10
    timeout: float = 5


DEFAULT_TERMS: Final = Terms()


class KnownKeys(Protocol):
    """The keys of one issuer, as whoever verifies a token needs them."""

    @property
    def generation(self) -> int | None:
        """Which keys these are; ``None`` while they prove nothing."""

    async def find(self, kid: str, deadline: Deadline, peer: str = "") -> VerificationKey:
        """Return the key called ``kid`` of ``peer``'s token; raises a ``ServiceError``."""


class FollowedKeys:
    """The keys in a file that others watch; what is taken out of it proves nothing from then on.

    ``look`` has the file looked at now: an unknown key may have come since the last look.
    ``is_faulty`` tells whether the file says what cannot be used.
    """

    def __init__(
        self,
        live: Live[Keys],
        look: Callable[[], Awaitable[None]],
        is_faulty: Callable[[], bool],
        *,
        clock: Clock,
        room: Room | None = None,
    ) -> None:
        self._live, self._is_faulty = live, is_faulty
        self._room = room or Room()
        self._asking = Asking(look, clock=clock, cool_down=DEFAULT_TERMS.cool_down)

    @property
    def generation(self) -> int:
        """Which keys these are."""
        return self._live.generation

    async def find(self, kid: str, deadline: Deadline, peer: str = "") -> VerificationKey:
        """Return the key called ``kid``, having the file looked at if it is unknown.

        Raises ``Unauthenticated`` if the file has none, ``AuthenticationUnavailable`` if that
        cannot be known: the file is faulty, or takes longer to read than ``deadline``.
        """
        if kid not in self._live.value and self._asking.may_ask:
            with self._room.take(peer, Unavailable.KEYS_OVERLOADED):
                # a look lasts as long as the volume hangs, if that is less than its patience
                await self._asking.ask(deadline)
        if (key := self._live.value.get(kid)) is not None:
            return key
        if self._is_faulty():
            raise self._asking.unavailable()
        raise Unauthenticated(Refusal.KEY_UNKNOWN)


class KeySet:
    """The keys of one issuer; ``keep`` is to run beside the service."""

    def __init__(
        self,
        source: Source,
        *,
        name: str,
        clock: Clock,
        terms: Terms = DEFAULT_TERMS,
        observe: Observe = unobserved,
        room: Room | None = None,
    ) -> None:
        self._source, self._name, self._clock = source, name, clock
        self._room = room or Room()
        self._terms, self._observe = terms, observe
        self._live: Live[Keys] = Live(NO_KEYS)
        self._asking = Asking(self._fetch, clock=clock, cool_down=terms.cool_down)
        self._fetched_at: float | None = None
        self._failures = 0

    @property
    def generation(self) -> int | None:
        """Which keys these are; ``None`` while they prove nothing."""
        return self._live.generation if self._is_good else None

    @property
    def age(self) -> float | None:
        """Seconds since the keys were fetched, ``None`` if they never were."""
        return None if self._fetched_at is None else self._clock.monotonic() - self._fetched_at

    async def find(self, kid: str, deadline: Deadline, peer: str = "") -> VerificationKey:
        """Return the key called ``kid``, fetching the set if it is unknown.

        Raises ``Unauthenticated`` if there is no such key, ``AuthenticationUnavailable`` if that
        cannot be known because the issuer is away.
        """
        if self._is_good and self._is_due:
            self._asking.begin()
        if (not self._is_good or kid not in self._live.value) and self._asking.may_ask:
            with self._room.take(peer, Unavailable.KEYS_OVERLOADED):
                await self._asking.ask(deadline)
        if not self._is_good:
            raise self._asking.unavailable()
        if (key := self._live.value.get(kid)) is not None:
            return key
        if self._failures:
            raise self._asking.unavailable()
        raise Unauthenticated(Refusal.KEY_UNKNOWN)

    async def warm(self, deadline: Deadline) -> bool:
        """Fetch the keys if there are none; whether there are some by ``deadline``."""
        try:
            if self._asking.may_ask:
                await self._asking.ask(deadline)
        except AuthenticationUnavailable:
            return False
        return self._is_good

    async def keep(self) -> NoReturn:
        """Fetch the keys whenever they are due, for ever; a failure is tried again soon."""
        while True:
            await asyncio.sleep(self._until_due())
            await asyncio.shield(self._asking.begin())

    @property
    def _is_good(self) -> bool:
        return (age := self.age) is not None and age <= self._terms.max_staleness

    @property
    def _is_due(self) -> bool:
        return self._until_due() == 0

    def _until_due(self) -> float:
        now, pause = self._clock.monotonic(), 0.0
        if self._fetched_at is not None:
            pause = self._fetched_at + self._terms.refresh - now
        if self._failures:
            pause = max(pause, self._asking.not_before - now)
        return max(pause, 0.0)

    async def _fetch(self) -> None:
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._terms.timeout):
                deadline = Deadline.after(self._terms.timeout, self._clock)
                keys = parse_keys(await self._source(deadline))
        except (FetchFailed, UnusableKeys) as error:
            self._failed(str(error))
        except OSError as error:
            self._failed(type(error).__name__)
        else:
            self._replace(keys, started)

    def _failed(self, why: str) -> None:
        self._failures += 1
        # a first fetch often fails because the network is not yet there: try again sooner
        first = min(2.0 ** (self._failures - 1), self._terms.cool_down)
        pause = first if self._fetched_at is None else self._terms.cool_down
        self._asking.not_before = self._clock.monotonic() + pause
        self._observe(self._name, Event.KEYS_FAILED, why)

    def _replace(self, keys: Keys, fetched_at: float) -> None:
        self._failures, self._fetched_at = 0, fetched_at
        if keys == self._live.value:
            self._observe(self._name, Event.KEYS_UNCHANGED, "")
            return
        self._live.replace(keys)
        self._observe(self._name, Event.KEYS_REPLACED, "")
