"""Open-loop load: so many requests a second, whatever becomes of them, and how long each took.

Time counts from the moment at which a request was due, so that a server that stalls is not spared
the requests that it kept waiting. Only 200 is an answer: what else comes back, or nothing, is told
apart and is in no latency.
"""

import argparse
import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from tests.benchmark.load import context, numbered, percentile, status_of
from tests.benchmark.meter import Meter

WARMS: Final = 0.1
"""The first part of the requests is not in the percentiles."""


@dataclass(slots=True)
class Tally:
    """What came of the requests; each completes once, answered or failed."""

    counts_from: float = 0.0
    """When the first request was due that is in the percentiles."""
    answered: int = 0
    failed: int = 0
    ended: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def completed(self) -> int:
        """How many are no longer waited for."""
        return self.answered + self.failed

    def note(self, status: int | None, due: float) -> None:
        """Note what became of a request; without a status it is lost."""
        self.ended = time.monotonic()
        if status != 200:
            self.failed += 1
            return
        self.answered += 1
        if due >= self.counts_from:
            self.latencies.append(self.ended - due)


class Connection(asyncio.Protocol):
    """One request at a time; goes back to ``idle`` when it is answered."""

    def __init__(self, idle: list["Connection"], tally: Tally) -> None:
        self._idle = idle
        self._tally = tally
        self._due: float | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type

    def ask(self, request: bytes, due: float) -> None:
        """Send ``request``, which was due at a moment of the loop's clock."""
        self._due = due
        self._transport.write(request)

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Note how long it took."""
        self._buffer += data
        if self._due is not None and (status := status_of(self._buffer)) is not None:
            self._tally.note(status, self._due)
            self._buffer, self._due = b"", None
            self._idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Count what was under way; ask no more on it."""
        del error
        if self._due is not None:
            self._tally.note(None, self._due)
            self._due = None
        if self in self._idle:
            self._idle.remove(self)


async def run(given: argparse.Namespace, meter: Meter) -> dict[str, Any]:
    """Return latencies in milliseconds, what became of the requests, and what the server used."""
    loop = asyncio.get_running_loop()
    requests = [text.encode() for text in json.loads(given.requests.read_bytes())]
    tls = context(given.ca_file, None)
    idle: list[Connection] = []
    everyone: list[Connection] = []
    tally = Tally()

    async def connection() -> Connection:
        name = "localhost" if tls else None
        _, made = await loop.create_connection(
            lambda: Connection(idle, tally), "127.0.0.1", given.port, ssl=tls, server_hostname=name
        )
        everyone.append(made)
        return made

    async def send(number: int, due: float) -> None:
        try:
            peer = idle.pop() if idle else await connection()
        except OSError:
            tally.note(None, due)
        else:
            peer.ask(numbered(requests, number), due)

    idle += [await connection() for _ in range(given.connections)]
    before = meter.read()
    count, began, tasks = int(given.rate * given.seconds), time.monotonic() + 0.05, set()
    tally.counts_from = began + WARMS * given.seconds
    for number in range(count):
        due = began + number / given.rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        tasks.add(task := loop.create_task(send(number, due)))
        task.add_done_callback(tasks.discard)
    until = time.monotonic() + given.grace
    while tally.completed < count and time.monotonic() < until:  # noqa: ASYNC110  # it ends
        await asyncio.sleep(0.02)
    found = {
        "due": count,
        "answered": tally.answered,
        "failed": tally.failed,
        "unanswered": count - tally.completed,
        "achieved": round(tally.answered / max(tally.ended - began, given.seconds), 1),
        "p50_ms": percentile(tally.latencies, 0.5),
        "p99_ms": percentile(tally.latencies, 0.99),
        **meter.read().since(before),
    }
    for peer in everyone:
        peer.close()
    return found


def main() -> None:
    """Load one server, and print what came of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--server", type=int, help="id of the process whose CPU counts")
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--grace", type=float, default=10, help="seconds of the last answers")
    parser.add_argument("--ca-file")
    given = parser.parse_args()
    print(json.dumps(uvloop.run(run(given, Meter(server=given.server, run=os.getppid())))))


if __name__ == "__main__":
    main()
