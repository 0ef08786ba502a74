import asyncio
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from service.deadline import Clock, Deadline
from service.errors import NoSession, ServiceError, UpstreamTimeout, UpstreamUnavailable
from service.live import Live
from service.model import Exchange, Field, ProviderName, Session, SessionQuery, SiteName, Uid
from service.resilience.admission import Admission
from service.resilience.breaker import Breaker
from service.resilience.breaker import Limits as BreakerLimits
from service.resilience.cache import STORED, Bounds, Cache
from service.resilience.flights import Flights
from service.secret import Secret
from service.sessions import NOT_KEPT, Caching, Place, Sessions, SiteSource, only
from tests.virtual_time import VIRTUAL, virtual_clock

SHOP = SiteName("shop")
TWITTER = ProviderName("twitter")
QUERY = SessionQuery(site=SHOP, provider=TWITTER, uid=Uid("u-1"))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


class Gigya:
    """A source that takes its time, numbers its answers, and fails on demand."""

    def __init__(self, clock: Clock) -> None:
        self.calls = 0
        self.error: ServiceError | None = None
        self.takes = 1.0
        self._clock = clock

    async def session(self, query: SessionQuery, deadline: Deadline) -> Session:
        assert query.site == SHOP
        self.calls += 1
        number = self.calls
        await asyncio.sleep(min(self.takes, deadline.remaining()))
        if deadline.is_past:
            raise UpstreamTimeout("of the source", exchange=Exchange(attempts=1))
        if self.error is not None:
            raise self.error
        return Session(
            auth_token=Secret(f"token-{number}"),
            token_secret=Secret("secret"),
            token_expires_at=datetime.fromtimestamp(self._clock.wall() + 3600, UTC),
            fetched_at=self._clock.wall(),
            exchange=Exchange(attempts=1),
        )


class House:
    """Sessions over one site, with or without a cache."""

    def __init__(self, *, cached: bool = False) -> None:
        self.clock = virtual_clock()
        self.gigya = Gigya(self.clock)
        self.keys = Live(None)
        self.rules = Live(None)
        self.granted = frozenset({Field.AUTH_TOKEN, Field.TOKEN_SECRET})
        bounds = Bounds(ttl=60, margin=10, entries=10, octets=100_000)
        self.cache: Cache[Place] = Cache(bounds, clock=self.clock)
        source = SiteSource(
            source=self.gigya,
            breaker=Breaker(
                BreakerLimits(failures=3, window=30, cool_down=5), monotonic=self.clock.monotonic
            ),
            admission=Admission(concurrency=4, per_uid=5, queue=10),
            generations=lambda: (self.keys.generation,),
        )
        caching = Caching(
            cache=self.cache,
            granted=lambda site, provider: self.granted if site and provider else frozenset(),
            rules=self.rules,
        )
        self.sessions = Sessions(
            {SHOP: source},
            flights=Flights(monotonic=self.clock.monotonic),
            clock=self.clock,
            seconds=10,
            caching=caching if cached else None,
        )

    @property
    def stored(self) -> int:
        """How often a session was put into the cache."""
        return self.cache.events[STORED]

    async def ask(self, *, uid: str = "u-1", max_age: int | None = None, within: float = 10) -> str:
        query = QUERY._replace(uid=Uid(uid))
        session = self.sessions.kept(query, max_age=max_age)
        if session is None:
            deadline = Deadline.after(within, self.clock)
            session = await self.sessions.fetched(query, max_age=max_age, deadline=deadline)
        return session.auth_token.reveal()


class TestSessions:
    async def test_at_the_same_time_share_a_call(self) -> None:
        """A thousand requests for one session make one call to Gigya."""
        house = House()

        answers = await asyncio.gather(*(house.ask() for _ in range(1000)))

        assert ({"token-1"}, 1) == (set(answers), house.gigya.calls)

    async def test_without_a_cache_are_always_asked_for(self) -> None:
        """Off means off."""
        house = House()

        assert ["token-1", "token-2"] == [await house.ask(), await house.ask()]

    async def test_after_a_rotation_do_not_join_calls_before_it(self) -> None:
        """A call that went out with the old key is not shared with who comes after the new one."""
        house = House()
        before = asyncio.create_task(house.ask())
        await asyncio.sleep(0.1)
        house.keys.replace(None)

        assert ["token-2", "token-1"] == [await house.ask(), await before]

    async def test_are_not_asked_for_while_the_breaker_is_open(self) -> None:
        """Failures in a row stop the calls; the answer comes at once."""
        house = House()
        house.gigya.error = UpstreamUnavailable("away")
        for _ in range(3):
            with pytest.raises(UpstreamUnavailable):
                await house.ask()
        before = house.clock.monotonic()

        with pytest.raises(UpstreamUnavailable) as refused:
            await house.ask()

        assert ("breaker-open", 3) == (refused.value.reason, house.gigya.calls)
        assert before == house.clock.monotonic()


class TestBlackHole:
    async def test_is_found_by_callers_with_little_time(self) -> None:
        """Requests that give up before the call does teach the breaker all the same."""
        house = House()
        house.gigya.takes = 3600
        asked = 600
        asking = []
        for number in range(asked):
            asking.append(asyncio.create_task(house.ask(uid=f"u-{number}", within=2)))
            await asyncio.sleep(0.05)
        fates = await asyncio.gather(*asking, return_exceptions=True)

        assert all(isinstance(fate, ServiceError) for fate in fates)
        assert house.gigya.calls < 0.1 * asked

    async def test_is_over_within_a_cool_down(self) -> None:
        """Healed just after a probe went into the silence, the next probe finds out."""
        house = House()
        house.gigya.takes = 3600
        await asyncio.gather(
            *(house.ask(uid=f"u-{number}", within=2) for number in range(3)),
            return_exceptions=True,
        )
        await asyncio.sleep(5)
        probe = asyncio.create_task(house.ask(uid="u-probe"))
        await asyncio.sleep(0.1)
        house.gigya.takes = 0.1
        healed = house.clock.monotonic()
        while True:
            with suppress(UpstreamUnavailable):
                await house.ask(uid="u-healthy")
                break
            await asyncio.sleep(0.1)

        assert house.clock.monotonic() - healed <= 5 + 0.2
        with pytest.raises(UpstreamTimeout):
            await probe
        await house.ask(uid="u-after")

    async def test_is_known_to_be_late_before_nobody_waits(self) -> None:
        """A call ends a little before the request that began it, and says what it was."""
        house = House()
        house.gigya.takes = 3600

        with pytest.raises(UpstreamTimeout) as late:
            await house.ask()

        assert "of the source" == late.value.detail


class TestCachedSessions:
    async def test_are_not_asked_for_again(self) -> None:
        """Within the time to live one call serves all, and the answer says so."""
        house = House(cached=True)
        await house.ask()
        await asyncio.sleep(30)

        assert ("token-1", 1) == (await house.ask(), house.gigya.calls)

    async def test_zero_asks_gigya(self) -> None:
        """Whoever wants it fresh gets it fresh, and so do the next ones."""
        house = House(cached=True)
        await house.ask()

        assert ["token-2", "token-2"] == [await house.ask(max_age=0), await house.ask()]

    async def test_of_a_certain_age_are_asked_for(self) -> None:
        """An answer older than the request accepts is not an answer."""
        house = House(cached=True)
        await house.ask()
        await asyncio.sleep(6)

        assert ["token-1", "token-2"] == [await house.ask(max_age=7), await house.ask(max_age=5)]

    @pytest.mark.parametrize("rotated", ["keys", "rules"])
    async def test_end_with_what_they_were_got_by(self, rotated: str) -> None:
        """A new key or new grants: what was kept under the old ones serves nobody."""
        house = House(cached=True)
        await house.ask()
        getattr(house, rotated).replace(None)

        assert "token-2" == await house.ask()

    async def test_failures_of_gigyas_cool_down(self) -> None:
        """The next request of a moment later hears the same without a call; then it is asked."""
        house = House(cached=True)
        house.gigya.error = UpstreamUnavailable("away", exchange=Exchange(attempts=1))
        for cached in (False, True, True):
            with pytest.raises(UpstreamUnavailable) as refused:
                await house.ask()
            assert refused.value.exchange is not None
            assert cached is refused.value.exchange.cached
        assert 1 == house.gigya.calls
        await asyncio.sleep(1)
        house.gigya.error = None

        assert "token-2" == await house.ask()

    async def test_one_impatient_request_cools_nothing_down(self) -> None:
        """That a request had no time says nothing about Gigya."""
        house = House(cached=True)
        with pytest.raises(UpstreamTimeout):
            await house.ask(within=0.1)

        assert "token-2" == await house.ask()

    async def test_refusals_of_ours_cool_nothing_down(self) -> None:
        """When the breaker lets calls through again, the very next request is served."""
        house = House(cached=True)
        house.gigya.error = UpstreamUnavailable("away")
        for _ in range(4):
            with pytest.raises(UpstreamUnavailable):
                await house.ask()
        house.gigya.error = None
        await asyncio.sleep(5)

        assert "token-4" == await house.ask()

    async def test_are_kept_once_for_all_who_waited(self) -> None:
        """Sharing a call is storing once."""
        house = House(cached=True)
        await asyncio.gather(*(house.ask() for _ in range(10)))

        assert 1 == house.stored

    async def test_of_an_old_key_are_not_kept(self) -> None:
        """A call that lands after a rotation serves who waited for it, and nobody else."""
        house = House(cached=True)
        before = asyncio.create_task(house.ask())
        await asyncio.sleep(0.1)
        house.keys.replace(None)

        assert ("token-1", 0) == (await before, len(house.cache))

    async def test_leave_the_memory_when_they_are_over(self) -> None:
        """Tokens that nobody asks for again do not stay."""
        house = House(cached=True)
        await house.ask()
        await asyncio.sleep(59)
        house.cache.sweep()
        assert 1 == len(house.cache)
        await asyncio.sleep(1)
        house.cache.sweep()

        assert (0, 0) == (len(house.cache), house.cache.octets)

    async def test_what_is_true_of_a_user_is_asked_again(self) -> None:
        """A user who has just connected is found at once."""
        house = House(cached=True)
        house.gigya.error = NoSession("none")
        with pytest.raises(NoSession):
            await house.ask()
        house.gigya.error = None

        assert "token-2" == await house.ask()

    async def test_hold_only_what_someone_may_have(self) -> None:
        """A value that nobody is granted is not in memory; that there is one stays known."""
        house = House(cached=True)
        house.granted = frozenset({Field.AUTH_TOKEN})
        await house.ask()

        kept = house.sessions.kept(QUERY, max_age=None)

        assert kept is not None
        assert NOT_KEPT is kept.token_secret
        assert "token-1" == kept.auth_token.reveal()

    async def test_overload_is_no_answer_of_gigyas(self) -> None:
        """A full queue neither opens the breaker nor closes an open one."""
        house = House()
        house.gigya.error = UpstreamUnavailable("away")
        queries = [QUERY._replace(uid=Uid(str(n))) for n in range(30)]

        async def ask(query: SessionQuery) -> str:
            deadline = Deadline.after(10, house.clock)
            try:
                await house.sessions.fetched(query, max_age=None, deadline=deadline)
            except ServiceError as error:
                return error.reason
            raise AssertionError("it is away")

        reasons = await asyncio.gather(*map(ask, queries))

        assert {"upstream-unavailable": 4, "breaker-open": 10, "overloaded": 16} == Counter(reasons)

    async def test_never_stale_while_gigya_is_away(self) -> None:
        """When the time to live is over and Gigya is away, there is an error and no old token."""
        house = House(cached=True)
        await house.ask()
        house.gigya.error = UpstreamUnavailable("away")
        await asyncio.sleep(59)

        assert "token-1" == await house.ask()
        await asyncio.sleep(2)
        with pytest.raises(UpstreamUnavailable):
            await house.ask()


class TestOnly:
    def test_nothing_granted_keeps_nothing(self) -> None:
        """Not even the token, where only the provider's UID is granted."""
        session = Session(
            auth_token=Secret("token"),
            session_handle=Secret("handle"),
            provider_uid=Secret("42"),
            fetched_at=0,
            exchange=Exchange(),
        )

        kept = only(session, frozenset({Field.PROVIDER_UID}))

        assert NOT_KEPT is kept.auth_token is kept.session_handle
        assert None is kept.token_secret
        assert session.provider_uid is kept.provider_uid
