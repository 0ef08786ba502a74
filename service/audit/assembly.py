"""Sinks and a journal from plain options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from service.audit.files import File, FileRules
from service.audit.filesystem import Disk, FileSystem
from service.audit.flight import SinkRules
from service.audit.gate import Accept
from service.audit.journal import Journal
from service.audit.media import Medium, Stream, UnixSocket
from service.audit.scribe import Scribe
from service.audit.sink import Sink
from service.audit.surroundings import Observer, Surroundings
from service.audit.worker import Hand, ThreadWorker

STANDARD_OUTPUT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOptions:
    """One sink of the configuration; durations are seconds, sizes octets.

    ``path`` is needed for a file and a unix socket. ``disk_deadline`` replaces ``deadline`` where
    ``durability`` is "disk".
    """

    name: str
    type: Literal["stdout", "file", "unix"] = "stdout"
    path: str | None = None
    deadline: float = 0.05
    durability: Literal["os", "disk"] = "os"
    disk_deadline: float = 1.0
    rotate_bytes: int = 1 << 28
    queue: int = 10_000


def assemble(
    options: Sequence[SinkOptions], around: Surroundings, *, observer: Observer, accept: Accept
) -> Journal:
    """Return a journal that is not started; nothing is opened yet."""
    sinks = [_sink(option, around, observer) for option in options]
    return Journal(sinks, around, observer=observer, accept=accept)


def _sink(options: SinkOptions, around: Surroundings, observer: Observer) -> Sink:
    rules = SinkRules(name=options.name, deadline=_deadline(options), queue=options.queue)
    scribe = Scribe(_medium(options, Disk()), around)
    return Sink(rules, Hand(writer=scribe, worker=ThreadWorker(options.name)), around, observer)


def _deadline(options: SinkOptions) -> float:
    return options.disk_deadline if options.durability == "disk" else options.deadline


def _medium(options: SinkOptions, files: FileSystem) -> Medium:
    if options.type == "stdout":
        return Stream(STANDARD_OUTPUT)
    if options.path is None:
        raise ValueError(f"the audit sink {options.name} needs a path")
    if options.type == "unix":
        return UnixSocket(options.path, timeout=options.deadline)
    rules = FileRules(
        path=options.path,
        is_synced=options.durability == "disk",
        rotate_bytes=options.rotate_bytes,
    )
    return File(rules, files)
