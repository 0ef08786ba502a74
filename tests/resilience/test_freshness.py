"""What is answered is fresh, for every combination of what decides about it."""

import asyncio
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final

import pytest

from service.audit.record import Entry
from service.broker import Broker, Release, Site
from service.catalogue import Catalogue
from service.deadline import Clock, Deadline
from service.errors import (
    ReauthenticationRequired,
    ServiceError,
    TokenExpiring,
    UpstreamUnavailable,
)
from service.grants import CallerRules, Grant
from service.live import Live
from service.model import (
    Caller,
    CallerName,
    Exchange,
    Field,
    Identity,
    ProviderName,
    Session,
    SessionQuery,
    SiteName,
    TokenRequest,
    Uid,
    UidSignature,
)
from service.policy import Policy
from service.providers import Naming
from service.resilience.admission import Admission
from service.resilience.breaker import Breaker, Limits
from service.resilience.cache import Bounds, Cache
from service.resilience.flights import Flights
from service.secret import Secret
from service.sessions import Caching, Place, Sessions, SiteSource
from tests.virtual_time import VIRTUAL, virtual_clock

NOW: Final = 1_800_000_000.0
TTL: Final = 60
SHOP: Final = SiteName("shop")
CRM: Final = Caller(name=CallerName("crm"), identity=Identity(via="tokens", subject="crm"))
FIELDS: Final = frozenset({Field.AUTH_TOKEN})

EXPIRIES: Final = (None, 0, 1, 30, 31, 60, 61, 90, 120, 3600)
"""Seconds that a token lives when Gigya gives it; each call gives a new one."""
MARGINS: Final = (0, 30, 60)
MIN_TTLS: Final = (0, 1, 30, 61)
MAX_AGES: Final = (None, 0, 1, 30, 60, 61)
AGES: Final = (0, 1, 30, 31, 59, 60, 61, 121)
"""Seconds between the first request, which fills the cache, and the second."""


class NoProofs:
    """Vouches for nobody; nobody asks."""

    def vouches(self, uid: Uid, proof: UidSignature, *, now: float) -> bool:
        del uid, proof, now
        return False


class Shop:
    """A site in front of a Gigya that gives a new token with each call, or is away."""

    def __init__(self, expiry: int | None, margin: int) -> None:
        self.now = NOW
        self.calls = 0
        self.is_away = False
        self._expiry = expiry
        clock = Clock(wall=lambda: self.now, monotonic=lambda: self.now)
        self._clock = clock
        grant = Grant(site=SHOP, providers=frozenset({ProviderName("twitter")}), fields=FIELDS)
        policy = Live(Policy([CallerRules(name=CRM.name, grants=(grant,))]))
        cache: Cache[Place] = Cache(
            Bounds(ttl=TTL, margin=margin, entries=9, octets=99_999), clock=clock
        )
        source = SiteSource(
            source=self,
            breaker=Breaker(Limits(failures=9, window=30, cool_down=5), monotonic=clock.monotonic),
            admission=Admission(concurrency=4, per_uid=5, queue=9),
            generations=lambda: (1,),
        )
        sessions = Sessions(
            {SHOP: source},
            flights=Flights(monotonic=clock.monotonic),
            clock=clock,
            seconds=10,
            caching=Caching(cache=cache, granted=lambda *_: FIELDS, rules=Live(None)),
        )
        site = Site(catalogue=Catalogue({}), naming=Naming.REPLY, user_proofs=NoProofs())
        self._broker = Broker(
            policy=policy,
            sites={SHOP: site},
            sessions=sessions,
            clock=clock,
            require_sinks=lambda: None,
        )

    async def session(self, query: SessionQuery, deadline: Deadline) -> Session:
        """Be Gigya."""
        del query, deadline
        if self.is_away:
            raise UpstreamUnavailable("away", exchange=Exchange(attempts=1))
        self.calls += 1
        ends = None if self._expiry is None else datetime.fromtimestamp(self.now, UTC)
        return Session(
            auth_token=Secret(f"token-{self.calls}"),
            token_expires_at=ends and datetime.fromtimestamp(self.now + (self._expiry or 0), UTC),
            fetched_at=self.now,
            exchange=Exchange(attempts=1, error_code=0),
        )

    async def ask(self, min_ttl: int = 0, max_age: int | None = None) -> Release:
        request = TokenRequest(
            uid=Uid("u-1"), provider="twitter", site=SHOP, min_ttl=min_ttl, max_age=max_age
        )
        deadline = Deadline.after(10, self._clock)
        entry = Entry(audit_id="0" * 32)
        inquiry = self._broker.inquiry(CRM, request, entry)
        return self._broker.at_hand(inquiry) or await self._broker.fetched(inquiry, deadline)


def is_fresh(shop: Shop, release: Release, *, margin: int, max_age: int | None) -> bool:
    """Whether what is released is of now, young enough, and from the cache only if it may be."""
    session, is_of_now = release.session, release.at == shop.now
    age = shop.now - session.fetched_at
    if not session.exchange.cached:
        return is_of_now and age == 0
    ends = session.token_expires_at
    keeps_margin = ends is None or ends.timestamp() - margin > shop.now
    is_young = age <= (TTL if max_age is None else min(max_age, TTL)) and max_age != 0
    return is_of_now and is_young and keeps_margin


def lives(release: Release, now: float, min_ttl: int) -> bool:
    """Whether the token lives as long as was asked, and is told to end when it does."""
    ends, told = release.session.token_expires_at, release.provider_tokens.tokens
    if ends is None:
        return "expires_in" not in told
    left = ends.timestamp() - now
    return told["expires_in"] == ends.timestamp() and left > 0 and left >= min_ttl


@pytest.mark.parametrize("expiry", EXPIRIES)
async def test_the_answer_is_fresh_or_an_error(expiry: int | None) -> None:
    """No answer is too old, too short-lived or past its margin; with Gigya there, none is missing.

    Exhaustively over expiry, margin, min_ttl, max_age, age and whether Gigya is away.
    """
    for margin, min_ttl, max_age, age, is_away in product(
        MARGINS, MIN_TTLS, MAX_AGES, AGES, (False, True)
    ):
        shop = Shop(expiry, margin)
        await _filled(shop)
        shop.now += age
        shop.is_away = is_away
        case = (margin, min_ttl, max_age, age, is_away)
        calls = shop.calls
        try:
            release = await shop.ask(min_ttl, max_age)
        except (TokenExpiring, ReauthenticationRequired):
            # Only what Gigya has now is too short-lived, never what it had a while ago.
            assert (shop.calls, is_away) == (calls + 1, False), case
            assert expiry == 0 or (expiry or 0) < min_ttl, case
        except UpstreamUnavailable:
            assert is_away, case
        else:
            assert is_fresh(shop, release, margin=margin, max_age=max_age), case
            assert release.session.exchange.cached is (shop.calls == calls), case
            assert lives(release, shop.now, min_ttl), case


async def _filled(shop: Shop) -> None:
    """Ask once, so that there is something in the cache, if it may be."""
    try:
        await shop.ask()
    except ServiceError:
        assert shop.calls == 1


TOOK: Final = (0.5, 2, 5)
BEGAN: Final = (0, 1, 3)
"""Seconds that a call takes, and after which the second of two begins."""


class Changing:
    """A site whose Gigya has another token each moment: that of the moment when it is asked."""

    def __init__(self) -> None:
        self.clock = virtual_clock(NOW)
        self.took: list[float] = []
        cache: Cache[Place] = Cache(
            Bounds(ttl=TTL, margin=0, entries=9, octets=99_999), clock=self.clock
        )
        self.sessions = Sessions(
            {
                SHOP: SiteSource(
                    source=self,
                    breaker=Breaker(
                        Limits(failures=9, window=30, cool_down=5), monotonic=self.clock.monotonic
                    ),
                    admission=Admission(concurrency=4, per_uid=5, queue=9),
                    generations=lambda: (1,),
                )
            },
            flights=Flights(monotonic=self.clock.monotonic),
            clock=self.clock,
            seconds=10,
            caching=Caching(cache=cache, granted=lambda _, __: FIELDS, rules=Live(None)),
        )

    async def session(self, query: SessionQuery, deadline: Deadline) -> Session:
        """Be Gigya, and what understands it."""
        del query, deadline
        asked_at = self.clock.wall()
        await asyncio.sleep(self.took.pop(0))
        return Session(
            auth_token=Secret(f"of {asked_at}"),
            fetched_at=asked_at,
            exchange=Exchange(attempts=1, error_code=0),
        )

    async def ask(self, max_age: int | None) -> Session:
        query = SessionQuery(site=SHOP, provider=ProviderName("twitter"), uid=Uid("u-1"))
        kept = self.sessions.kept(query, max_age=max_age)
        if kept is not None:
            return kept
        deadline = Deadline.after(10, self.clock)
        return await self.sessions.fetched(query, max_age=max_age, deadline=deadline)


class TestOverlapping:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_the_younger_of_two_calls_is_kept(self) -> None:
        """Whichever call is answered first, what was asked later stays, and tells its true age.

        Exhaustively over how long both take, when the second begins, and what is asked then.
        """
        for first, second, began, max_age, age in product(TOOK, TOOK, BEGAN, MAX_AGES, (0, 1, 31)):
            shop = Changing()
            shop.took = [first, second, 0]
            start = shop.clock.wall()
            slow = asyncio.create_task(shop.ask(None))
            await asyncio.sleep(began)
            await asyncio.gather(shop.ask(0), slow)
            await asyncio.sleep(age)
            case = (first, second, began, max_age, age)
            before = shop.clock.wall()
            got = await shop.ask(max_age)
            assert f"of {got.fetched_at}" == got.auth_token.reveal(), case
            assert got.fetched_at >= start + began, case
            assert max_age is None or before - got.fetched_at <= max_age, case
            assert got.exchange.cached is bool(shop.took), case
