"""What is heard over one connection, from a peer that says each octet when it wants to."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from service.engine import Preamble, Transport, open_transport
from service.outbound import Answer, BrokenReply, Outbound, TooLarge, Unreachable
from service.wire import HELD
from tests.test_outbound import OK, STALE, soon

PAUSE = 0.02
"""Seconds after which what was written has been read, so that what follows is read by itself."""

RESET = socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
"""Has a socket that is closed say so by a reset (socket(7))."""

END = b""
"""In the place of a part: the peer closes."""


class Peer:
    """A raw server: to each request it says the next parts, with a pause between them."""

    def __init__(self, *says: list[bytes]) -> None:
        self.says = list(says)
        self.writers: list[asyncio.StreamWriter] = []
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()
        self.url = ""

    @property
    def connections(self) -> int:
        """How many were made."""
        return len(self.writers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; with nothing left to say, wait for the other end to go."""
        self.writers.append(writer)
        self.arrived.set()
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            for part in self.says.pop(0) if self.says else []:
                if part == END:
                    return
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(PAUSE)


Ask = Callable[[], Awaitable[Answer]]


@asynccontextmanager
async def asking(
    *says: list[bytes], cap: int = 1000, connect: float = 3.0, transport: Transport | None = None
) -> AsyncIterator[tuple[Peer, Ask]]:
    """Open a peer, and give what asks it."""
    peer = Peer(*says)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    outbound = Outbound(transport or open_transport(), cap=cap, connect=connect)

    async def ask() -> Answer:
        return await outbound.send("GET", peer.url, deadline=soon())

    async with server:
        try:
            yield peer, ask
        finally:
            await outbound.aclose()
            await asyncio.sleep(PAUSE)  # for the peer to notice


CHUNKED = b"HTTP/1.1 200 OK\r\ndate: now\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNKS = b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\n"
TRAILERS = b"date: never\r\nx: y\r\n"


class TestAnswers:
    @pytest.mark.parametrize(
        ("octets", "body"),
        [
            (OK, b"{}"),
            (CHUNKED + CHUNKS + b"\r\n", b"{}"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
            (b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n" + OK, b"{}"),
            (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}", b"{}"),
        ],
        ids=["length", "chunked", "no content", "empty", "interim", "HTTP/1.0"],
    )
    @pytest.mark.parametrize("is_dripped", [False, True], ids=["at once", "in pieces"])
    async def test_are_heard_however_they_come(
        self, octets: bytes, body: bytes, *, is_dripped: bool
    ) -> None:
        """In one piece or in many an answer is the same, and its connection is kept."""
        size = 7 if is_dripped else len(octets)
        says = [octets[at : at + size] for at in range(0, len(octets), size)]
        async with asking(says, [OK]) as (peer, ask):
            assert body == (await ask()).body
            assert b"{}" == (await ask()).body
        assert 1 == peer.connections

    async def test_may_end_with_the_connection(self) -> None:
        """A body without a length ends where the peer closes, and so does the connection."""
        says = [b"HTTP/1.1 200 OK\r\n\r\n{", b"}", END]
        async with asking(says) as (_, ask):
            assert b"{}" == (await ask()).body

    @pytest.mark.parametrize(
        "octets",
        [
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        ],
        ids=["close", "HTTP/1.0", "upgrade"],
    )
    async def test_may_be_the_last_of_their_connection(self, octets: bytes) -> None:
        """Where the peer says that it goes, the next request has a connection of its own."""
        async with asking([octets], [OK]) as (peer, ask):
            await ask()
            assert b"{}" == (await ask()).body
        assert 2 == peer.connections

    async def test_leave_no_request_behind(self) -> None:
        """Where the peer answers before it has taken all of a request, no other follows it."""
        connections, done = 0, asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await done.wait()
            writer.transport.abort()

        server, outbound = (
            await asyncio.start_server(serve, "127.0.0.1", 0),
            Outbound(open_transport()),
        )
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server:
            await outbound.send("POST", url, body=bytes(20_000_000), deadline=soon())
            assert b"{}" == (await outbound.send("GET", url, deadline=soon())).body
            await outbound.aclose()
            done.set()
        assert 2 == connections

    @pytest.mark.parametrize("says", [[CHUNKED + CHUNKS + TRAILERS + b"\r\n"], None])
    async def test_take_no_header_from_behind_the_body(self, says: list[bytes] | None) -> None:
        """A trailer is no header (RFC 9110 §6.5.1), whether it comes with the head or later."""
        says = says or [CHUNKED, CHUNKS + TRAILERS, b"\r\n"]
        async with asking(says) as (_, ask):
            answer = await ask()
        expected = {"date": "now", "transfer-encoding": "chunked"}
        assert (b"{}", expected) == (answer.body, answer.headers)

    async def test_wait_until_they_are_read(self) -> None:
        """Of a large body little more is held than was asked for, and all of it arrives."""
        size = 400 * HELD
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size
        transport = open_transport()
        async with asking([head, b"x" * size], transport=transport) as (peer, _):
            *_, body = await transport.ask(Preamble("GET", peer.url, ()), None, b"", 3.0)
            await asyncio.sleep(10 * PAUSE)
            written = peer.writers[0].transport
            assert isinstance(written, asyncio.WriteTransport)
            assert written.get_write_buffer_size() > size / 2
            assert isinstance(body, httpx.AsyncByteStream)
            assert size == sum([len(some) async for some in body])
            await body.aclose()


class TestBreaks:
    @pytest.mark.parametrize(
        "says",
        [
            [b"HTTP/1.1 200 OK\r\nx: " + b"y" * 8200],
            [b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n"],
            [b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\n{}"],
            [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}}"],
            [CHUNKED, b"zz\r\n"],
            [CHUNKED + CHUNKS, b"x: " + b"y" * 8200],
            [CHUNKED + CHUNKS, TRAILERS * 200],
            [b"HTTP/1.1 200 OK\r\nsec-websocket-key1: x\r\n\r\n"],
        ],
        ids=["long field", "fields", "NUL", "more", "bad chunk", "long trailer", "trailers", "odd"],
    )
    async def test_are_no_answers(self, says: list[bytes]) -> None:
        """What is no HTTP, or too much of it, ends the request and the connection at once."""
        async with asking(says) as (peer, ask):
            with pytest.raises(BrokenReply):
                await ask()
            await peer.left.wait()

    @pytest.mark.parametrize(
        "says",
        [[OK[:-1]], [OK[:-2]], [CHUNKED], [CHUNKED + CHUNKS], [b"HTTP/1.1 100 Continue\r\n\r\n"]],
        ids=["body", "head", "no chunk", "no last line", "interim"],
    )
    async def test_in_the_middle_are_no_answers(self, says: list[bytes]) -> None:
        """What ends before it should is trouble, and was sent."""
        async with asking([*says, END]) as (_, ask):
            with pytest.raises((BrokenReply, Unreachable)) as caught:
                await ask()
        assert caught.value.reason in {"broken-reply", "connection-lost"}
        assert caught.value.sent

    async def test_by_a_reset_are_the_connection_s(self) -> None:
        """A reset before an answer is a lost connection, and what it was lost over was sent."""
        async with asking() as (peer, ask):
            asked = asyncio.ensure_future(ask())
            await peer.arrived.wait()
            peer.writers[0].transport.abort()
            with pytest.raises(Unreachable) as caught:
                await asked
        assert ("connection-lost", True) == (caught.value.reason, caught.value.sent)

    async def test_by_a_reset_are_no_whole_body(self) -> None:
        """A body that may end with its connection does not end with a reset (RFC 9112 §8)."""
        async with asking([b"HTTP/1.1 200 OK\r\n\r\n{}"]) as (peer, ask):
            asked = asyncio.ensure_future(ask())
            await peer.arrived.wait()
            await asyncio.sleep(2 * PAUSE)
            transport = peer.writers[0].transport
            transport.get_extra_info("socket").setsockopt(*RESET)
            transport.abort()
            with pytest.raises((BrokenReply, Unreachable)) as caught:
                await asked
        assert caught.value.sent

    async def test_at_the_cap_end_the_connection(self) -> None:
        """Nobody reads on behind what was too large."""
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
        async with asking([head, b"x" * 500], cap=100) as (peer, ask):
            with pytest.raises(TooLarge):
                await ask()
            await peer.left.wait()


class TestSilence:
    @pytest.mark.parametrize("cut", [1, 20, len(STALE) - 1])
    async def test_is_broken_by_the_rest_of_a_second_answer(self, cut: int) -> None:
        """A second answer of which only the beginning came with the first is nobody's either."""
        async with asking([OK + STALE[:cut]], [OK]) as (peer, ask):
            first = await ask()
            peer.writers[0].write(STALE[cut:])
            await asyncio.sleep(2 * PAUSE)
            assert [b"{}", b"{}"] == [first.body, (await ask()).body]
        assert 2 == peer.connections

    @pytest.mark.parametrize(
        "behind",
        [b"H", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 100 Continue\r\n\r\n"],
        ids=["an octet", "half a head", "an interim answer"],
    )
    @pytest.mark.parametrize("answer", [OK, CHUNKED + CHUNKS + b"\r\n"], ids=["length", "chunked"])
    async def test_is_broken_by_whatever_follows_an_answer(
        self, answer: bytes, behind: bytes
    ) -> None:
        """What comes behind an answer costs the connection at once, not the next request."""
        async with asking([answer + behind], [OK]) as (peer, ask):
            bodies = [(await ask()).body, (await ask()).body]
        assert ([b"{}", b"{}"], 2) == (bodies, peer.connections)

    async def test_that_is_broken_ends_the_connection(self) -> None:
        """Who speaks unasked is hung up on, and not only when the connection is needed."""
        async with asking([OK]) as (peer, ask):
            await ask()
            peer.writers[0].write(b"x")
            await peer.left.wait()
        assert 1 == peer.connections
