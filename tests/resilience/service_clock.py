"""The time that a process had, and the time that the machine kept it from running (proc(5)).

``/proc/<pid>/schedstat`` tells of a thread the nanoseconds on a core, and those in which it could
have run and had to wait for one.
"""

import os
import time
from pathlib import Path
from typing import Final

NANO: Final = 1e-9


class ServiceClock:
    """Seconds on a process's own clock; it stands still while its main thread waits for a core.

    That its own other threads were on that core is no excuse: their time counts. Without
    ``schedstat`` it is the ordinary clock.
    """

    def __init__(self, pid: int) -> None:
        threads = Path(f"/proc/{pid}/task")
        files = {thread.name: thread / "schedstat" for thread in threads.iterdir()}
        main = files.pop(str(pid))
        exists = main.exists()
        self._main = os.open(main, os.O_RDONLY) if exists else None
        self._others = [os.open(file, os.O_RDONLY) for file in files.values()] if exists else []

    def now(self) -> float:
        """Return the reading."""
        if self._main is None:
            return time.monotonic()
        ours = sum(_read(other)[0] for other in self._others)
        return time.monotonic() - (_read(self._main)[1] - ours) * NANO

    def cpu(self) -> float:
        """Return the seconds that all its threads have had of a core."""
        if self._main is None:
            return 0.0
        return sum(_read(each)[0] for each in (self._main, *self._others)) * NANO

    def close(self) -> None:
        """Let go of the process."""
        for descriptor in (self._main, *self._others):
            if descriptor is not None:
                os.close(descriptor)


def _read(descriptor: int) -> tuple[int, int]:
    on_core, waited, _ = os.pread(descriptor, 64, 0).split()
    return int(on_core), int(waited)
