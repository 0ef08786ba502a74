"""How many connections there are, for how long, and whose turn it is."""

import asyncio
import random
from typing import Any

import aiohttp
import pytest

from service.engine import open_transport
from service.outbound import Unreachable
from service.pool import SPOILED, Pool, Spoiled
from tests.test_outbound import OK
from tests.test_wire import PAUSE, asking
from tests.virtual_time import VIRTUAL

SLOWLY = [OK[:9], OK[9:]]


class TestKeeping:
    async def test_lasts_no_longer_than_it_should(self) -> None:
        """What was idle for too long is closed without being asked for."""
        transport = open_transport(keep_alive=PAUSE)
        async with asking([OK], [OK], transport=transport) as (peer, ask):
            await ask()
            await peer.left.wait()
            await ask()
        assert 2 == peer.connections

    async def test_ends_where_the_peer_has_closed(self) -> None:
        """A connection that the peer closed is not asked over; nothing is lost by it."""
        async with asking([OK], [OK]) as (peer, ask):
            await ask()
            peer.writers[0].close()
            await asyncio.sleep(PAUSE)
            assert b"{}" == (await ask()).body
        assert 2 == peer.connections

    async def test_ends_with_the_engine(self) -> None:
        """Closing ends what is idle and what is at work."""
        async with asking([OK]) as (peer, ask):
            await ask()
            asked = [asyncio.ensure_future(ask()) for _ in range(2)]
            await asyncio.sleep(2 * PAUSE)
        assert 2 == peer.connections
        with pytest.raises(Unreachable):
            await asked[0]
        await asyncio.gather(*asked, return_exceptions=True)


class TestTurns:
    async def test_are_as_many_as_there_may_be(self) -> None:
        """No more connections are at work than may be; the others wait, and are served."""
        transport = open_transport(connections=2)
        async with asking(*[SLOWLY] * 6, transport=transport) as (peer, ask):
            answers = await asyncio.gather(*(ask() for _ in range(6)))
        assert ([b"{}"] * 6, 2) == ([answer.body for answer in answers], peer.connections)

    async def test_come_in_time_or_not_at_all(self) -> None:
        """Waiting counts as connecting: who waits for too long has sent nothing."""
        transport = open_transport(connections=1)
        async with asking(transport=transport, connect=2 * PAUSE) as (peer, ask):
            first = asyncio.ensure_future(ask())
            await peer.arrived.wait()
            with pytest.raises(Unreachable) as caught:
                await ask()
            first.cancel()
        assert ("connect-timeout", False) == (caught.value.reason, caught.value.sent)

    async def test_are_given_up_by_who_is_cancelled(self) -> None:
        """A request that is cancelled, at work or waiting, leaves its turn to the next."""
        transport = open_transport(connections=1)
        async with asking([], [OK], transport=transport) as (peer, ask):
            asked = [asyncio.ensure_future(ask()) for _ in range(3)]
            await peer.arrived.wait()
            asked[1].cancel()
            asked[0].cancel()
            assert b"{}" == (await asked[2]).body
        assert 2 == peer.connections

    async def test_are_given_up_where_nobody_listens(self) -> None:
        """A connection that is not made takes no turn with it."""
        transport = open_transport(connections=1)
        async with asking(transport=transport) as (peer, ask):
            url, peer.url = peer.url, "http://127.0.0.1:1/"
            for _ in range(3):
                with pytest.raises(Unreachable):
                    await ask()
            peer.url = url
            peer.says = [[OK]]
            assert b"{}" == (await ask()).body


class Wireless:
    """What is as good as a connection to who only counts them."""

    is_closing = False

    def __init__(self, *, is_spoiled: bool) -> None:
        self.is_spoiled = is_spoiled

    def rest(self) -> bool:
        """Be good for another request."""
        return True

    def close(self) -> None:
        """Do nothing."""


class Dialless(Pool):
    """A pool that opens nothing; with ``spoils`` so many peers first that speak unasked."""

    spoils = 0

    async def _dial(self, *_: Any) -> Any:
        self.spoils -= 1
        return Wireless(is_spoiled=self.spoils >= 0)


SOMEWHERE: Any = type("Somewhere", (), {"key": None})


class TestSpoiled:
    async def test_are_given_up_for_another(self) -> None:
        """A new connection over which the peer has spoken already is none to ask over."""
        pool = Dialless(limit=1, keep_alive=1)
        pool.spoils = SPOILED - 1
        assert not (await pool.take(SOMEWHERE, 1)).is_spoiled
        await pool.aclose()

    async def test_are_given_up_altogether(self) -> None:
        """After a few of them the request ends, unsent, and leaves its turn to the next."""
        pool = Dialless(limit=1, keep_alive=1)
        pool.spoils = SPOILED
        with pytest.raises(Spoiled):
            await pool.take(SOMEWHERE, 1)
        assert 0 == pool.spoils
        assert not (await pool.take(SOMEWHERE, 1)).is_spoiled
        await pool.aclose()


class TestSameMoment:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """Time is virtual."""
        return VIRTUAL

    async def test_turn_and_cancellation(self) -> None:
        """A turn that comes to who is cancelled in the same moment goes on to the next."""
        pool = Dialless(limit=1, keep_alive=1)
        wire = await pool.take(SOMEWHERE, 1)
        waiting = [asyncio.ensure_future(pool.take(SOMEWHERE, 1)) for _ in range(2)]
        await asyncio.sleep(0)
        pool.drop(wire)
        waiting[0].cancel()
        async with asyncio.timeout(0.5):
            await waiting[1]
        assert waiting[0].cancelled()
        await pool.aclose()

    @pytest.mark.parametrize("seed", range(20))
    async def test_many_comings_and_goings(self, seed: int) -> None:
        """However they meet, never more are at work than may be, and no place is lost or made."""
        chance, limit = random.Random(seed), 3
        pool, at_work, most = Dialless(limit=limit, keep_alive=1), 0, 0

        async def visit() -> None:
            nonlocal at_work, most
            wire = pool.at_hand(SOMEWHERE) or await pool.take(
                SOMEWHERE, chance.choice((0, 1, 2, 3))
            )
            at_work += 1
            most = max(most, at_work)
            try:
                await asyncio.sleep(chance.choice((0, 1, 2)))
            finally:
                at_work -= 1
                if chance.choice((True, False)):
                    pool.give_back(SOMEWHERE, wire)
                else:
                    pool.drop(wire)

        visits = []
        for _ in range(100):
            visits.append(asyncio.ensure_future(visit()))
            await asyncio.sleep(chance.choice((0, 0, 1)))
            chance.choice(visits).cancel()
        outcomes = await asyncio.gather(*visits, return_exceptions=True)
        assert {type(None), asyncio.CancelledError, aiohttp.ConnectionTimeoutError} == {
            type(outcome) for outcome in outcomes
        }
        for _ in range(limit):
            await pool.take(SOMEWHERE, 0.5)
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await pool.take(SOMEWHERE, 0.5)
        assert limit == most
        await pool.aclose()

    async def test_turns_come_in_order(self) -> None:
        """Whoever waits is served before who comes later, and in turn."""
        pool, served = Dialless(limit=1, keep_alive=1), []

        async def visit(number: int) -> None:
            wire = await pool.take(SOMEWHERE, 9)
            served.append(number)
            await asyncio.sleep(0)
            pool.drop(wire)

        visits = []
        for number in range(6):
            visits.append(asyncio.ensure_future(visit(number)))
            await asyncio.sleep(0)
        await asyncio.gather(*visits)
        assert list(range(6)) == served
        await pool.aclose()
