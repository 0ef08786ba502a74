"""What is on its way to a sink's medium, and what an ejected sink will have to tell."""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from service.audit.gate import Pledge
from service.audit.orders import Gap, Order, Report

PROBES: Final = (0.05, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each probe write to an ejected sink; the last goes on."""

GRACES: Final = 2
"""How often a deadline is extended because the process itself stood still or was slow."""
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
    """Something to be written, the release that waits for it, and whether it must not be lost.

    ``at`` is when it came, monotonic seconds. ``due`` is until when a release waits, if that is
    sooner than its batch is due; ``is_late``: it does not wait any more.
    """

    order: Order
    at: float
    pledge: Pledge | None = None
    is_owed: bool = False
    due: float = math.inf
    is_late: bool = False

    @property
    def is_needless(self) -> bool:
        """Whether it is the record of a release that was given up before it was written."""
        return self.pledge is not None and self.pledge.withdrawal is not None


def refuse(items: Iterable[Item]) -> None:
    """Refuse the releases among ``items`` that still wait."""
    for item in items:
        if item.pledge is not None and not item.is_late:
            item.pledge.refuse()


@dataclass(slots=True, eq=False)
class Flight:
    """A batch on its way; monotonic seconds.

    By ``due`` its write must be done, or the sink is late. A release in it can be out of time
    earlier: the ``hurried`` also waited for the write before. ``expected`` is the next of these
    moments. What was before ``credited`` is excused.
    """

    items: list[Item]
    due: float
    hurried: list[Item]
    credited: float = 0.0
    done_at: float = 0.0
    report: Report | None = None
    graces: int = 0
    is_late: bool = False
    expected: float = 0.0
    timer: asyncio.TimerHandle | None = None

    @classmethod
    def departing(
        cls, items: list[Item], *, now: float, free_since: float, deadline: float
    ) -> "Flight":
        """Return the batch; its releases have of ``deadline`` what the write before left them."""
        due, least = now + deadline, deadline * STANDSTILL
        hurried = [item for item in items if item.at < free_since and item.pledge is not None]
        for item in hurried:
            item.due = now + max(deadline - (free_since - item.at), least)
        return cls(items, due, hurried, credited=now)

    @property
    def is_in_time(self) -> bool:
        """Whether all of it is written, and was before it was given up."""
        return not self.is_late and self.report is not None and self.report.fault is None

    def await_next(self) -> float:
        """Set ``expected`` and return it."""
        self.expected = min([self.due, *[item.due for item in self.hurried]])
        return self.expected

    def is_excused(self, now: float, deadline: float, alive_at: float) -> bool:
        """Give it more time, if it is the process that is slow and not one write.

        Either it stood still, so that this timer is late, and all begins anew; or the writer had to
        wait for a processor: the time until it last began a step, ``alive_at``, does not count.
        """
        has_stood, progress = now - self.expected > deadline * STANDSTILL, alive_at - self.credited
        if self.graces >= GRACES or not (has_stood or progress > deadline * STANDSTILL):
            return False
        self.graces += 1
        self.credited = max(self.credited, alive_at)
        self.due = now + deadline if has_stood else self.due + progress
        for item in self.hurried:
            item.due = self.due if has_stood else item.due + progress
        return True

    def give_up(self) -> None:
        """Refuse the releases that have no more time; the write itself may have."""
        late = [item for item in self.hurried if item.due <= self.expected]
        self.hurried = [item for item in self.hurried if item.due > self.expected]
        refuse(late)
        for item in late:
            item.is_late = True


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
