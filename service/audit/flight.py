"""What is on its way to a sink's medium, and what an ejected sink will have to tell."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from service.audit.gate import Pledge
from service.audit.orders import Gap, Order, Report

PROBES: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each probe write to an ejected sink; the last goes on."""

GRACES: Final = 2
"""How often a deadline is extended because the process itself stood still."""
STANDSTILL: Final = 0.1
"""A timer that is late by this part of the deadline shows that the process stood still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRules:
    """A sink's name, the seconds it has for a record, and how many records may wait."""

    name: str
    deadline: float = 0.05
    queue: int = 10_000


@dataclass(slots=True, eq=False)
class Item:
    """Something to be written, the release that waits for it, and whether it must not be lost."""

    order: Order
    at: float
    pledge: Pledge | None = None
    is_owed: bool = False

    @property
    def is_needless(self) -> bool:
        """Whether it is the record of a release that was given up before it was written."""
        return self.pledge is not None and self.pledge.is_withdrawn


@dataclass(slots=True, eq=False)
class Flight:
    """A batch on its way; ``due`` and ``done_at`` are monotonic seconds."""

    items: list[Item]
    due: float
    done_at: float = 0.0
    report: Report | None = None
    graces: int = 0
    is_late: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def is_in_time(self) -> bool:
        """Whether all of it is written, and was before it was given up."""
        return not self.is_late and self.report is not None and self.report.fault is None

    def is_excused(self, now: float, deadline: float) -> bool:
        """Give it ``deadline`` seconds more, if it is the process that stood still."""
        if now - self.due <= deadline * STANDSTILL or self.graces >= GRACES:
            return False
        self.graces += 1
        self.due = now + deadline
        return True


@dataclass(slots=True, eq=False)
class Absence:
    """Why and since when (UNIX seconds) a sink is ejected, and what it will have to tell."""

    why: str
    since: float
    missed: int = 0
    told: int = 0
    probes: int = 0
    owed: list[Item] = field(default_factory=list)

    def lose(self, items: Iterable[Item]) -> None:
        """Count what was not written, and keep what must be."""
        for item in items:
            if item.is_owed:
                self.owed.append(item)
            elif isinstance(item.order, Gap):
                self.missed += item.order.missed
                self.told -= item.order.missed
            elif isinstance(item.order, bytes) and not item.is_needless:
                self.missed += 1

    def story(self, now: float) -> list[Item]:
        """Return what is to be told now, and forget it; what fails comes back by ``lose``."""
        items = [Item(Gap(self.missed, self.since, self.why), now), *self.owed]
        self.told += self.missed
        self.missed, self.owed = 0, []
        return items

    def next_delay(self) -> float:
        """Return the seconds until the next probe."""
        delay = PROBES[min(self.probes, len(PROBES) - 1)]
        self.probes += 1
        return delay
