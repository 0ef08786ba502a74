"""Open-loop load: so many requests a second, whatever becomes of them, and how long each took.

Time counts from the moment at which a request was due, so that a server that stalls is not spared
the requests that it kept waiting.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import cast

import uvloop

from tests.benchmark.load import context, numbered

GRACE = 10.0
"""Seconds that the last answers have."""


class Connection(asyncio.Protocol):
    """One request at a time; goes back to ``idle`` when it is answered."""

    def __init__(self, idle: list["Connection"], latencies: list[float], failed: list[int]) -> None:
        self._idle = idle
        self._latencies = latencies
        self._failed = failed
        self._due: float | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type

    def ask(self, request: bytes, due: float) -> None:
        """Send ``request``, which was due at a moment of the loop's clock."""
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Note how long it took."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._due is None:
            return
        head = self._buffer[:end].lower()
        length = int(head[head.find(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        self._latencies.append(time.monotonic() - self._due)
        self._failed[0] += b" 200 " not in head[:16]
        self._buffer, self._due = b"", None
        self._idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Count what was under way."""
        del error
        self._failed[0] += self._due is not None


async def run(given: argparse.Namespace) -> dict[str, float]:
    """Return latencies in milliseconds, and what was answered."""
    loop = asyncio.get_running_loop()
    requests = [text.encode() for text in json.loads(given.requests.read_bytes())]
    tls = context(given.ca_file, None)
    idle: list[Connection] = []
    latencies: list[float] = []
    failed = [0]

    async def connection() -> Connection:
        name = "localhost" if tls else None
        _, made = await loop.create_connection(
            lambda: Connection(idle, latencies, failed),
            "127.0.0.1",
            given.port,
            ssl=tls,
            server_hostname=name,
        )
        return made

    async def send(number: int, due: float) -> None:
        peer = idle.pop() if idle else await connection()
        peer.ask(numbered(requests, number), due)

    idle += [await connection() for _ in range(given.connections)]
    count, began, tasks = int(given.rate * given.seconds), time.monotonic() + 0.05, set()
    for number in range(count):
        due = began + number / given.rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        tasks.add(task := loop.create_task(send(number, due)))
        task.add_done_callback(tasks.discard)
    until = time.monotonic() + GRACE
    while len(latencies) + failed[0] < count and time.monotonic() < until:  # noqa: ASYNC110  # ends
        await asyncio.sleep(0.02)
    kept = sorted(latencies[len(latencies) // 10 :])  # the first tenth warms up
    ended = time.monotonic() - began
    return {
        "due": count,
        "answered": len(latencies),
        "failed": failed[0],
        "achieved": len(latencies) / ended,
        "p50_ms": kept[len(kept) // 2] * 1000,
        "p99_ms": kept[int(len(kept) * 0.99)] * 1000,
    }


def main() -> None:
    """Load one server, and print what came of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--ca-file")
    print(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
