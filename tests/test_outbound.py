import asyncio
import os
import ssl
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.deadline import Clock, Deadline
from service.engine import Fields, Heard, NoAuthority, Transport, open_transport, tls_context
from service.outbound import (
    BrokenReply,
    EncodedBody,
    Headers,
    Outbound,
    OutboundError,
    TimedOut,
    TooLarge,
    Unreachable,
)
from service.pool import SPOILED
from tests.pki import NOW, SERVER, Authority, Leaf
from tests.virtual_time import VIRTUAL, VirtualLoop, virtual_clock

SENTINEL = "s3nt1nel-of-a-secret"
URL = "https://socialize.us1.gigya.com/socialize.getSessionInfo"
CLOCK = Clock(wall=time.time, monotonic=time.monotonic)


def soon() -> Deadline:
    """Return a deadline that no test reaches unless something hangs."""
    return Deadline.after(30, CLOCK)


class Stream(httpx.AsyncByteStream):
    """A body in chunks that knows whether it was closed."""

    def __init__(self, *chunks: bytes, hangs: bool = False) -> None:
        self.chunks = chunks
        self.hangs = hangs
        self.taken = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            self.taken += 1
            yield chunk
        if self.hangs:
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        """Note it."""
        self.is_closed = True


class Peer(httpx.AsyncBaseTransport):
    """Answers each request with the same response, or raises, or never answers."""

    def __init__(self, outcome: httpx.Response | Exception | None = None) -> None:
        self.outcome = outcome if outcome is not None else httpx.Response(200, content=b"{}")
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        self.requests.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Mute(httpx.AsyncBaseTransport):
    """Never answers."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for ever."""
        await asyncio.Event().wait()
        return httpx.Response(200, request=request)


async def post(transport: Transport, **options: Any) -> Any:
    """Post a form that holds the sentinel."""
    return await Outbound(transport, **options).send(
        "POST",
        URL,
        headers={"authorization": f"Bearer {SENTINEL}"},
        body=f"secret={SENTINEL}".encode(),
        deadline=soon(),
    )


class TestSend:
    async def test_sends_what_it_is_given(self) -> None:
        """Method, address, headers and body arrive as they were given, and identity is asked."""
        peer = Peer()
        await post(peer)
        (request,) = peer.requests
        assert ("POST", URL) == (request.method, str(request.url))
        assert f"secret={SENTINEL}".encode() == request.read()
        assert {
            "accept-encoding": "identity",
            "user-agent": "gigya-credential-proxy",
            "authorization": f"Bearer {SENTINEL}",
            "host": "socialize.us1.gigya.com",
        } == dict(request.headers)

    @pytest.mark.parametrize("headers", [None, {}, {"authorization": "x"}])
    async def test_says_the_same_whatever_else_it_says(self, headers: Any) -> None:
        """Who we are and what the body is stands in each request, with further headers or not."""
        peer = Peer()
        for kind in ("a/b", None, "c/d"):
            await Outbound(peer).send(
                "POST", URL, headers=headers, content_type=kind, body=b"{}", deadline=soon()
            )
        found = [request.headers for request in peer.requests]
        assert ["a/b", None, "c/d"] == [each.get("content-type") for each in found]
        rest = {(each["host"], each["user-agent"], each.get("authorization")) for each in found}
        own = (headers or {}).get("authorization")
        assert {("socialize.us1.gigya.com", "gigya-credential-proxy", own)} == rest

    async def test_returns_the_whole_answer(self) -> None:
        """Status, headers in lower case (repeated ones joined) and body are handed back."""
        headers = [("Date", "Mon, 01 Jan 2029 00:00:00 GMT"), ("Via", "a"), ("VIA", "b")]
        stream = Stream(b"{", b"}")
        answer = await post(Peer(httpx.Response(418, headers=headers, stream=stream)))
        expected = {"date": "Mon, 01 Jan 2029 00:00:00 GMT", "via": "a, b"}
        assert (418, expected, b"{}") == (answer.status, answer.headers, answer.body)
        assert stream.is_closed

    async def test_shows_nothing_of_an_answer(self) -> None:
        """An answer's representation has its status only: a body can hold tokens."""
        answer = await post(Peer(httpx.Response(200, content=SENTINEL.encode())))
        assert "Answer(status=200)" == repr(answer)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_never_follows_a_redirect(self, status: int) -> None:
        """A redirect is an answer like any other, and no second request follows."""
        peer = Peer(httpx.Response(status, headers={"location": "https://elsewhere.example/"}))
        assert status == (await post(peer)).status
        assert 1 == len(peer.requests)

    @pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity", "x"])
    async def test_refuses_an_encoded_body(self, encoding: str) -> None:
        """What is compressed is not unpacked and not even read."""
        stream = Stream(b"bomb")
        peer = Peer(httpx.Response(200, headers={"Content-Encoding": encoding}, stream=stream))
        with pytest.raises(EncodedBody):
            await post(peer)
        assert (0, True) == (stream.taken, stream.is_closed)

    async def test_takes_identity_for_what_it_is(self) -> None:
        """A body that says it is not encoded is read."""
        peer = Peer(httpx.Response(200, headers={"Content-Encoding": "Identity"}, stream=Stream()))
        assert b"" == (await post(peer)).body

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.binary(max_size=40), max_size=8), st.integers(0, 120))
    def test_reads_up_to_the_cap(self, chunks: list[bytes], cap: int) -> None:
        """A body is handed back whole up to the cap, and refused beyond; either way closed."""
        stream = Stream(*chunks)
        peer = Peer(httpx.Response(200, stream=stream))
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            try:
                body = runner.run(post(peer, cap=cap)).body
            except TooLarge:
                body = None
        whole = b"".join(chunks)
        assert (whole if len(whole) <= cap else None) == body
        assert stream.is_closed

    async def test_stops_reading_at_the_cap(self) -> None:
        """Of an endless body no more is read than shows that it is too large."""
        stream = Stream(*[b"x" * 10] * 1000)
        with pytest.raises(TooLarge):
            await post(Peer(httpx.Response(200, stream=stream)), cap=25)
        assert 3 == stream.taken


ENCODING = b"content-encoding"
NAMES = st.sampled_from([b"Date", b"via", b"VIA", b"Content-Encoding", ENCODING])
VALUES = st.sampled_from([b"a", b"identity", b" Identity ", b"gzip", b"\xe9", b""])


class Whole:
    """An engine that is told each answer whole, as it comes from most peers."""

    def __init__(self, status: int, fields: Fields, body: bytes) -> None:
        encodings = [each.decode("latin-1") for name, each in fields if name.lower() == ENCODING]
        self.heard: Heard = (status, encodings, fields, body)

    async def ask(self, *_: Any) -> Heard:
        """Answer."""
        return self.heard

    async def aclose(self) -> None:
        """Do nothing."""


class TestWhole:
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(NAMES, VALUES), max_size=4), st.binary(max_size=9), st.integers(0, 9))
    def test_is_taken_like_any_other_answer(self, fields: Fields, body: bytes, cap: int) -> None:
        """What came whole is taken, or refused, as what came in parts over httpx."""

        async def outcome(transport: Transport) -> Any:
            try:
                return await post(transport, cap=cap)
            except OutboundError as error:
                return type(error)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            whole = runner.run(outcome(Whole(200, fields, body)))
            parts = httpx.Response(200, headers=fields, stream=Stream(body[:4], body[4:]))
            assert runner.run(outcome(Peer(parts))) == whole

    async def test_that_is_refused_holds_nothing_either(self) -> None:
        """A whole answer that is too large leaves no context behind."""
        with pytest.raises(TooLarge) as caught:
            await post(Whole(200, [], SENTINEL.encode()), cap=1)
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)


class TestHeaders:
    @given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    def test_are_those_of_httpx(self, fields: Fields) -> None:
        """Names are found in lower case, each once, with all of its values."""
        expected = httpx.Headers(list(fields), encoding="latin-1")
        headers = Headers(fields)
        assert dict(expected) == headers
        assert (len(set(expected)), None) == (len(headers), headers.get("x"))


class TestDeadline:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """Time is virtual."""
        return VIRTUAL

    async def test_ends_a_request_without_an_answer(self) -> None:
        """When the deadline passes the request ends, then and not later."""
        clock = virtual_clock()
        with pytest.raises(TimedOut) as caught:
            await Outbound(Mute()).send("GET", URL, deadline=Deadline.after(7, clock))
        assert (7.0, True) == (clock.monotonic(), caught.value.sent)

    async def test_ends_a_body_that_does_not_end(self) -> None:
        """The deadline is over the whole answer, and what was open is closed."""
        stream = Stream(b"{", hangs=True)
        clock = virtual_clock()
        outbound = Outbound(Peer(httpx.Response(200, stream=stream)))
        with pytest.raises(TimedOut):
            await outbound.send("GET", URL, deadline=Deadline.after(7, clock))
        assert (7.0, True) == (clock.monotonic(), stream.is_closed)

    async def test_sends_nothing_once_it_is_past(self) -> None:
        """With no time left nothing leaves."""
        peer = Peer()
        with pytest.raises(TimedOut) as caught:
            await Outbound(peer).send("GET", URL, deadline=Deadline.after(0, virtual_clock()))
        assert ([], False) == (peer.requests, caught.value.sent)

    @pytest.mark.parametrize(("left", "expected"), [(10.0, 3.0), (2.0, 2.0)])
    async def test_gives_the_connection_its_own(self, left: float, expected: float) -> None:
        """A connection may take what is configured, but never longer than is left."""
        peer = Peer()
        outbound = Outbound(peer, connect=3.0)
        await outbound.send("GET", URL, deadline=Deadline.after(left, virtual_clock()))
        timeout = peer.requests[0].extensions["timeout"]
        assert {"connect": expected, "pool": expected, "read": None, "write": None} == timeout

    async def test_a_cancelled_request_is_closed(self) -> None:
        """Who cancels a request leaves nothing open, and gets the cancellation."""
        stream = Stream(b"{", hangs=True)
        outbound = Outbound(Peer(httpx.Response(200, stream=stream)))
        deadline = Deadline.after(100, virtual_clock())
        task = asyncio.create_task(outbound.send("GET", URL, deadline=deadline))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stream.is_closed


KEY = aiohttp.client_reqrep.ConnectionKey(
    "h", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
)
REFUSED = OSError(111, SENTINEL)
ERRORS: list[tuple[Exception, type[OutboundError], str, bool]] = [
    (aiohttp.ClientConnectorDNSError(KEY, REFUSED), Unreachable, "name-not-found", False),
    (aiohttp.ClientConnectorError(KEY, REFUSED), Unreachable, "refused", False),
    (aiohttp.ClientProxyConnectionError(KEY, REFUSED), Unreachable, "proxy", False),
    (aiohttp.ClientConnectorSSLError(KEY, REFUSED), Unreachable, "tls", False),
    (aiohttp.ConnectionTimeoutError(SENTINEL), Unreachable, "connect-timeout", False),
    (aiohttp.ServerDisconnectedError(SENTINEL), Unreachable, "connection-lost", True),
    (aiohttp.ClientOSError(104, SENTINEL), Unreachable, "connection-lost", True),
    (aiohttp.InvalidURL(SENTINEL), Unreachable, "bad-url", False),
    (aiohttp.ClientPayloadError(SENTINEL), BrokenReply, "broken-reply", True),
    (aiohttp.SocketTimeoutError(SENTINEL), TimedOut, "timeout", True),
    (httpx.ConnectError(SENTINEL), Unreachable, "refused", False),
    (httpx.ConnectTimeout(SENTINEL), Unreachable, "connect-timeout", False),
    (httpx.PoolTimeout(SENTINEL), Unreachable, "connect-timeout", False),
    (httpx.ProxyError(SENTINEL), Unreachable, "proxy", False),
    (httpx.UnsupportedProtocol(SENTINEL), Unreachable, "bad-url", False),
    (httpx.ReadTimeout(SENTINEL), TimedOut, "timeout", True),
    (httpx.ReadError(SENTINEL), Unreachable, "connection-lost", True),
    (httpx.RemoteProtocolError(SENTINEL), BrokenReply, "broken-reply", True),
    (ssl.SSLError(1, SENTINEL), Unreachable, "tls", False),
    (ConnectionResetError(104, SENTINEL), Unreachable, "connection-lost", True),
    (RuntimeError(SENTINEL), Unreachable, "engine", True),
]


class TestTroubles:
    @pytest.mark.parametrize(
        ("error", "kind", "reason", "sent"), ERRORS, ids=[type(row[0]).__name__ for row in ERRORS]
    )
    async def test_have_a_name(
        self, error: Exception, kind: type[OutboundError], *, reason: str, sent: bool
    ) -> None:
        """Whatever a library raises becomes one of ours, which knows if the request was sent."""
        with pytest.raises(OutboundError) as caught:
            await post(Peer(error))
        trouble = caught.value
        assert (kind, reason, sent) == (type(trouble), trouble.reason, trouble.sent)

    @pytest.mark.parametrize("error", [row[0] for row in ERRORS], ids=lambda e: type(e).__name__)
    async def test_hold_nothing_that_was_sent(self, error: Exception) -> None:
        """No text, attribute, cause or context of an error leads back to the request."""
        with pytest.raises(OutboundError) as caught:
            await post(Peer(error))
        trouble = caught.value
        printed = "".join(traceback.format_exception(trouble))
        assert SENTINEL not in f"{printed}{trouble!r}{trouble.args}{vars(trouble)}"
        assert (None, None) == (trouble.__cause__, trouble.__context__)

    async def test_of_an_answer_hold_nothing_either(self) -> None:
        """An answer that is refused leaves no context behind."""
        peer = Peer(httpx.Response(200, content=SENTINEL.encode() * 10))
        with pytest.raises(TooLarge) as caught:
            await post(peer, cap=1)
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
STALE = b'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"a":1}'


class Server:
    """A raw server: each connection answers each request with the next script, then closes."""

    def __init__(self, *scripts: bytes, stays: bool = True, greets: bytes = b"") -> None:
        self.scripts = list(scripts)
        self.stays = stays
        self.greets = greets
        self.writers: list[asyncio.StreamWriter] = []
        self.seen: list[bytes] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/path"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.writers.append(writer)
        writer.write(self.greets)
        while await self._serve_one(reader, writer):
            pass
        writer.close()
        self.left.set()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        self.seen.append(head + await reader.readexactly(int(length or b"0")))
        self.arrived.set()
        if not self.scripts:
            return await _is_open(reader)
        writer.write(self.scripts.pop(0))
        await writer.drain()
        return self.stays


async def _is_open(reader: asyncio.StreamReader) -> bool:
    """Say nothing until the other end goes away."""
    return bool(await reader.read(1))


@asynccontextmanager
async def serving(
    *scripts: bytes, stays: bool = True, context: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Open a raw server on a free port of this machine."""
    server = Server(*scripts, stays=stays)
    opened = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    server.port = opened.sockets[0].getsockname()[1]
    async with opened:
        yield server


@asynccontextmanager
async def dialling(**options: Any) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Open an engine, and give what posts through it."""
    outbound = Outbound(open_transport(**options), cap=1000)

    async def send(url: str, method: str = "POST") -> Any:
        return await outbound.send(method, url, body=b"a=b", deadline=soon())

    try:
        yield send
    finally:
        await outbound.aclose()


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


class TestEngine:
    async def test_posts_over_a_real_connection(self) -> None:
        """What arrives is the request, with nothing added but its framing."""
        async with serving(OK) as server, dialling() as send:
            answer = await send(server.url)
        assert (200, b"{}") == (answer.status, answer.body)
        lines = server.seen[0].lower().split(b"\r\n")
        assert b"post /path http/1.1" == lines[0]
        assert {
            b"host: 127.0.0.1:%d" % server.port,
            b"accept-encoding: identity",
            b"user-agent: gigya-credential-proxy",
            b"content-length: 3",
        } == set(lines[1:-2])

    async def test_keeps_its_connection(self) -> None:
        """A second request goes over the connection of the first."""
        async with serving(OK, OK) as server, dialling() as send:
            await send(server.url)
            await send(server.url)
        assert (1, 2) == (server.connections, len(server.seen))

    async def test_keeps_no_cookies(self) -> None:
        """A cookie that is set is never sent back."""
        set_cookie = OK.replace(b"\r\n\r\n", b"\r\nset-cookie: a=b; path=/\r\n\r\n")
        async with serving(set_cookie, OK) as server, dialling() as send:
            await send(server.url)
            await send(server.url)
        assert b"cookie" not in server.seen[1].lower()

    async def test_waits_for_the_final_answer(self) -> None:
        """Interim answers (RFC 9110 §15.2) are passed over; the final one is the answer."""
        interim = b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        async with serving(interim + OK, OK) as server, dialling() as send:
            assert (200, b"{}") == ((answer := await send(server.url)).status, answer.body)
            assert 200 == (await send(server.url)).status
        assert 1 == server.connections

    async def test_takes_no_second_answer(self) -> None:
        """Of two answers to one request the second is nobody's: not the next request's either."""
        async with serving(OK + STALE, OK) as server, dialling() as send:
            bodies = [(await send(server.url)).body for _ in range(2)]
        assert ([b"{}"] * 2, 2) == (bodies, server.connections)

    async def test_takes_no_answer_that_came_before_it_asked(self) -> None:
        """What comes over an idle connection ends that connection, not in somebody's hands."""
        async with serving(OK, OK) as server, dialling() as send:
            await send(server.url)
            server.writers[0].write(STALE)
            await server.writers[0].drain()
            await asyncio.sleep(0.05)  # an octet on its way tells nobody that it has come
            answer = await send(server.url)
        assert (b"{}", 2) == (answer.body, server.connections)

    async def test_gives_up_who_speaks_first(self) -> None:
        """A peer that greets each connection is no peer of HTTP's; it is not dialled for ever."""
        server = Server(OK, greets=b"220 smtp.example ESMTP\r\n")
        opened = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.port = opened.sockets[0].getsockname()[1]
        async with opened, dialling() as send:
            with pytest.raises((BrokenReply, Unreachable)):  # as its greeting is late or early
                await send(server.url)
        assert 1 <= server.connections <= SPOILED

    async def test_dials_anew_where_all_that_were_kept_have_spoken(self) -> None:
        """Whoever says farewell over idle connections (RFC 9110 §15.5.9: 408) fails no request."""
        many = SPOILED + 1
        async with serving(*[OK] * (many + 1)) as server, dialling() as send:
            await asyncio.gather(*(send(server.url) for _ in range(many)))
            for writer in server.writers:
                writer.write(STALE)
            await asyncio.gather(*(writer.drain() for writer in server.writers))
            await asyncio.sleep(0.05)
            assert b"{}" == (await send(server.url)).body
        assert (many + 1, many + 1) == (server.connections, len(server.seen))

    @pytest.mark.parametrize("octets", ["\r\nx: y", "\r", "\n", "\n\r", "\r\n", "\0", "\r\n\r\n"])
    async def test_sends_no_broken_head(self, octets: str) -> None:
        """A header that holds a line break ends the request before anything is sent."""
        async with serving(OK) as server:
            outbound = Outbound(open_transport())
            said = f"{SENTINEL}{octets}"
            for options in ({"headers": {"authorization": said}}, {"content_type": said}):
                with pytest.raises(Unreachable) as caught:
                    await outbound.send("GET", server.url, **options, deadline=soon())
                assert ([], None) == (server.seen, caught.value.__context__)
            await outbound.aclose()

    async def test_says_further_headers_behind_its_own(self) -> None:
        """Whatever a request says besides stands in it alone, between its own and the length."""
        async with serving(OK, OK, OK) as server:
            outbound = Outbound(open_transport())
            for headers in ({"a": "1", "b": "2"}, None, {"A": "3"}):
                await outbound.send("POST", server.url, headers=headers, deadline=soon())
            await outbound.aclose()
        told = [each.split(b"\r\n")[4:-3] for each in server.seen]
        assert [[b"a: 1", b"b: 2"], [], [b"A: 3"]] == told

    @pytest.mark.parametrize(
        ("method", "body", "length"),
        [("POST", b"", b"0"), ("POST", None, b"0"), ("GET", b"", None), ("GET", b"x", b"1")],
    )
    async def test_tells_the_length_of_a_body(
        self, method: str, body: bytes | None, length: bytes | None
    ) -> None:
        """A length stands once wherever there is a body, or a method that means one."""
        async with serving(OK) as server:
            outbound = Outbound(open_transport())
            await outbound.send(method, server.url, body=body, deadline=soon())
            await outbound.aclose()
        lines = server.seen[0].split(b"\r\n")
        told = [line for line in lines if line.startswith(b"content-length")]
        assert ([] if length is None else [b"content-length: " + length]) == told

    async def test_does_not_follow_a_redirect(self) -> None:
        """A redirect ends here, even to the same host."""
        redirect = b"HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n"
        async with serving(redirect, OK) as server, dialling() as send:
            assert 302 == (await send(server.url)).status
        assert 1 == len(server.seen)

    async def test_refuses_what_is_encoded(self) -> None:
        """A compressed body is refused over a real connection, too."""
        encoded = OK.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
        async with serving(encoded) as server, dialling() as send:
            with pytest.raises(EncodedBody):
                await send(server.url)

    async def test_does_not_send_a_post_again(self) -> None:
        """A kept connection that breaks is trouble, not a reason to send twice by itself."""
        async with serving(OK, b"") as server, dialling() as send:
            await send(server.url)
            server.stays = False
            with pytest.raises(Unreachable) as caught:
                await send(server.url)
        assert ("connection-lost", True) == (caught.value.reason, caught.value.sent)
        assert 2 == len(server.seen)

    @pytest.mark.parametrize(
        ("script", "kind", "reason"),
        [
            (b"", Unreachable, "connection-lost"),
            (b"220 smtp.example ESMTP\r\n\r\n", BrokenReply, "broken-reply"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", BrokenReply, "broken-reply"),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
                BrokenReply,
                "broken-reply",
            ),
            (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, BrokenReply, "broken-reply"),
            (b"HTTP/1.1 200 OK\r\n\r\n" + b"z" * 5000, TooLarge, "too-large"),
        ],
        ids=["closed", "not HTTP", "truncated", "bad chunk", "huge header", "huge body"],
    )
    async def test_names_what_breaks(
        self, script: bytes, kind: type[OutboundError], reason: str
    ) -> None:
        """What breaks on a real connection has its name."""
        async with serving(script, stays=False) as server, dialling() as send:
            with pytest.raises(kind) as caught:
                await send(server.url)
        assert reason == caught.value.reason
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)

    async def test_names_a_closed_port(self) -> None:
        """Nobody listening is a refusal, before anything was sent."""
        async with serving() as server:
            port_url = server.url
        async with dialling() as send:
            with pytest.raises(Unreachable) as caught:
                await send(port_url)
        assert ("refused", False) == (caught.value.reason, caught.value.sent)

    async def test_hangs_up_when_cancelled(self) -> None:
        """A cancelled request takes its connection with it."""
        async with serving() as server, dialling() as send:
            task = asyncio.ensure_future(send(server.url))
            await server.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.left.wait()

    async def test_takes_no_proxy_from_the_environment(self) -> None:
        """Only the proxy that is configured is used."""
        nowhere = "http://127.0.0.1:1"
        with environment(HTTP_PROXY=nowhere, http_proxy=nowhere, ALL_PROXY=nowhere):
            async with serving(OK) as server, dialling() as send:
                assert 200 == (await send(server.url)).status

    async def test_a_proxy_needs_no_password(self) -> None:
        """A proxy without a user is asked without one."""
        async with (
            serving(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n") as proxy,
            dialling(proxy_url=f"http://127.0.0.1:{proxy.port}") as send,
        ):
            with pytest.raises(Unreachable) as caught:
                await send(URL)
        assert "proxy" == caught.value.reason
        assert b"authorization" not in proxy.seen[0].lower()

    async def test_goes_through_the_proxy_it_is_given(self) -> None:
        """A request to an HTTPS address asks the proxy for a tunnel and sends it nothing else."""
        refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
        told = iter(("Basic b25l", "Basic dHdv"))
        async with serving(refusal, refusal) as proxy:
            proxy_url = f"http://127.0.0.1:{proxy.port}"
            way = {"proxy_url": proxy_url, "proxy_authorization": lambda: next(told)}
            async with dialling(**way) as send:
                for _ in range(2):
                    with pytest.raises(Unreachable) as caught:
                        await send(URL)
        assert ("proxy", False) == (caught.value.reason, caught.value.sent)
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)
        for asked, credentials in zip(proxy.seen, (b"b25l", b"dHdv"), strict=True):
            assert asked.startswith(b"CONNECT socialize.us1.gigya.com:443 HTTP/1.1\r\n")
            [line] = [x for x in asked.split(b"\r\n") if x.lower().startswith(b"proxy-auth")]
            assert line.endswith(b": Basic " + credentials)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Make a certificate authority."""
    return Authority("authority of a test")


def server_context(leaf: Leaf, directory: Path) -> ssl.SSLContext:
    """Return what a server with ``leaf`` uses."""
    file = directory / "server.pem"
    file.write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def trusting(authority: Authority) -> ssl.SSLContext:
    """Return a context that trusts ``authority`` alone."""
    return tls_context(authority.pem)


class TestTls:
    async def test_trusts_the_authority_it_is_given(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        """With the peer's CA file the connection is made, and its name is checked."""
        context = server_context(authority.issue(purpose=SERVER), tmp_path)
        async with (
            serving(OK, context=context) as server,
            dialling(context=trusting(authority)) as send,
        ):
            assert 200 == (await send(f"https://localhost:{server.port}/")).status

    @pytest.mark.parametrize(
        ("host", "end", "trusts"),
        [
            ("localhost", NOW.replace(year=NOW.year + 1), False),
            ("127.0.0.1", NOW.replace(year=NOW.year + 1), True),
            ("localhost", NOW, True),
        ],
        ids=["unknown authority", "another name", "expired"],
    )
    async def test_refuses_a_peer_that_proves_nothing(
        self, authority: Authority, tmp_path: Path, *, host: str, end: Any, trusts: bool
    ) -> None:
        """An unknown authority, another name or a past date end it before anything is sent."""
        context = server_context(authority.issue(purpose=SERVER, end=end), tmp_path)
        ours = trusting(authority) if trusts else tls_context()
        async with serving(context=context) as server, dialling(context=ours) as send:
            with pytest.raises(Unreachable) as caught:
                await send(f"https://{host}:{server.port}/")
        assert ("tls", False, []) == (caught.value.reason, caught.value.sent, server.seen)

    def test_speaks_nothing_older_than_1_2(self) -> None:
        """The context verifies peer and name, from TLS 1.2 on."""
        context = tls_context()
        expected = (ssl.TLSVersion.TLSv1_2, ssl.CERT_REQUIRED, True)
        found = (context.minimum_version, context.verify_mode, context.check_hostname)
        assert expected == found

    def test_writes_no_session_keys(self, tmp_path: Path) -> None:
        """SSLKEYLOGFILE in the environment does not undo TLS."""
        with environment(SSLKEYLOGFILE=str(tmp_path / "keys.log")):
            assert tls_context().keylog_filename is None

    @pytest.mark.parametrize(
        "octets",
        [b"", b"nothing of the kind", b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"\xff" * 9],
        ids=["empty", "text", "half", "octets"],
    )
    def test_says_when_a_file_is_no_authority(self, octets: bytes) -> None:
        """What holds no certificate is never taken for the built-in roots."""
        with pytest.raises(NoAuthority):
            tls_context(octets)

    def test_lets_comments_be_in_any_language(self, authority: Authority) -> None:
        """Bundles name their authorities in comments between the certificates."""
        bundle = "# Autorité\n".encode() + authority.pem + b"\n# the end\n" + authority.pem

        assert 1 == len(tls_context(bundle).get_ca_certs())
