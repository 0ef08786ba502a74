"""Closed-loop load over HTTP/1.1: so many connections, each asking again when it is answered."""

import argparse
import asyncio
import json
import os
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, repeat
from pathlib import Path
from typing import Any, Final, cast

from tests.benchmark.meter import Meter

USER: Final = b"user-000000"
"""In a request: replaced by the user whom it asks for."""
GRACE: Final = 30.0
"""Seconds that the last answers have."""
SETTLES: Final = 0.05
"""Seconds after which both ends have done with their handshakes."""


def status_of(buffer: bytes) -> int | None:
    """Return the status of the answer in ``buffer``; ``None`` while it is not all there."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = buffer[:end].lower()
    if (at := head.find(b"content-length:")) >= 0:
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(buffer) < end + 4 + length:
            return None
    elif not buffer.endswith(b"0\r\n\r\n"):  # chunked
        return None
    return int(head[9:12])


@dataclass(slots=True)
class Tally:
    """When all connections stop, and what came of their requests; only 200 is an answer."""

    budget: int
    until: float = 0.0
    failed: Counter[str] = field(default_factory=Counter)
    """By status; ``lost`` where there is none."""
    latencies: list[float] = field(default_factory=list)

    def goes_on(self) -> bool:
        """Whether one more request is to be sent; it is counted."""
        self.budget -= 1
        return self.budget >= 0 and time.monotonic() < self.until

    def note(self, status: int | None, seconds: float) -> None:
        """Note what became of a request; without a status it is lost."""
        if status == 200:
            self.latencies.append(seconds)
        else:
            self.failed[str(status or "lost")] += 1


class Connection(asyncio.Protocol):
    """Sends one request after the other and notes what comes back."""

    def __init__(self, requests: Iterator[bytes], tally: Tally) -> None:
        self._requests = requests
        self._tally = tally
        self._buffer = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type

    def data_received(self, data: bytes) -> None:
        """Send the next when one is answered."""
        self._buffer += data
        if (status := status_of(self._buffer)) is not None:
            self._buffer = b""
            self._tally.note(status, time.monotonic() - self._sent)
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        """End; a connection that is cut early counts as a failure."""
        del error
        if not self.done.done():
            self._tally.note(None, 0.0)
            self.done.set_result(None)

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()

    def ask(self) -> None:
        """Send the next request, if there is to be one."""
        if self._tally.goes_on():
            self._sent = time.monotonic()
            self._transport.write(next(self._requests))
        elif not self.done.done():
            self.done.set_result(None)


def context(ca_file: str | None, certificate: str | None) -> ssl.SSLContext | None:
    """Return how to speak TLS; ``None`` for plain HTTP."""
    if ca_file is None:
        return None
    made = ssl.create_default_context(cafile=ca_file)
    if certificate is not None:
        made.load_cert_chain(certificate)
    return made


def numbered(requests: list[bytes], number: int) -> bytes:
    """Return the request of that number: its caller, and a user of its own."""
    return requests[number % len(requests)].replace(USER, f"user-{number:06}".encode())


def users(first: int, many: int) -> Iterator[int]:
    """Yield numbers from ``first`` on, again from there after ``many``."""
    return (first + number % many for number in count())


def percentile(latencies: list[float], share: float) -> float | None:
    """Return that percentile in milliseconds; ``None`` where nothing was answered."""
    ordered = sorted(latencies)
    return round(ordered[int(len(ordered) * share)] * 1000, 3) if ordered else None


async def run(given: argparse.Namespace, meter: Meter) -> dict[str, Any]:
    """Return how many requests were answered and how fast, and what the server used for it."""
    loop = asyncio.get_running_loop()
    requests = [text.encode() for text in json.loads(given.requests.read_bytes())]
    tls, tally, peers = context(given.ca_file, given.certificate), Tally(given.most), []
    new = None if given.first_user is None else users(given.first_user, given.users)
    before = meter.read()
    for number in range(given.connections):
        own = repeat(numbered(requests, number))
        asks = own if new is None else (numbered(requests, each) for each in new)
        peer = Connection(asks, tally)
        name = "localhost" if tls else None
        await loop.create_connection(
            lambda peer=peer: peer,
            "127.0.0.1",
            given.port,
            ssl=tls,
            server_hostname=name,
        )
        peers.append(peer)
    await asyncio.sleep(SETTLES)
    begun = meter.read()
    tally.until = time.monotonic() + given.seconds
    for peer in peers:
        peer.ask()
    _, lost = await asyncio.wait([peer.done for peer in peers], timeout=given.seconds + GRACE)
    if lost:
        tally.failed["unanswered"] += len(lost)
    found = {
        "answered": len(tally.latencies),
        "failed": dict(tally.failed),
        "p50_ms": percentile(tally.latencies, 0.5),
        "p99_ms": percentile(tally.latencies, 0.99),
        "connecting_cpu_seconds": begun.server - before.server,
        **meter.read().since(begun),
    }
    for peer in peers:
        peer.close()
    return found


def main() -> None:
    """Load one server, and print what came of it as JSON."""
    import uvloop  # noqa: PLC0415  # only the command needs it

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--server", type=int, help="id of the process whose CPU counts")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--most", type=int, default=10**9)
    parser.add_argument("--first-user", type=int, help="a new user in each request, from this on")
    parser.add_argument("--users", type=int, default=10**6, help="how many, then these again")
    parser.add_argument("--ca-file")
    parser.add_argument("--certificate")
    given = parser.parse_args()
    meter = Meter(server=given.server, run=os.getppid())
    print(json.dumps(uvloop.run(run(given, meter))))


if __name__ == "__main__":
    main()
