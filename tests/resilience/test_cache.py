import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from service.audit.fingerprints import AuditKey
from service.audit.record import Entry, describe
from service.deadline import Clock
from service.errors import NoSession, ReauthenticationRequired, ServiceError, UpstreamUnavailable
from service.model import Exchange, Field, Session, SessionQuery, SiteName, Uid
from service.providers import BASE, Naming, provider_tokens
from service.resilience.cache import COOL_DOWN, EVICTED, HIT, MISS, OVERHEAD, Bounds, Cache
from service.secret import Secret
from service.sessions import Place, octets_of

NOW = 1_800_000_000.0
SHOP = SiteName("shop")
BOUNDS = Bounds(ttl=60, margin=30, entries=3, octets=1_000_000)


class Time:
    """Seconds that a test moves by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def session(
    *, lives: float | None = None, session_lives: float | None = None, size: int = 10
) -> Session:
    return Session(
        auth_token=Secret("x" * size),
        token_expires_at=None if lives is None else datetime.fromtimestamp(NOW + lives, UTC),
        session_expires_at=(
            None if session_lives is None else datetime.fromtimestamp(NOW + session_lives, UTC)
        ),
        fetched_at=NOW,
        exchange=Exchange(attempts=2, milliseconds=50, call_id="call", error_code=0),
    )


def whole_session(number: int) -> Session:
    """Return one that holds all there may be, none of it shared with another."""
    text = f"{number:0200d}"
    return Session(
        auth_token=Secret(f"{text}a"),
        token_secret=Secret(f"{text}s"),
        token_expires_at=datetime.fromtimestamp(NOW + 3600 + number, UTC),
        session_handle=Secret(f"{text}h"),
        session_expires_at=datetime.fromtimestamp(NOW + 7200 + number, UTC),
        provider_uid=Secret(f"{text}u"),
        fetched_at=NOW,
        exchange=Exchange(0, f"{number:032x}", 1, 0.5 + number, asked_at=NOW - number / 9),
        user=Secret("u"),
    )


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def cache(time: Time) -> Iterator[Cache[str]]:
    cache: Cache[str] = Cache(BOUNDS, clock=Clock(wall=time, monotonic=time))
    yield cache
    cache.clear()
    assert (0, 0) == (len(cache), cache.octets)


class TestCache:
    def test_gives_back_what_it_keeps(self, cache: Cache[str]) -> None:
        """A hit is the same session, and says that nobody was asked."""
        cache.keep("a", session())

        hit = cache.session("a", max_age=None)

        assert hit is not None
        assert Exchange(cached=True, call_id="call", error_code=0) == hit.exchange
        assert None is cache.session("b", max_age=None)
        assert (1, 1) == (cache.events[HIT], cache.events[MISS])

    def test_leaves_who_asked_what_came(self, cache: Cache[str]) -> None:
        """That others are served from memory later changes nothing for whom Gigya was asked."""
        asked = session()
        cache.keep("a", asked)
        hits = [cache.session("a", max_age=None) for _ in range(2)]

        assert not asked.exchange.cached
        assert [True, True] == [hit is not None and hit.exchange.cached for hit in hits]

    def test_forgets_the_least_used(self, cache: Cache[str]) -> None:
        """Beyond its entries, what was used longest ago goes."""
        for key in "abc":
            cache.keep(key, session())
        cache.session("a", max_age=None)
        cache.keep("d", session())

        assert [True, False, True, True] == [
            cache.session(key, max_age=None) is not None for key in "abcd"
        ]
        assert 1 == cache.events[EVICTED]

    def test_is_bounded_in_octets(self, time: Time) -> None:
        """Long tokens take room from others, and one too long is not kept."""
        bounds = Bounds(ttl=60, margin=0, entries=100, octets=3 * (OVERHEAD + 100))
        cache: Cache[int] = Cache(bounds, clock=Clock(wall=time, monotonic=time))

        for key in range(9):
            cache.keep(key, session(size=100))
            assert cache.octets <= bounds.octets
        assert 3 == len(cache)
        cache.keep(0, session(size=3 * (OVERHEAD + 100)))

        assert None is cache.session(0, max_age=None)

    def test_counts_no_less_than_is_taken(self, time: Time) -> None:
        """The octets counted cover what entries take, with what is made of them and remembered.

        That is most where entries do not even share the sets of fields that were allowed and asked.
        """
        bounds = Bounds(ttl=60, margin=0, entries=1000, octets=10**9)
        cache: Cache[Place] = Cache(bounds, clock=Clock(wall=time, monotonic=time), weigh=octets_of)
        audit_key, row = AuditKey(bytes(32)), BASE.row("twitter")

        tracemalloc.start()
        try:
            for number in range(500):
                query = SessionQuery(SHOP, row.name, Uid(f"{number:0100d}"))
                place = (query, (number, number)), 1
                cache.keep(place, whole_session(number))
                kept = cache.session(place, max_age=None)
                assert kept is not None
                allowed, asked = frozenset(Field), tuple(Field)
                audit_key.of_tokens(
                    provider_tokens(row, kept, allowed=allowed, naming=Naming.REPLY, asked=asked)
                )
                assert kept.user is not None
                audit_key.of_user(kept.user)
                describe(Entry("", exchange=kept.exchange), audit_key, now=0, monotonic=0)
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert 0.6 * cache.octets < taken <= cache.octets

    def test_counts_the_key(self, time: Time) -> None:
        """A UID may be longer than any token."""
        cache: Cache[str] = Cache(
            Bounds(ttl=60, margin=0, entries=100, octets=1_000_000),
            clock=Clock(wall=time, monotonic=time),
            weigh=len,
        )
        cache.keep("k" * 500, session(size=10))

        assert OVERHEAD + 510 == cache.octets

    def test_keeps_what_was_asked_for_later(self, cache: Cache[str], time: Time) -> None:
        """A call that took longer than a younger one brings back nothing of before."""
        older = session()
        time.now += 2
        cache.keep("a", replace(session(size=20), fetched_at=time.now - 1))
        cache.keep("a", older)

        hit = cache.session("a", max_age=None)
        assert hit is not None
        assert time.now - 1 == hit.fetched_at

    def test_replaces(self, cache: Cache[str]) -> None:
        """A newer session takes the older one's place and room."""
        cache.keep("a", session(size=500))
        cache.keep("a", session(size=10))

        assert (1, OVERHEAD + 10) == (len(cache), cache.octets)

    @pytest.mark.parametrize(
        ("lives", "session_lives", "max_age", "age"),
        list(
            product(
                (None, 10, 31, 45, 89, 91, 1000),
                (None, 40, 1000),
                (None, 0, 5, 59, 100),
                (0, 1, 5, 6, 14, 15, 29, 59, 60, 61),
            )
        ),
    )
    def test_is_never_stale(
        self,
        cache: Cache[str],
        time: Time,
        lives: float | None,
        session_lives: float | None,
        max_age: int | None,
        age: int,
    ) -> None:
        """A hit is inside its time to live, the age that was asked, and the margin of expiries."""
        cache.keep("a", session(lives=lives, session_lives=session_lives))
        time.now += age

        hit = cache.session("a", max_age=max_age)

        ends = [e - BOUNDS.margin for e in (lives, session_lives) if e is not None]
        fresh = age < min([BOUNDS.ttl, *ends]) and (max_age is None or age <= max_age)
        assert fresh == (hit is not None)

    def test_does_not_believe_a_clock_set_back(self, cache: Cache[str], time: Time) -> None:
        """An answer from the future is asked for again."""
        cache.keep("a", session())
        time.now -= 10

        assert None is cache.session("a", max_age=None)


class TestFailures:
    def test_cool_down(self, cache: Cache[str], time: Time) -> None:
        """A failure of Gigya's is remembered for a moment."""
        cache.keep_failure("a", UpstreamUnavailable("away"))

        assert isinstance(cache.failure("a"), UpstreamUnavailable)
        assert None is cache.failure("b")
        time.now += COOL_DOWN
        assert None is cache.failure("a")

    @pytest.mark.parametrize("error", [NoSession("none"), ReauthenticationRequired("again")])
    def test_what_is_true_of_a_user_is_never_kept(
        self, cache: Cache[str], error: ServiceError
    ) -> None:
        """Who logs in again gets a token at once."""
        cache.keep_failure("a", error)

        assert None is cache.failure("a")

    def test_are_bounded(self, cache: Cache[str]) -> None:
        """They take no more entries than sessions do."""
        for key in "abcd":
            cache.keep_failure(key, UpstreamUnavailable("away"))

        assert [True, False] == [cache.failure(key) is None for key in "ab"]
