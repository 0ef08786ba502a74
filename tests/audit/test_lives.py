import errno
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from service.audit.files import File, FileRules
from service.audit.findings import Finding
from service.audit.orders import Gap, Order, Turn
from service.audit.reading import arranged
from service.audit.scribe import Scribe
from tests.audit.fakes import surroundings
from tests.audit.memory_files import MemoryFiles
from tests.audit.streams import source, verified

PATH: Final = "/var/audit/a"
EVENTS: Final = ("write", "write", "turn", "full", "sync", "rename", "open", "move", "end", "kill")


class Life:
    """What can befall a file sink, at random."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.files = MemoryFiles()
        self.around = replace(surroundings(), random=self.dice.randbytes)
        size = self.dice.choice([900, 1500, 10**6])
        self.rules = FileRules(path=PATH, is_synced=True, rotate_bytes=size)
        self.writer = self.started()
        self.moved = 0
        self.missed: int | None = None

    def started(self) -> Scribe:
        return Scribe(File(self.rules, self.files), self.around)

    def live(self) -> list[Finding]:
        """Live, and return what verify accuses somebody of."""
        for _ in range(self.dice.randrange(5, 40)):
            self.suffer(self.dice.choice(EVENTS))
        self.files.faults, self.files.room = {}, None
        head = self.writer.inscribe(self.orders()).head
        named = arranged([source(self.files.text(name), name) for name in self.files.files])
        texts = [self.files.text(each.name) for each in named]
        return [f for f in verified(*texts, expect=[head])[1] if f.is_tampering]

    def suffer(self, event: str) -> None:
        self.files.faults, self.files.room = {}, None
        orders = self.orders()
        if event == "kill":
            orders = self.kill(orders)
        self.happenings().get(event, lambda: None)()
        if event in {"sync", "rename", "open"}:
            self.files.faults = {event: OSError(errno.EIO, "")}
        if event == "turn":
            orders.insert(self.dice.randrange(len(orders) + 1), Turn("signal"))
        report = self.writer.inscribe(orders)
        if report.fault is not None:
            lost = orders[report.landed :]
            self.missed = sum(o.missed if isinstance(o, Gap) else 1 for o in lost)

    def happenings(self) -> dict[str, Callable[[], None]]:
        return {"full": self.full, "move": self.move, "end": self.end}

    def orders(self) -> list[Order]:
        """Return some records; after a failure what tells of it."""
        if self.missed is not None:
            gap, self.missed = Gap(self.missed, 0.0, "x"), None
            return [gap]
        return [b'{"kind":"request","n":%d}' % n for n in range(self.dice.randrange(4))]

    def full(self) -> None:
        self.files.room = self.dice.randrange(900)

    def move(self) -> None:
        """Take the file away, as logrotate does; a line that is cut stays with it."""
        text = self.files.files.get(PATH, (0, bytearray()))[1]
        if text.endswith(b"}\n"):
            self.moved += 1
            self.files.rename(PATH, f"{PATH}.moved{self.moved:03}")

    def end(self) -> None:
        self.writer.close()
        self.writer = self.started()

    def kill(self, orders: list[Order]) -> list[Order]:
        """Stop the process in the middle of a write; what waited is gone with it."""
        self.files.room = self.dice.randrange(400)
        self.writer.inscribe(orders)
        self.files.room = None
        self.writer = self.started()
        return []


class TestLives:
    @pytest.mark.parametrize("decade", range(20))
    def test_no_false_alarm(self, decade: int) -> None:
        """Whatever befalls a file sink, what it leaves behind verifies."""
        seeds = range(decade * 10, decade * 10 + 10)
        assert [] == [(seed, found) for seed in seeds if (found := Life(seed).live())]
