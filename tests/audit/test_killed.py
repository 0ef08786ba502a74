import os
import random
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.audit.reading import arranged, from_path
from tests.audit.streams import verdict

ROOT = Path(__file__).parents[2]
ROUNDS = [5, pytest.param(200, marks=pytest.mark.needs_tools)]


def killed(directory: Path, durability: str, dice: random.Random) -> list[bytes]:
    """Kill the process after a random number of releases; return those its callers received."""
    command = [sys.executable, "-m", "tests.audit.under_load", str(directory), durability]
    with subprocess.Popen(  # noqa: S603  # our own module
        command, cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        received = b"".join(_octets(process.stdout.fileno(), dice.randrange(33, 30_000)))
        process.kill()
        received += process.stdout.read()
    return re.findall(rb"([0-9a-f]{32})\n", received)


def _octets(descriptor: int, enough: int) -> Iterator[bytes]:
    """Read until there is enough; a process that says nothing for long has failed."""
    count = 0
    while count < enough:
        assert select.select([descriptor], [], [], 60)[0]
        octets = os.read(descriptor, enough - count)
        assert octets
        count += len(octets)
        yield octets


class TestKilled:
    @pytest.mark.parametrize("rounds", ROUNDS)
    @pytest.mark.parametrize("durability", ["os", "disk"])
    def test_at_a_random_moment(self, durability: str, rounds: int, tmp_path: Path) -> None:
        """Killed under load, again and again: the files verify, and no token lacks its record."""
        dice = random.Random(durability)
        received: set[bytes] = set()
        for _ in range(rounds):
            received.update(killed(tmp_path, durability, dice))
        sources = arranged([from_path(str(path)) for path in tmp_path.iterdir()])
        texts = [Path(source.name).read_bytes() for source in sources]
        assert "intact" == verdict(*texts)
        recorded = set(re.findall(rb'"audit_id":"([0-9a-f]{32})"', b"".join(texts)))
        assert set() == received - recorded
        assert received
