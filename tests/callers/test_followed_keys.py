"""Keys in a file that others watch: when it is looked at, and how long anybody waits for that."""

import asyncio
from typing import Any

import pytest

from service.callers.key_sets import FollowedKeys
from service.callers.keys import Keys, parse_keys
from service.callers.refusals import Refusal, Unavailable
from service.deadline import Deadline
from service.errors import ServiceError
from service.live import Live
from tests.callers.issuer import P256, jwk, key_set
from tests.virtual_time import VIRTUAL, virtual_clock


def keys_of(*kids: str) -> Keys:
    """Return keys of these names."""
    return parse_keys(key_set(*(jwk(P256, kid) for kid in kids)))


class File:
    """A file that somebody watches; to look at it takes until ``gate`` is open."""

    def __init__(self, *kids: str) -> None:
        self.live = Live(keys_of(*kids))
        self.kids, self.is_faulty, self.looks = kids, False, 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.clock = virtual_clock()
        self.keys = FollowedKeys(self.live, self.look, lambda: self.is_faulty, clock=self.clock)

    async def look(self) -> None:
        """Be looked at."""
        self.looks += 1
        await self.gate.wait()
        self.live.replace(keys_of(*self.kids))

    async def outcome(self, kid: str, within: float = 10) -> str:
        """Find a key and say how that went."""
        try:
            return (await self.keys.find(kid, Deadline.after(within, self.clock))).kid
        except ServiceError as error:
            return error.reason


class TestFollowedKeys:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_a_known_key_needs_no_look(self) -> None:
        """What stands in the file as it was last seen is found at once."""
        file = File("one")

        assert ("one", 0) == (await file.outcome("one"), file.looks)

    async def test_all_wait_for_the_same_look(self) -> None:
        """A key that has just come is found by everybody who brings it, with one look."""
        file = File("one")
        file.kids = ("one", "two")
        file.gate.clear()
        waiting = [asyncio.create_task(file.outcome("two")) for _ in range(20)]
        await asyncio.sleep(1)
        file.gate.set()

        assert ["two"] * 20 == await asyncio.gather(*waiting)
        assert 1 == file.looks

    async def test_looks_once_in_ten_seconds(self) -> None:
        """Made-up keys have the file looked at no more often than that."""
        file = File("one")
        outcomes = set()
        for number in range(30):
            outcomes.add(await file.outcome(f"made-up-{number}"))
            await asyncio.sleep(1)

        assert ({Refusal.KEY_UNKNOWN}, 3) == (outcomes, file.looks)

    async def test_a_hanging_volume_is_waited_for_until_the_deadline(self) -> None:
        """Whoever has less time than the look takes is told in time that nobody knows."""
        file = File("one")
        file.gate.clear()

        assert Unavailable.KEYS_UNAVAILABLE == await file.outcome("two", within=2)
        assert 2.0 == asyncio.get_running_loop().time()
        assert "one" == await file.outcome("one")

    async def test_no_peer_keeps_all_waiting_places(self) -> None:
        """So many wait for a look that hangs; the others are told at once."""
        file = File("one")
        file.gate.clear()
        waiting = [asyncio.create_task(file.outcome("two", within=2)) for _ in range(40)]
        await asyncio.sleep(1)
        told = [task.result() for task in waiting if task.done()]
        await asyncio.gather(*waiting)

        assert [Unavailable.KEYS_OVERLOADED] * 8 == told

    async def test_a_faulty_file_may_hold_the_key(self) -> None:
        """What cannot be read is no proof that there is no such key."""
        file = File("one")
        file.is_faulty = True

        assert Unavailable.KEYS_UNAVAILABLE == await file.outcome("two")
