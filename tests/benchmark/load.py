"""Closed-loop load over plain HTTP/1.1: so many connections, each asking again when answered."""

import argparse
import asyncio
import json
import time
from functools import partial
from pathlib import Path
from typing import cast


class Connection(asyncio.Protocol):
    """Sends one request after the other and counts what comes back."""

    def __init__(self, request: bytes, until: float, done: asyncio.Future[None]) -> None:
        self._request = request
        self._until = until
        self._done = done
        self._buffer = b""
        self.answered = self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Send the next when one is answered."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = int(head[head.find(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        self.answered += 1
        self.failed += b" 200 " not in head[:16]
        self._buffer = b""
        if time.monotonic() < self._until:
            self._transport.write(self._request)
        elif not self._done.done():
            self._done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """End; a connection that is cut early counts as a failure."""
        if not self._done.done():
            self.failed += 1
            self._done.set_result(None)


USER = b"user-000000"
"""In a request: replaced so that each connection asks for a user of its own."""


def _same(peer: Connection) -> Connection:
    return peer


async def run(port: int, request: bytes, connections: int, seconds: float) -> dict[str, int]:
    """Return how many requests were answered, and how many of them not with 200."""
    loop = asyncio.get_running_loop()
    until = time.monotonic() + seconds
    futures = [loop.create_future() for _ in range(connections)]
    peers = []
    for number, future in enumerate(futures):
        peer = Connection(request.replace(USER, f"user-{number:06}".encode()), until, future)
        await loop.create_connection(partial(_same, peer), "127.0.0.1", port)
        peers.append(peer)
    await asyncio.gather(*futures)
    return {
        "answered": sum(peer.answered for peer in peers),
        "failed": sum(peer.failed for peer in peers),
    }


if __name__ == "__main__":
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("request", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    print(
        json.dumps(
            uvloop.run(
                run(given.port, given.request.read_bytes(), given.connections, given.seconds)
            )
        )
    )
