"""Stand-ins for what the audit writes on, and a journal in memory for tests of other rooms."""

import asyncio
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from service.audit.chain import Head
from service.audit.fingerprints import AuditKey, Keyring
from service.audit.flight import SinkRules
from service.audit.gate import Accept
from service.audit.journal import Journal
from service.audit.media import Arrival
from service.audit.orders import Order, Report
from service.audit.record import Entry
from service.audit.scribe import Scribe
from service.audit.sink import Sink
from service.audit.surroundings import Surroundings
from service.audit.worker import Hand, Job, Worker, Writer
from service.deadline import Clock
from service.floods import Aggregate
from service.live import Live
from service.model import (
    Caller,
    CallerName,
    Field,
    Identity,
    ProviderName,
    ProviderTokens,
    SiteName,
    Uid,
)
from service.secret import Secret
from tests.virtual_time import EPOCH, virtual_clock

KEY: Final = AuditKey(bytes(range(32)))
OLD_KEY: Final = AuditKey(bytes(range(1, 33)))
KEYS: Final = Keyring((KEY,))
FROZEN: Final = Clock(wall=lambda: EPOCH, monotonic=lambda: 0.0)
BOOT: Final = "b0" * 8


def counter() -> Callable[[int], bytes]:
    """Return a source of octets that are different each time and the same in each run."""
    state = 0

    def octets(count: int) -> bytes:
        nonlocal state
        state += 1
        return state.to_bytes(count)

    return octets


def surroundings(
    clock: Clock = FROZEN, keys: Keyring = KEYS, flooding: Callable[[], Sequence[Aggregate]] = tuple
) -> Surroundings:
    """Return surroundings in which nothing is left to chance."""
    return Surroundings(
        keys=Live(keys),
        clock=clock,
        random=counter(),
        build="1.0",
        boot=BOOT,
        config_hash=Live("c0ffee"),
        flooding=flooding,
    )


@dataclass(eq=False)
class Recorder:
    """Remembers what an observer was told."""

    told: list[tuple[object, ...]] = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)

    def wrote(self, sink: str, records: int, seconds: float) -> None:
        """Do nothing: the stream itself is asserted."""

    def ejected(self, sink: str, why: str) -> None:
        """Remember."""
        self.told.append(("ejected", sink, why))

    def readmitted(self, sink: str, missed: int) -> None:
        """Remember."""
        self.told.append(("readmitted", sink, missed))

    def dropped(self, sink: str, records: int) -> None:
        """Remember."""
        self.told.append(("dropped", sink, records))

    def withdrew(self, reason: str) -> None:
        """Remember."""
        self.told.append(("withdrew", reason))

    def noticed(self, sink: str, what: str) -> None:
        """Remember."""
        self.told.append(("noticed", sink, what))

    def checkpoint(self, sink: str, head: Head) -> None:
        """Remember."""
        self.heads[sink] = head


class Waiting(Recorder):
    """Says when a sink came back."""

    def __init__(self) -> None:
        super().__init__()
        self.is_back = asyncio.Event()

    def readmitted(self, sink: str, missed: int) -> None:
        """Remember, and say so."""
        super().readmitted(sink, missed)
        self.is_back.set()


class Paper:
    """A medium in memory; ``room`` is how many octets fit before it is full."""

    def __init__(self) -> None:
        self.octets = b""
        self.room: int | None = None
        self.is_fresh = True
        self.settles = 0
        self.broken: OSError | None = None

    def open(self) -> Arrival:
        """Open once; later it is the same paper."""
        is_fresh, self.is_fresh = self.is_fresh, False
        return Arrival(is_fresh=is_fresh)

    def displaced(self) -> str | None:
        """Stay."""
        return None

    def is_full(self, octets: int) -> bool:
        """Never ask for a new file."""
        return octets < 0

    def write(self, octets: memoryview) -> int:
        """Take what there is room for."""
        if self.broken is not None:
            raise self.broken
        if self.room is None:
            self.octets += bytes(octets)
            return len(octets)
        if self.room == 0:
            raise OSError(errno.ENOSPC, "full")
        taken = bytes(octets[: self.room])
        self.octets += taken
        self.room -= len(taken)
        return len(taken)

    def settle(self) -> None:
        """Count."""
        self.settles += 1

    def aside(self, sequence: int, moment: str) -> str | None:  # noqa: ARG002  # the port's
        """Have no files."""
        return None

    def turn(self, name: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    @property
    def lines(self) -> list[bytes]:
        """The lines, without their newlines."""
        return self.octets.splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records."""
        return [orjson.loads(line) for line in self.lines]

    def kinds(self) -> list[str]:
        """Return each record's kind, and a request's outcome instead."""
        return [record.get("outcome") or record["kind"] for record in self.records]


class InlineWorker:
    """Does the job at once and tells in the loop's next turn."""

    def submit(self, job: Job, done: Job) -> None:
        """Do it."""
        job()
        asyncio.get_running_loop().call_soon(done)

    def stop(self) -> None:
        """Do nothing."""


class SlowWorker:
    """Takes ``seconds`` of the loop's time for each job; ``None`` is for ever."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.jobs = 0
        self._held: list[tuple[Job, Job]] = []

    def submit(self, job: Job, done: Job) -> None:
        """Do it later."""
        self.jobs += 1
        if self.seconds is None:
            self._held.append((job, done))
            return
        asyncio.get_running_loop().call_later(self.seconds, _both, job, done)

    def let_go(self, seconds: float = 0.0) -> None:
        """Do what was held, and from now on take ``seconds``."""
        self.seconds = seconds
        held, self._held = self._held, []
        for job, done in held:
            _both(job, done)

    def stop(self) -> None:
        """Do nothing."""


def _both(job: Job, done: Job) -> None:
    job()
    done()


@dataclass(eq=False)
class Bench:
    """A sink with everything around it in reach of a test."""

    sink: Sink
    paper: Paper
    worker: Worker
    writer: Writer


class Scripted:
    """A writer that reports what it was told to, and remembers its orders."""

    def __init__(self, *reports: Report) -> None:
        self.alive_at = 0.0
        self.reports = list(reports)
        self.orders: list[list[Order]] = []

    def inscribe(self, orders: Sequence[Order]) -> Report:
        """Report the next."""
        self.orders.append(list(orders))
        return self.reports.pop(0)

    def close(self) -> None:
        """Do nothing."""


def bench(
    name: str,
    around: Surroundings,
    observer: Recorder,
    *,
    worker: Worker | None = None,
    queue: int = 100,
) -> Bench:
    """Return a sink on paper with a deadline of 50 ms."""
    paper = Paper()
    hand_worker = InlineWorker() if worker is None else worker
    writer: Writer = Scribe(paper, around)
    rules = SinkRules(name=name, deadline=0.05, queue=queue)
    sink = Sink(rules, Hand(writer=writer, worker=hand_worker), around, observer)
    return Bench(sink, paper, hand_worker, writer)


@dataclass(eq=False)
class Desk:
    """A started journal over sinks on paper."""

    journal: Journal
    benches: list[Bench]
    observer: Recorder
    around: Surroundings

    @property
    def papers(self) -> list[Paper]:
        """What was written, sink by sink."""
        return [b.paper for b in self.benches]

    def entry(self) -> Entry:
        """Return an entry that is about to be a release."""
        return about_to_release(self.journal.open(route="/v1/provider-tokens", method="POST"))


async def desk(
    *workers: Worker,
    accept: Accept = "any",
    clock: Clock | None = None,
    queue: int = 100,
    flooding: Callable[[], Sequence[Aggregate]] = tuple,
) -> Desk:
    """Return a journal with one sink for each of ``workers``, named a, b, …, and start it."""
    around = surroundings(clock or virtual_clock(), flooding=flooding)
    observer = Recorder()
    benches = [
        bench(name, around, observer, worker=worker, queue=queue)
        for name, worker in zip("abcdef", workers or (InlineWorker(),), strict=False)
    ]
    sinks = [b.sink for b in benches]
    journal = Journal(sinks, around, observer=observer, accept=accept)
    await journal.start()
    return Desk(journal, benches, observer, around)


def about_to_release(entry: Entry) -> Entry:
    """Fill ``entry`` as the broker does before a release."""
    identity = Identity(via="cluster", subject="crm/sync-worker")
    entry.caller = Caller(name=CallerName("crm-sync"), identity=identity, namespace="crm", pod="p")
    entry.peer = "10.0.0.7"
    entry.site, entry.provider = SiteName("shop"), ProviderName("facebook")
    entry.uid = Uid("sentinel-uid")
    entry.released = (Field.AUTH_TOKEN,)
    entry.names_released = ("access_token",)
    entry.tokens = ProviderTokens(
        {"access_token": Secret("sentinel-token"), "expires": 60.0}, entry.released, (), ()
    )
    entry.decision, entry.rule = "allow", "crm-sync[0]"
    entry.outcome, entry.status = "released", 200
    return entry
