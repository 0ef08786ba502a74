"""What the audit takes from the process it runs in, and what it tells it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from service.audit.chain import Head
from service.audit.fingerprints import Keyring
from service.deadline import Clock
from service.floods import Aggregate
from service.live import Live


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Keys, time, randomness, and what names this process.

    ``random`` gives that many octets; ``config_hash`` is of the configuration in use,
    which can be replaced. ``boot`` names this run of the process in each chain.
    ``flooding`` says from whom what is only counted came, since it was asked last.
    """

    keys: Live[Keyring]
    clock: Clock
    random: Callable[[int], bytes]
    build: str
    boot: str
    config_hash: Live[str]
    flooding: Callable[[], Sequence[Aggregate]] = tuple


ROTATED: Final = "rotated"
"""What a sink notices when it has put a file aside: as it should be."""
ROTATION_FAILED: Final = "rotation-failed"
"""What it notices when it could not, and goes on in the old file."""


class Observer(Protocol):
    """Whoever counts, logs and alarms; told on the event loop, and it must not raise."""

    def wrote(self, sink: str, records: int, seconds: float) -> None:
        """Count the records that a sink accepted in one write of so many seconds."""

    def ejected(self, sink: str, why: str) -> None:
        """Alarm: a sink was taken out; ``why`` is a slug: "late", "no-space", "deleted", …."""

    def readmitted(self, sink: str, missed: int) -> None:
        """Tell that a sink was healed by its probe, with a gap of ``missed`` records."""

    def dropped(self, sink: str, records: int) -> None:
        """Count records, none of a release, that found the queue full."""

    def withdrew(self, reason: str) -> None:
        """Count a release that did not happen although a sink may have its record."""

    def noticed(self, sink: str, what: str) -> None:
        """Warn: a sink went on, but look: "deleted", "replaced", "rotation-failed"."""

    def checkpoint(self, sink: str, head: Head) -> None:
        """Keep a sink's head where the sink's keeper cannot change it."""


class Unobserved:
    """Tells nobody."""

    def wrote(self, sink: str, records: int, seconds: float) -> None:
        """Do nothing."""

    def ejected(self, sink: str, why: str) -> None:
        """Do nothing."""

    def readmitted(self, sink: str, missed: int) -> None:
        """Do nothing."""

    def dropped(self, sink: str, records: int) -> None:
        """Do nothing."""

    def withdrew(self, reason: str) -> None:
        """Do nothing."""

    def noticed(self, sink: str, what: str) -> None:
        """Do nothing."""

    def checkpoint(self, sink: str, head: Head) -> None:
        """Do nothing."""
