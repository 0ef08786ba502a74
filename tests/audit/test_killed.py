import asyncio
import os
import random
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.audit.fingerprints import AuditKey, Keyring
from service.audit.reading import arranged, from_path
from tests.audit.fakes import KEYS
from tests.audit.serving import served
from tests.audit.streams import verified
from tests.house import AUDIT_FILE, AUDIT_KEY
from tests.resilience.place import Place, placed

ROOT = Path(__file__).parents[2]
ROUNDS = [5, pytest.param(200, marks=pytest.mark.needs_tools)]
SERVED_ROUNDS = [2, pytest.param(10, marks=pytest.mark.needs_tools)]
CALLERS = 8


class Shelf:
    """The files that killed processes leave; what was looked at is put away, to read it once."""

    def __init__(self, path: Path, keys: Keyring) -> None:
        self._path = path
        self._keys = keys
        self._recorded: set[str] = set()

    def lacks(self, received: set[str]) -> set[str]:
        """Verify, and return which of the releases that callers received have no record."""
        paths = map(str, self._path.parent.glob(f"{self._path.name}*"))
        sources = arranged([from_path(path) for path in paths])
        texts = [Path(source.name).read_bytes() for source in sources]
        accused = [f.what for f in verified(*texts, keys=self._keys)[1] if f.is_tampering]
        assert [] == accused
        for text in texts:
            self._recorded.update(found.decode() for found in RECORDED.findall(text))
        for source in sources[:-2]:  # a crash can have fallen between the last one and its next
            Path(source.name).unlink()
        return received - self._recorded


RECORDED = re.compile(rb'"audit_id":"([0-9a-f]{32})".*"outcome":"released"')


def killed(directory: Path, durability: str, dice: random.Random) -> set[str]:
    """Kill the process after a random number of releases; return those its callers received."""
    command = [sys.executable, "-m", "tests.audit.under_load", str(directory), durability]
    with subprocess.Popen(  # noqa: S603  # our own module
        command, cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        received = b"".join(_octets(process.stdout.fileno(), dice.randrange(33, 30_000)))
        process.kill()
        received += process.stdout.read()
    return set(re.findall("([0-9a-f]{32})\n", received.decode()))


def _octets(descriptor: int, enough: int) -> Iterator[bytes]:
    """Read until there is enough; a process that says nothing for long has failed."""
    count = 0
    while count < enough:
        assert select.select([descriptor], [], [], 60)[0]
        octets = os.read(descriptor, enough - count)
        assert octets
        count += len(octets)
        yield octets


async def killed_service(place: Place, config: Path, dice: random.Random) -> set[str]:
    """Kill ``serve`` while callers are answered; return the releases that they received."""
    received: set[str] = set()
    is_served = asyncio.Event()
    enough = dice.randrange(1, 400)

    async def ask() -> None:
        async with place.client() as client:
            while True:
                answer = await client.post("/v1/provider-tokens", json=REQUEST)
                assert answer.json()["tokens"]
                received.add(answer.headers["audit-id"])
                if len(received) >= enough:
                    is_served.set()

    async with served(place, config) as process:
        callers = [asyncio.ensure_future(ask()) for _ in range(CALLERS)]
        async with asyncio.timeout(60):
            await is_served.wait()
        process.kill()
        left = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(error, httpx.TransportError) for error in left), left
    return received


REQUEST = {"site": "shop", "uid": "user-twitter", "provider": "twitter"}


class TestKilled:
    @pytest.mark.parametrize("rounds", ROUNDS)
    @pytest.mark.parametrize("durability", ["os", "disk"])
    def test_at_a_random_moment(self, durability: str, rounds: int, tmp_path: Path) -> None:
        """Killed under load, again and again: each time all verifies, no token lacks its record."""
        dice, shelf = random.Random(durability), Shelf(tmp_path / AUDIT_FILE, KEYS)
        for _ in range(rounds):
            received = killed(tmp_path, durability, dice)
            assert received
            assert set() == shelf.lacks(received)

    @pytest.mark.parametrize("rounds", SERVED_ROUNDS)
    async def test_the_real_service(self, rounds: int, tmp_path: Path) -> None:
        """The same of serve itself: whoever had a token in hand when it was killed is on record."""
        keys = Keyring((AuditKey.from_file(AUDIT_KEY),))
        dice, shelf = random.Random(rounds), Shelf(tmp_path / AUDIT_FILE, keys)
        async with placed(tmp_path) as place:
            place.process.kill()  # its own; ours follow
            await place.process.wait()
            for _ in range(rounds):
                received = await killed_service(place, tmp_path / "config.yaml", dice)
                assert received
                assert set() == shelf.lacks(received)
