"""A way to Gigya that can be broken at every stage, over real sockets on loopback."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

NO_LINGER: Final = struct.pack("ii", 1, 0)
TICK: Final = 0.04
"""Seconds between two octets of a peer that drips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One connection that came, and where the real Gigya is."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gigya: int

    async def request(self) -> bytes:
        """Return the whole request."""
        return await _message(self.reader)

    async def answer(self, request: bytes) -> bytes:
        """Return what Gigya answers to ``request``."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gigya)
        try:
            writer.write(request)
            return await _message(reader)
        finally:
            writer.transport.abort()

    async def send(self, octets: bytes) -> None:
        """Send ``octets`` and see them off."""
        self.writer.write(octets)
        await self.writer.drain()

    async def drip(self, octets: bytes) -> None:
        """Send ``octets`` one at a time for as long as the peer stays."""
        for octet in octets:
            await self.send(bytes([octet]))
            await asyncio.sleep(TICK)

    async def hang(self) -> None:
        """Say nothing until the peer goes."""
        while await self.reader.read(65_536):
            continue

    def reset(self) -> None:
        """Cut the connection with a reset."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.writer.transport.abort()

    async def relay(self) -> None:
        """Be no more than a piece of wire: how one end leaves, the other is left."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gigya)
        ways = [
            asyncio.create_task(_copy(self.reader, writer)),
            asyncio.create_task(_copy(reader, self.writer)),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if any(way.exception() for way in done):
                self.reset()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.transport.abort()


Act = Callable[[Visit], Awaitable[None]]


async def relay(visit: Visit) -> None:
    """Break nothing."""
    await visit.relay()


async def reset_at_once(visit: Visit) -> None:
    """Reset before a word was said."""
    visit.reset()


async def close_at_once(_: Visit) -> None:
    """Close before a word was said."""


async def say_nothing(visit: Visit) -> None:
    """Take the connection and whatever comes, and never answer."""
    await visit.hang()


async def reset_at_first_word(visit: Visit) -> None:
    """Reset when the first octets have come: of a handshake, or of a request."""
    await visit.reader.read(1)
    visit.reset()


async def close_after_request(visit: Visit) -> None:
    """Close when the request has come whole."""
    await visit.request()


async def reset_after_request(visit: Visit) -> None:
    """Reset when the request has come whole."""
    await visit.request()
    visit.reset()


async def reset_after_answer_begins(visit: Visit) -> None:
    """Reset in the middle of the answer's head."""
    answer = await visit.answer(await visit.request())
    await visit.send(answer[:30])
    visit.reset()


async def drip_all(visit: Visit) -> None:
    """Answer an octet at a time, from the status line on."""
    await visit.drip(await visit.answer(await visit.request()))


async def drip_body(visit: Visit) -> None:
    """Answer the head at once, the body an octet at a time."""
    answer = await visit.answer(await visit.request())
    head, end, body = answer.partition(b"\r\n\r\n")
    await visit.send(head + end)
    await visit.drip(body)


async def stall_in_body(visit: Visit) -> None:
    """Answer all but the last octet, and stay."""
    answer = await visit.answer(await visit.request())
    await visit.send(answer[:-1])
    await visit.hang()


async def close_in_body(visit: Visit) -> None:
    """Answer all but the last octet, and close."""
    answer = await visit.answer(await visit.request())
    await visit.send(answer[:-1])


async def length_too_short(visit: Visit) -> None:
    """Announce less than is sent."""
    await visit.send(_with_length(await visit.answer(await visit.request()), by=-40))


async def length_too_long(visit: Visit) -> None:
    """Announce more than is sent, and close."""
    await visit.send(_with_length(await visit.answer(await visit.request()), by=40))


def script(octets: bytes) -> Act:
    """Answer any request with ``octets``, and close."""

    async def act(visit: Visit) -> None:
        await visit.request()
        await visit.send(octets)

    return act


def greet(octets: bytes) -> Act:
    """Say ``octets`` before anybody asks, and close."""

    async def act(visit: Visit) -> None:
        await visit.send(octets)

    return act


def gateway(status: bytes) -> Act:
    """Be an HTTP proxy that answers CONNECT with ``status``; 200 opens the tunnel."""

    async def act(visit: Visit) -> None:
        head = await visit.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"CONNECT ")
        await visit.send(b"HTTP/1.1 " + status + b"\r\n\r\n")
        if status.startswith(b"200"):
            await visit.relay()

    return act


class FailureProxy:
    """Does ``act`` to each connection; ``visits`` counts them."""

    def __init__(self, gigya: int, act: Act = relay) -> None:
        self.act = act
        self.visits = 0
        self.port = 0
        self._gigya = gigya
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["FailureProxy"]:
        """Listen for as long as the block lasts."""
        server = await asyncio.start_server(self._welcome, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.act(Visit(reader=reader, writer=writer, gigya=self._gigya))
        finally:
            writer.close()


@asynccontextmanager
async def refused_port() -> AsyncIterator[int]:
    """Give a port at which nobody listens, nor will."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@asynccontextmanager
async def full_port() -> AsyncIterator[int]:
    """Give a port whose queue is full: whoever connects hears nothing, as behind a firewall."""
    waiting: list[socket.socket] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        try:
            for _ in range(4):
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)  # noqa: FBT003  # the standard library's
                waiting[-1].connect_ex(listener.getsockname())
            yield listener.getsockname()[1]
        finally:
            for each in waiting:
                each.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
    return head + body


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65_536):
        writer.write(octets)
        await writer.drain()


def _with_length(answer: bytes, *, by: int) -> bytes:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = b"content-length: " + str(len(body)).encode()
    assert length in head.lower()
    at = head.lower().index(length)
    changed = b"content-length: " + str(len(body) + by).encode()
    return head[:at] + changed + head[at + len(length) :] + end + body
