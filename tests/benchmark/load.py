"""Closed-loop load over HTTP/1.1: so many connections, each asking again when it is answered."""

import argparse
import asyncio
import json
import ssl
import time
from functools import partial
from pathlib import Path
from typing import Final, cast

USER: Final = b"user-000000"
"""In a request: replaced so that each connection asks for a user of its own."""


class Connection(asyncio.Protocol):
    """Sends one request after the other and counts what comes back.

    It ends at ``until`` or, where there is one, when the shared ``budget`` of requests is spent.
    """

    def __init__(
        self, request: bytes, until: float, budget: list[int], done: asyncio.Future[None]
    ) -> None:
        self._request = request
        self._until = until
        self._budget = budget
        self._done = done
        self._buffer = b""
        self.answered = self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type

    def begin(self) -> None:
        """Send the first; called when every connection is there."""
        self._next()

    def data_received(self, data: bytes) -> None:
        """Send the next when one is answered."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        if (at := head.find(b"content-length:")) >= 0:
            length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self._buffer) < end + 4 + length:
                return
        elif not self._buffer.endswith(b"0\r\n\r\n"):  # chunked
            return
        self.answered += 1
        self.failed += b" 200 " not in head[:16]
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        """End; a connection that is cut early counts as a failure."""
        del error
        if not self._done.done():
            self.failed += 1
            self._done.set_result(None)

    def _next(self) -> None:
        if time.monotonic() < self._until and self._budget[0] > 0:
            self._budget[0] -= 1
            self._transport.write(self._request)
        elif not self._done.done():
            self._done.set_result(None)


def context(ca_file: str | None, certificate: str | None) -> ssl.SSLContext | None:
    """Return how to speak TLS; ``None`` for plain HTTP."""
    if ca_file is None:
        return None
    made = ssl.create_default_context(cafile=ca_file)
    if certificate is not None:
        made.load_cert_chain(certificate)
    return made


def numbered(requests: list[bytes], number: int) -> bytes:
    """Return the request of one connection: its caller, and a user of its own."""
    return requests[number % len(requests)].replace(USER, f"user-{number:06}".encode())


def _same(peer: Connection) -> Connection:
    return peer


async def run(
    port: int,
    requests: list[bytes],
    *,
    connections: int,
    seconds: float,
    most: int,
    tls: ssl.SSLContext | None,
) -> dict[str, float]:
    """Return how many requests were answered, how many of them not with 200, and seconds."""
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(connections)]
    budget, peers = [most], []
    until = time.monotonic() + seconds
    for number, future in enumerate(futures):
        peer = Connection(numbered(requests, number), until, budget, future)
        name = "localhost" if tls else None
        await loop.create_connection(
            partial(_same, peer), "127.0.0.1", port, ssl=tls, server_hostname=name
        )
        peers.append(peer)
    began = time.monotonic()
    for peer in peers:
        peer.begin()
    await asyncio.gather(*futures)
    return {
        "answered": sum(peer.answered for peer in peers),
        "failed": sum(peer.failed for peer in peers),
        "seconds": time.monotonic() - began,
    }


def main() -> None:
    """Load one server, and print what came of it as JSON."""
    import uvloop  # noqa: PLC0415  # only the command needs it

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--most", type=int, default=10**9)
    parser.add_argument("--ca-file")
    parser.add_argument("--certificate")
    given = parser.parse_args()
    load = run(
        given.port,
        [text.encode() for text in json.loads(given.requests.read_bytes())],
        connections=given.connections,
        seconds=given.seconds,
        most=given.most,
        tls=context(given.ca_file, given.certificate),
    )
    print(json.dumps(uvloop.run(load)))


if __name__ == "__main__":
    main()
