"""Keys in time: hours without the issuer, storms of unknown key ids, waiters that give up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest

from service.callers.fetching import FetchFailed
from service.callers.key_sets import KeySet, Terms
from service.callers.refusals import Refusal, Unavailable
from service.callers.waiting import SEATS
from service.deadline import Clock, Deadline
from service.errors import AuthenticationUnavailable, ServiceError, Unauthenticated
from tests.callers.issuer import P256, P384, jwk, key_set
from tests.virtual_time import VIRTUAL, virtual_clock


class Issuer:
    """An issuer that can rotate its keys, go away, hang, and talk nonsense."""

    def __init__(self) -> None:
        self.kids = ["one"]
        self.fetches: list[float] = []
        self.is_away = False
        self.answer: Callable[[], bytes] = self.document
        self.gate = asyncio.Event()
        self.gate.set()
        self.events: list[tuple[str, str, str]] = []

    def document(self) -> bytes:
        """Write the key set."""
        return key_set(*(jwk(P256, kid) for kid in self.kids))

    async def source(self, deadline: Deadline) -> bytes:
        """Be fetched."""
        del deadline
        self.fetches.append(asyncio.get_running_loop().time())
        await self.gate.wait()
        if self.is_away:
            raise FetchFailed("unreachable")
        return self.answer()

    def observe(self, name: str, event: str, detail: str) -> None:
        """Note what was told."""
        self.events.append((name, event, detail))


def keys_of(issuer: Issuer, **terms: float) -> tuple[KeySet, Clock]:
    """Make the key set of ``issuer`` on the running loop's clock."""
    clock = virtual_clock()
    keys = KeySet(
        issuer.source, name="x", clock=clock, terms=Terms(**terms), observe=issuer.observe
    )
    return keys, clock


async def outcome(keys: KeySet, clock: Clock, kid: str = "one", within: float = 10) -> str:
    """Find a key and say how that went."""
    try:
        found = await keys.find(kid, Deadline.after(within, clock))
    except ServiceError as error:
        return error.reason
    return found.kid


@asynccontextmanager
async def kept(keys: KeySet) -> AsyncIterator[None]:
    """Run ``keep`` beside what is inside."""
    task = asyncio.create_task(keys.keep())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class TestKeySet:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_fetches_when_first_asked(self) -> None:
        """Without any keys the first token waits for them; all others wait for the same fetch."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)

        assert ["one"] * 30 == await asyncio.gather(*(outcome(keys, clock) for _ in range(30)))
        assert [0.0] == issuer.fetches

    async def test_so_many_wait(self) -> None:
        """One peer has half of the seats at a fetch that hangs; the rest is told at once."""
        issuer = Issuer()
        issuer.gate.clear()
        keys, clock = keys_of(issuer)
        waiting = [asyncio.create_task(outcome(keys, clock)) for _ in range(SEATS)]
        await asyncio.sleep(1)
        told = [task.result() for task in waiting if task.done()]
        issuer.gate.set()
        outcomes = await asyncio.gather(*waiting)

        assert [Unavailable.KEYS_OVERLOADED] * (SEATS // 2) == told
        assert ["one"] * (SEATS // 2) == outcomes[: SEATS // 2]

    async def test_refreshes_in_the_background(self) -> None:
        """Keys are fetched again every ``refresh`` seconds, whether anybody asks or not."""
        issuer = Issuer()
        keys, _ = keys_of(issuer)
        async with kept(keys):
            await asyncio.sleep(1000)

        assert [0.0, 300.0, 600.0, 900.0] == issuer.fetches

    async def test_needs_nobody_to_keep_it(self) -> None:
        """Old keys are used once more, and that use has them fetched behind its back."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)
        await outcome(keys, clock)
        await asyncio.sleep(301)
        issuer.gate.clear()

        assert "one" == await outcome(keys, clock)
        await asyncio.sleep(0)
        assert [0.0, 301.0] == issuer.fetches

    async def test_generation_moves_only_with_the_keys(self) -> None:
        """What was verified is forgotten when keys change, and only then."""
        issuer = Issuer()
        keys, _ = keys_of(issuer)
        generations = []
        async with kept(keys):
            for at in range(5):
                if at == 3:
                    issuer.kids = ["one", "two"]
                await asyncio.sleep(300)
                generations.append(keys.generation)

        assert [2, 2, 2, 3, 3] == generations

    async def test_a_removed_key_is_gone(self) -> None:
        """A key that the issuer took back proves nothing after the next refresh."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)
        async with kept(keys):
            await asyncio.sleep(1)
            issuer.kids = ["two"]
            await asyncio.sleep(300)

            assert Refusal.KEY_UNKNOWN == await outcome(keys, clock)

    async def test_a_rotated_key_is_found_at_once(self) -> None:
        """A new key of the issuer is fetched by the first token that was signed with it."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)
        async with kept(keys):
            await asyncio.sleep(20)
            issuer.kids = ["one", "two"]

            assert "two" == await outcome(keys, clock, "two")
            assert [0.0, 20.0] == issuer.fetches

    async def test_same_name_for_another_key(self) -> None:
        """A key replaced under its old name is a change."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)
        await outcome(keys, clock)
        before = keys.generation
        issuer.answer = lambda: key_set(jwk(P384, "one"))
        await asyncio.sleep(300)
        await outcome(keys, clock)
        await outcome(keys, clock, "two")

        assert before != keys.generation

    async def test_an_hour_without_the_issuer(self) -> None:
        """While the issuer is away its keys go on proving; it is asked at most every 10 seconds."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)
        outcomes = set()
        async with kept(keys):
            await asyncio.sleep(1)
            issuer.is_away = True
            for _ in range(3600):
                await asyncio.sleep(1)
                outcomes.add(await outcome(keys, clock))

        assert {"one"} == outcomes
        assert len(issuer.fetches) <= 2 + 3600 / 10
        assert all(later - sooner >= 10 for sooner, later in pairwise(issuer.fetches[1:]))

    async def test_a_storm_of_unknown_key_ids(self) -> None:
        """Unknown key ids cost one fetch in 10 seconds, and good tokens do not wait for it."""
        issuer = Issuer()
        keys, clock = keys_of(issuer, refresh=100000)
        await outcome(keys, clock)
        outcomes = []
        for second in range(100):
            await asyncio.sleep(1)
            outcomes += await asyncio.gather(
                *(outcome(keys, clock, f"{second}-{number}") for number in range(30)),
            )
            assert "one" == await outcome(keys, clock)

        assert {Refusal.KEY_UNKNOWN} == set(outcomes)
        assert [0.0, *(float(at) for at in range(10, 101, 10))] == issuer.fetches

    async def test_a_storm_while_the_issuer_is_away(self) -> None:
        """While it cannot be known whether a key exists, the answer is to come back later."""
        issuer = Issuer()
        keys, clock = keys_of(issuer, refresh=100000)
        await outcome(keys, clock)
        issuer.is_away = True
        outcomes = []
        for second in range(1, 3601):
            await asyncio.sleep(1)
            outcomes.append(await outcome(keys, clock, f"unknown-{second}"))
            assert "one" == await outcome(keys, clock)

        assert {Unavailable.KEYS_UNAVAILABLE} == set(outcomes[10:])
        assert len(issuer.fetches) <= 1 + 3600 / 10

        issuer.is_away, issuer.kids = False, ["one", "new"]
        await asyncio.sleep(10)
        assert "new" == await outcome(keys, clock, "new")
        assert Refusal.KEY_UNKNOWN == await outcome(keys, clock, "still unknown")

    async def test_a_hanging_issuer_holds_up_nobody_who_is_known(self) -> None:
        """A fetch that hangs delays unknown keys as long as they care to wait, known ones never."""
        issuer = Issuer()
        keys, clock = keys_of(issuer, refresh=100000, timeout=5)
        await outcome(keys, clock)
        await asyncio.sleep(60)
        issuer.gate.clear()
        waiting = asyncio.create_task(outcome(keys, clock, "two", within=2))
        await asyncio.sleep(0)

        assert "one" == await outcome(keys, clock)
        assert 60.0 == asyncio.get_running_loop().time()
        assert Unavailable.KEYS_UNAVAILABLE == await waiting
        assert 62.0 == asyncio.get_running_loop().time()
        await asyncio.sleep(4)
        assert ("x", "keys-failed", "TimeoutError") == issuer.events[-1]

    async def test_too_old_proves_nothing(self) -> None:
        """After ``max_staleness`` without the issuer nobody can be recognised, until it is back."""
        issuer = Issuer()
        keys, clock = keys_of(issuer, max_staleness=3600)
        async with kept(keys):
            await asyncio.sleep(1)
            issuer.is_away = True
            await asyncio.sleep(3590)
            assert "one" == await outcome(keys, clock)
            await asyncio.sleep(20)
            assert Unavailable.KEYS_UNAVAILABLE == await outcome(keys, clock)
            assert keys.generation is None

            issuer.is_away = False
            await asyncio.sleep(10)
            assert "one" == await outcome(keys, clock)

    async def test_tries_soon_when_it_never_had_keys(self) -> None:
        """A service that starts before its network is tried again after 1, 2, 4, 8, 10 seconds."""
        issuer = Issuer()
        issuer.is_away = True
        keys, _ = keys_of(issuer)
        async with kept(keys):
            await asyncio.sleep(40)

        assert [0.0, 1.0, 3.0, 7.0, 15.0, 25.0, 35.0] == issuer.fetches

    async def test_says_when_to_come_back(self) -> None:
        """The refusal says in how many seconds the issuer will be asked again."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)
        await outcome(keys, clock)
        await asyncio.sleep(20)
        issuer.is_away = True
        await outcome(keys, clock, "two")
        with pytest.raises(AuthenticationUnavailable) as caught:
            await keys.find("two", Deadline.after(1, clock))

        assert 10.0 == caught.value.retry_after

    @pytest.mark.parametrize(
        "document",
        [b"", b"nonsense", b"[]", b"{}", b'{"keys": 1}', b'{"keys": []}', b'{"keys": [1]}'],
    )
    async def test_keeps_the_old_keys_when_the_new_are_nonsense(self, document: bytes) -> None:
        """A document without a usable key replaces nothing."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)
        await outcome(keys, clock)
        issuer.answer = lambda: document
        await asyncio.sleep(60)

        assert Unavailable.KEYS_UNAVAILABLE == await outcome(keys, clock, "two")
        assert "one" == await outcome(keys, clock)

    async def test_a_waiter_that_leaves_takes_nobody_along(self) -> None:
        """The first to ask can be cancelled; the others get the keys that it asked for."""
        issuer = Issuer()
        issuer.gate.clear()
        keys, clock = keys_of(issuer)
        tasks = [asyncio.create_task(outcome(keys, clock)) for _ in range(3)]
        await asyncio.sleep(1)
        tasks[0].cancel()
        await asyncio.sleep(1)
        issuer.gate.set()

        assert ["one", "one"] == await asyncio.gather(*tasks[1:])
        assert tasks[0].cancelled()
        assert [0.0] == issuer.fetches

    async def test_all_waiters_may_leave(self) -> None:
        """A fetch that everybody left goes on, and the next to ask has its keys."""
        issuer = Issuer()
        issuer.gate.clear()
        keys, clock = keys_of(issuer)
        task = asyncio.create_task(outcome(keys, clock))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(0)
        issuer.gate.set()
        await asyncio.sleep(0.5)

        assert "one" == await outcome(keys, clock)
        assert [0.0] == issuer.fetches

    async def test_warm(self) -> None:
        """Readiness waits for the first fetch or its deadline, and no longer."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)
        assert await keys.warm(Deadline.after(1, clock))

        slow = Issuer()
        slow.gate.clear()
        late, _ = keys_of(slow)
        assert not await late.warm(Deadline.after(1, clock))

        away = Issuer()
        away.is_away = True
        without, _ = keys_of(away)
        assert not await without.warm(Deadline.after(1, clock))

    async def test_age(self) -> None:
        """The age of the keys is known once there are some."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)
        assert keys.age is None
        await outcome(keys, clock)
        await asyncio.sleep(12)
        assert 12.0 == keys.age

    async def test_tells_what_happened(self) -> None:
        """Each fetch is counted by how it went, in our own words."""
        issuer = Issuer()
        keys, clock = keys_of(issuer)
        await outcome(keys, clock)
        await outcome(keys, clock, "two")
        await asyncio.sleep(10)
        await outcome(keys, clock, "two")
        issuer.is_away = True
        await asyncio.sleep(10)
        await outcome(keys, clock, "two")

        assert [
            ("x", "keys-replaced", ""),
            ("x", "keys-unchanged", ""),
            ("x", "keys-failed", "unreachable"),
        ] == issuer.events

    async def test_a_fault_of_ours_reaches_who_waits(self) -> None:
        """A source that breaks its contract fails its waiters, and the next asks anew."""
        issuer = Issuer()

        def broken() -> bytes:
            raise ZeroDivisionError

        issuer.answer = broken
        keys, clock = keys_of(issuer)
        with pytest.raises(ZeroDivisionError):
            await outcome(keys, clock)
        issuer.answer = issuer.document
        await asyncio.sleep(10)
        assert "one" == await outcome(keys, clock)


def test_unknown_is_not_unavailable() -> None:
    """The two refusals differ: one is about the caller, the other about the issuer."""
    assert not issubclass(AuthenticationUnavailable, Unauthenticated)
