"""What a server uses while it is looked at, and how much of both cores others take meanwhile.

Others are what the kernel counts as busy on a core (proc(5): interrupts and what the hypervisor
withholds included) less what the run's own processes pinned to it have used.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmark.processes import OTHERS, SERVER, TICKS, cpu, family, own_cpu

BUSY: Final = (1, 2, 3, 6, 7, 8)
"""user, nice, system, irq, softirq, steal; guests are in user already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look: the moment, CPU seconds of the server, and of each core what was used by whom."""

    at: float
    server: float
    busy: Mapping[int, float]
    ours: Mapping[int, float]

    def since(self, before: "Reading") -> dict[str, float]:
        """Return seconds, the server's CPU seconds, and the share of each core that others took."""
        seconds = self.at - before.at
        return {
            "seconds": seconds,
            "cpu_seconds": self.server - before.server,
            "others": self._others(before, SERVER, seconds),
            "others_beside": self._others(before, OTHERS, seconds),
        }

    def _others(self, before: "Reading", core: int, seconds: float) -> float:
        busy = self.busy[core] - before.busy[core]
        return round(max(0.0, busy - self.ours[core] + before.ours[core]) / seconds, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Reads for a server, if there is one, in a run whose first process is ``run``."""

    server: int | None
    run: int

    def read(self) -> Reading:
        """Look once; takes some milliseconds."""
        return Reading(
            server=0.0 if self.server is None else cpu(self.server),
            busy=_busy(),
            ours=_ours(self.run),
            at=time.monotonic(),
        )


def _busy() -> dict[int, float]:
    lines = (line.split() for line in Path("/proc/stat").read_text("ascii").splitlines())
    rows = {row[0]: row for row in lines if row}
    return {
        core: sum(int(rows[f"cpu{core}"][number]) for number in BUSY) / TICKS
        for core in (SERVER, OTHERS)
    }


def _ours(run: int) -> dict[int, float]:
    used = {SERVER: 0.0, OTHERS: 0.0}
    for pid in family(run):
        try:
            cores = os.sched_getaffinity(pid)
        except OSError:  # it has just ended
            continue
        for core in cores:  # of a process that is not pinned it is not known where it ran
            used[core] = used.get(core, 0.0) + own_cpu(pid) / len(cores)
    return used
