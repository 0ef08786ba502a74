"""A listener on loopback, what was refused there, and raw clients of it."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.listener import Address, Listener
from service.live import Live
from service.reception import Refusal, Terms, TurnAway

PATIENCE = 10.0
"""Seconds after which a test that waits for an event has failed."""

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

Asgi = Callable[..., Awaitable[None]]

_UNSET: Any = [None] * 11  # whatever its arguments are, it remembers the same
KNOWN = frozenset(vars(RequestResponseCycle(*_UNSET)))
"""What uvicorn's cycle knows of its request and answer, by name."""


def remembered(cycle: RequestResponseCycle) -> dict[str, Any]:
    """Return what uvicorn's cycle, or one that stands for it, has found out so far.

    Raises ``AttributeError`` where something is missing that uvicorn's knows.
    """
    known = {name: getattr(cycle, name) for name in KNOWN}
    return {name: value for name, value in known.items() if isinstance(value, bool | int | None)}


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    """Answer with ``body``."""
    length = str(len(body)).encode()
    headers = [(b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the method, the path and the body."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    await answer(send, f"{scope['method']} {scope['path']} ".encode() + body)


class Held:
    """An application whose requests wait until they are let go."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()
        self.paths: list[str] = []
        self.cancelled = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        self.paths.append(scope["path"])
        self.arrived.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        await echo(scope, receive, send)


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes = GET) -> bytes:
        """Send a request and return the answer's body."""
        self.writer.write(request)
        return (await self.answer())[1]

    async def answer(self) -> tuple[list[bytes], bytes]:
        """Return the lines of the next answer's head, in lower case, and its body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        [length] = [line for line in head if line.startswith(b"content-length:")]
        return head, await self.reader.readexactly(int(length.split(b":")[1]))

    async def rest(self) -> bytes:
        """Return what comes until the connection is closed or reset."""
        received = b""
        with suppress(ConnectionError, ssl.SSLError):
            while data := await self.reader.read(4096):
                received += data
        return received


@dataclass
class Door:
    """An open listener."""

    listener: Listener
    address: Address
    refusals: "asyncio.Queue[Refusal]" = field(default_factory=asyncio.Queue)

    @asynccontextmanager
    async def client(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
        """Connect."""
        host, port = self.address.host, self.address.port
        name = "localhost" if context else None
        reader, writer = await asyncio.open_connection(
            host, port, ssl=context, server_hostname=name
        )
        try:
            yield Client(reader, writer)
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def refused(self) -> tuple[str, str]:
        """Wait for the next refusal and return its kind and reason."""
        refusal = await self.refusals.get()
        return refusal.kind, refusal.reason


@asynccontextmanager
async def listening(
    app: Asgi = echo,
    *,
    tls: Live[ssl.SSLContext] | None = None,
    wall: Callable[[], float] = time.time,
    turn_away: TurnAway | None = None,
    **terms: Any,
) -> AsyncIterator[Door]:
    """Open a listener on a free port; everything in the block must happen within ``PATIENCE``."""
    refusals: asyncio.Queue[Refusal] = asyncio.Queue()
    listener = Listener(
        app,
        name="api",
        host="127.0.0.1",
        port=0,
        terms=Terms(**terms),
        tls=tls,
        observe=refusals.put_nowait,
        wall=wall,
        turn_away=turn_away,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield Door(listener, await listener.open(), refusals)
    finally:
        await listener.cut()
