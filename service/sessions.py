"""The sessions of all sites, as the broker sees them: cache, flight, breaker, slot, Gigya."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol

from service.deadline import Clock, Deadline
from service.errors import ServiceError
from service.live import Live
from service.model import Field, ProviderName, Session, SessionQuery, SiteName
from service.resilience.admission import Admission
from service.resilience.breaker import Breaker
from service.resilience.cache import Cache
from service.resilience.flights import Flights
from service.secret import Secret

NOT_KEPT: Final = Secret("")
"""In the place of a value that nobody may have, and that is therefore not in memory."""

PART: Final = 0.95
"""The part of a request's time that a call may take: what is left is for the audit and the answer,
and a call that is late is known to be, before nobody waits for it any more."""

Key = tuple[SessionQuery, tuple[int, ...]]
"""Which session, and which of the site's keys and credentials get it: what shares one call."""
Place = tuple[Key, int]
"""A key, and which grants decided what of its session is kept."""

Granted = Callable[[SiteName, ProviderName], frozenset[Field]]


class Source(Protocol):
    """Where one site's sessions come from."""

    async def session(self, query: SessionQuery, deadline: Deadline) -> Session:
        """Return the session, or raise a ``ServiceError``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSource:
    """One site: its source, and what protects it and us.

    ``generations`` are those of the site's keys and credentials: a new one makes a new key.
    """

    source: Source
    breaker: Breaker
    admission: Admission
    generations: Callable[[], tuple[int, ...]]

    async def session(self, query: SessionQuery, deadline: Deadline) -> Session:
        """Ask Gigya, if the breaker lets us and there is a slot."""
        about = (query.provider, query.uid)
        self.breaker.check(about)  # before the queue, so that an outage is told at once
        if not self.admission.takes(query.uid):
            await self.admission.wait(query.uid, deadline)
        try:
            with self.breaker.began(about):
                return await self.source.session(query, deadline)
        finally:
            self.admission.give_back(query.uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """A cache, and which fields may be in it: those that someone is granted by ``rules``."""

    cache: Cache[Place]
    granted: Granted
    rules: Live[Any]

    def place(self, key: Key) -> Place:
        """Return where ``key`` is kept under the grants of now."""
        return key, self.rules.generation

    def keep(self, key: Key, session: Session) -> None:
        """Keep of ``session`` what someone is granted."""
        query, _ = key
        self.cache.keep(self.place(key), only(session, self.granted(query.site, query.provider)))


class Sessions:
    """Gets sessions; several requests for one share a call, and none outlives its deadline.

    ``seconds`` is what a request has at most; a call has its own deadline, ``PART`` of that.
    """

    def __init__(
        self,
        sites: Mapping[SiteName, SiteSource],
        *,
        flights: Flights[Key, Session],
        clock: Clock,
        seconds: float,
        caching: Caching | None = None,
    ) -> None:
        self._sites = sites
        self._flights = flights
        self._monotonic = clock.monotonic
        self._seconds = seconds * PART
        self._caching = caching

    def kept(self, query: SessionQuery, *, max_age: int | None) -> Session | None:
        """Return the session that ``query`` names from memory, at most ``max_age`` seconds old.

        Raises what Gigya failed with a moment ago, when it was asked for this one.
        """
        caching = self._caching
        if caching is None or max_age == 0:
            return None
        place = caching.place((query, self._sites[query.site].generations()))
        kept = caching.cache.session(place, max_age=max_age)
        if kept is None and (failure := caching.cache.failure(place)) is not None:
            raise failure
        return kept

    async def fetched(
        self, query: SessionQuery, *, max_age: int | None, deadline: Deadline
    ) -> Session:
        """Return the session that ``query`` names, in a call begun ``max_age`` seconds ago at most.

        0 asks in a call that began after this request. Raises a ``ServiceError``.
        """
        site = self._sites[query.site]
        key = (query, site.generations())
        call = partial(self._call, site, key)
        return await self._flights.result(key, call, deadline=deadline, oldest=max_age)

    async def _call(self, site: SiteSource, key: Key) -> Session:
        """Ask once for everybody who waits, and keep what came for those who come later."""
        query, generations = key
        monotonic = self._monotonic
        try:
            session = await site.session(query, Deadline(monotonic() + self._seconds, monotonic))
        except ServiceError as error:
            # Only what Gigya was asked: refusals of ours tell nothing about this session.
            if self._caching is not None and error.exchange is not None:
                self._caching.cache.keep_failure(self._caching.place(key), error)
            raise
        if self._caching is not None and site.generations() == generations:
            self._caching.keep(key, session)
        return session


def octets_of(place: Place) -> int:
    """Return what the texts of ``place`` take."""
    (query, _), _ = place
    return len(query.uid) + len(query.cid or "")


def only(session: Session, granted: frozenset[Field]) -> Session:
    """Return ``session`` without the values of fields that nobody is granted.

    That there was such a value stays known: the names of the others depend on it.
    """

    def kept(field: Field, value: Secret[str] | None) -> Secret[str] | None:
        return value if value is None or field in granted else NOT_KEPT

    return replace(
        session,
        auth_token=session.auth_token if Field.AUTH_TOKEN in granted else NOT_KEPT,
        token_secret=kept(Field.TOKEN_SECRET, session.token_secret),
        session_handle=kept(Field.SESSION_HANDLE, session.session_handle),
        provider_uid=kept(Field.PROVIDER_UID, session.provider_uid),
    )
