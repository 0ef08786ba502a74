"""The audit's front door: opens an entry for each request and is the gate for releases."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from service.audit.fingerprints import Keyring
from service.audit.record import RELEASED, UNAVAILABLE, Entry, canonical, describe
from service.deadline import Clock
from service.errors import AuditUnavailable
from service.live import Live

Accept = Literal["any", "all"]
REFUSED: Final = "The audit record could not be written, so nothing is released."


class Sink(Protocol):
    """Where records go."""

    def write(self, octets: bytes) -> None:
        """Write a whole line; raises ``OSError``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a journal takes from the process it runs in.

    ``random`` gives that many octets; ``config_hash`` is asked for each entry, since the
    configuration can be replaced.
    """

    keys: Live[Keyring]
    clock: Clock
    random: Callable[[int], bytes]
    build: str
    config_hash: Callable[[], str | None] = lambda: None


class Journal:
    """Opens entries, and lets a release pass when the sinks have its record."""

    def __init__(
        self, sinks: Sequence[Sink], surroundings: Surroundings, *, accept: Accept = "any"
    ) -> None:
        self._sinks = tuple(sinks)
        self._around = surroundings
        self._accept = accept

    def open(
        self,
        *,
        route: str | None = None,
        method: str | None = None,
        peer: str | None = None,
        trace_id: str | None = None,
    ) -> Entry:
        """Return a new entry; whoever opened it sees to it that it is committed."""
        around = self._around
        return Entry(
            audit_id=around.random(16).hex(),
            opened_at=around.clock.wall(),
            started=around.clock.monotonic(),
            route=route,
            method=method,
            peer=peer,
            trace_id=trace_id,
            config_hash=around.config_hash(),
            build=around.build,
            commit_to=self._commit,
        )

    async def start(self) -> None:
        """Open the sinks."""

    async def close(self) -> None:
        """Write what is left and close the sinks."""

    async def _commit(self, entry: Entry) -> None:
        clock = self._around.clock
        key = self._around.keys.value.newest
        record = describe(entry, key, now=clock.wall(), monotonic=clock.monotonic())
        is_written = self._write(canonical(record) + b"\n")
        if entry.outcome == RELEASED and not is_written:
            entry.outcome = UNAVAILABLE
            raise AuditUnavailable(REFUSED)

    def _write(self, line: bytes) -> bool:
        rule = any if self._accept == "any" else all
        return rule([_accepts(sink, line) for sink in self._sinks])


def _accepts(sink: Sink, line: bytes) -> bool:
    try:
        sink.write(line)
    except OSError:
        return False
    return True
