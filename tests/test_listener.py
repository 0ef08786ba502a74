"""What a listener owes its peers and itself, over real sockets on both event loops."""

import asyncio
import operator
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
import uvloop

from service.connection import UNWANTED, Reading
from service.listener import Listener
from service.parting import PIPELINED
from service.reception import Hall, Places, Refusal, Terms, peer_key
from tests.listening import GET, Held, answer, echo, listening

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": LOOPS[request.param]}


def post(body: bytes, *, length: int | None = None, path: bytes = b"/") -> bytes:
    size = str(len(body) if length is None else length).encode()
    return (
        b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + size + b"\r\n\r\n"
    ) + body


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


async def http_version(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the version of the request."""
    del receive
    await answer(send, scope["http_version"].encode())


async def headers(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the names of the headers that there are when the body has been read."""
    while (await receive())["more_body"]:
        pass
    await answer(send, b" ".join(name for name, _ in scope["headers"]))


async def hasty(scope: Any, receive: Any, send: Any) -> None:
    """Answer before the body has come."""
    del scope, receive
    await answer(send, b"no", 401)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so that no event tells of."""
    while not condition():  # noqa: ASYNC110  # there is none
        await asyncio.sleep(0)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave the process no descriptor to open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as taken:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
        taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        with suppress(OSError):
            while True:
                taken.callback(os.close, os.dup(0))
        yield


async def test_answers_at_once() -> None:
    """An answer in two parts does not wait for the first one's acknowledgement, on either loop."""
    seen: list[int] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        [connection] = door.listener.hall.connections
        accepted = connection.transport.get_extra_info("socket")
        seen.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await answer(send, b"")

    async with listening(look) as door, door.client() as client:
        await client.ask()

    assert [1] == seen


class TestServing:
    async def test_serves_several_requests_on_a_connection(self) -> None:
        """A connection is kept for the next request."""
        async with listening() as door, door.client() as client:
            answers = [await client.ask(post(b"one")), await client.ask(post(b"two"))]
        assert [b"POST / one", b"POST / two"] == answers

    async def test_tells_the_date_and_not_the_server(self) -> None:
        """Every answer has the date (RFC 9110 §6.6.1) and no word about what we run."""
        async with listening() as door, door.client() as client:
            client.writer.write(GET)
            head, _ = await client.answer()
        assert {b"date", b"content-length"} == {line.split(b":")[0] for line in head[1:-2]}

    async def test_answers_pipelined_requests_in_order(self) -> None:
        """Requests that come in one piece are answered one after the other."""
        paths = [b"/1", b"/2", b"/3"]
        async with listening() as door, door.client() as client:
            client.writer.write(b"".join(post(b"x", path=path) for path in paths))
            bodies = [(await client.answer())[1] for _ in paths]
        assert [b"POST /1 x", b"POST /2 x", b"POST /3 x"] == bodies

    async def test_goes_on_after_an_unknown_upgrade(self) -> None:
        """Java's client offers h2c with each first request: it gets HTTP/1.1, and is kept."""
        offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
        upgrading = post(b"one").replace(b"Content-Length", offer + b"Content-Length")
        async with listening() as door, door.client() as client:
            answers = [await client.ask(upgrading), await client.ask(post(b"two"))]
        assert [b"POST / one", b"POST / two"] == answers

    @pytest.mark.parametrize(
        ("version", "connection"),
        [(b"1.1", b"Upgrade, close"), (b"1.0", b"Upgrade")],
        ids=["last request", "HTTP/1.0"],
    )
    async def test_takes_the_rest_of_an_offer_as_it_is(
        self, version: bytes, connection: bytes
    ) -> None:
        """Only the offer is passed over: the version, and the wish to close, are the peer's."""
        offer = b"Connection: " + connection + b"\r\nUpgrade: h2c\r\nContent-Length"
        request = post(b"one").replace(b"Content-Length", offer).replace(b"1.1", version)
        async with listening(http_version) as door, door.client() as client:
            client.writer.write(request)
            received = await client.rest()
        assert received.endswith(b"\r\nconnection: close\r\n\r\n" + version)

    async def test_takes_a_body_in_pieces(self) -> None:
        """A body may come octet by octet, as long as it comes."""
        request = post(b"slow")
        async with listening() as door, door.client() as client:
            for octet in request:
                client.writer.write(bytes([octet]))
                await client.writer.drain()
            body = (await client.answer())[1]
        assert b"POST / slow" == body

    async def test_lets_an_early_answer_be_read(self) -> None:
        """An answer before the body has come is not lost, and the connection stays usable."""

        async def hasty(scope: Any, receive: Any, send: Any) -> None:
            del receive
            await answer(send, scope["path"].encode(), 401)

        async with listening(hasty) as door, door.client() as client:
            first = await client.ask(post(b"", length=4, path=b"/1"))
            client.writer.write(b"late")
            second = await client.ask(post(b"", path=b"/2"))
        assert (b"/1", b"/2") == (first, second)

    async def test_keeps_requests_apart(self) -> None:
        """What a request sets in its context is not there for the next one of its connection."""
        seen: ContextVar[str] = ContextVar("seen", default="nothing")

        async def remembering(scope: Any, receive: Any, send: Any) -> None:
            before = seen.get()
            seen.set(scope["path"])
            while (await receive())["more_body"]:
                pass
            await answer(send, before.encode())

        large = bytes(200_000)  # more than is read at once: reading goes on from within the request
        async with listening(remembering) as door, door.client() as client:
            before = [await client.ask(post(large, path=b"/secret")) for _ in range(3)]
        assert [b"nothing"] * 3 == before

    async def test_survives_a_broken_observer(self) -> None:
        """Observation is never worth a connection."""

        def broken(_: Refusal) -> None:
            raise RuntimeError("metrics are away")

        hall = Hall(name="api", terms=Terms(), observe=broken)
        hall.tell("too-slow", "header-timeout", ("127.0.0.1", 1))

    async def test_raises_when_the_address_is_taken(self) -> None:
        """Two listeners cannot have one port."""
        async with listening() as door:
            other = Listener(echo, name="b", host="127.0.0.1", port=door.address.port)
            with pytest.raises(OSError, match="in use"):
                await other.open()


FRAMES = {
    "many trailers": (b"0\r\n", b"a:b\r\n"),
    "endless trailer": (b"0\r\na: ", b"a" * 1000),
    "endless extension": (b"1;", b"a" * 1000),
    "small chunks": (b"", b"1\r\na\r\n"),
}

MALFORMED = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "bare word": b"hunter2\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "target of CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "non-ASCII target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    "NUL in header": b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 9": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
}


class TestMalformed:
    @pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
    async def test_is_refused_without_echo(self, request_: bytes) -> None:
        """Where there is nothing to say, no request gets an empty 400, and the connection ends."""
        async with listening() as door, door.client() as client:
            client.writer.write(request_)
            received = await client.rest()
            kind, _ = await door.refused()
        first, date, *lines = received.split(b"\r\n")
        assert (b"HTTP/1.1 400 Bad Request", b"date: ") == (first, date[:6])
        assert [b"connection: close", b"content-length: 0", b"", b""] == lines
        assert "malformed-request" == kind

    async def test_does_not_break_into_another_answer(self) -> None:
        """Rubbish behind a request waits for its answer, and then ends the connection."""
        held = Held()
        async with listening(held) as door, door.client() as client:
            client.writer.write(GET + b"\0rubbish\r\n\r\n")
            assert ("malformed-request", "parse-error") == await door.refused()
            held.go.set()
            received = await client.rest()
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert received.endswith(b"\r\nconnection: close\r\n\r\nGET / ")

    async def test_takes_a_broken_body_back(self) -> None:
        """A chunk that is none ends the request: the application sees its peer gone."""
        seen: asyncio.Queue[str] = asyncio.Queue()

        async def reading(scope: Any, receive: Any, send: Any) -> None:
            del scope, send
            while (message := await receive())["type"] != "http.disconnect":
                assert b"" == message["body"]
            seen.put_nowait(message["type"])

        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with listening(reading) as door, door.client() as client:
            client.writer.write(chunked + b"zz\r\n")
            received = await client.rest()
            assert "http.disconnect" == await seen.get()
        assert received.startswith(b"HTTP/1.1 400 ")

    async def test_hangs_up_when_the_answer_has_begun(self) -> None:
        """A body that breaks behind the beginning of its answer leaves nothing to say."""

        async def eager(scope: Any, receive: Any, send: Any) -> None:
            del scope
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass

        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with listening(eager) as door, door.client() as client:
            client.writer.write(chunked)
            await client.reader.readuntil(b"half\r\n")
            client.writer.write(b"zz\r\n")
            assert b"" == await client.rest()

    async def test_hangs_up_when_several_answers_are_owed(self) -> None:
        """Rubbish behind a pipeline is not worth sorting out."""
        held = Held()
        async with listening(held) as door, door.client() as client:
            client.writer.write(GET + GET + b"\0rubbish\r\n\r\n")
            assert b"" == await client.rest()
        assert ["/"] == held.paths


class TestHead:
    @pytest.mark.parametrize(
        "head",
        [
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + bytes(b"x" * 5000) + b"\r\n\r\n",
            b"GET /" + bytes(b"x" * 5000) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 900 + b"\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + bytes(b"x" * 40000),
        ],
        ids=["long value", "long target", "many headers", "endless value"],
    )
    async def test_has_a_largest_size(self, head: bytes) -> None:
        """A head over ``max_head`` is refused with 431, however it is made up."""
        async with listening(max_head=4096) as door, door.client() as client:
            client.writer.write(head)
            received = await client.rest()
            assert ("malformed-request", "head-too-large") == await door.refused()
        assert received.startswith(b"HTTP/1.1 431 ")

    async def test_has_it_wherever_it_begins(self) -> None:
        """A head that begins behind another request counts from its beginning."""
        padding = post(b"x" * 16200)
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + bytes(b"x" * 4096) + b"\r\n\r\n"
        async with listening(max_head=4096) as door, door.client() as client:
            assert b"POST / " + b"x" * 16200 == await client.ask(padding + head)
            assert ("malformed-request", "head-too-large") == await door.refused()

    async def test_may_be_as_large_as_that(self) -> None:
        """The cap counts each head alone: many of nearly that size pass on one connection."""
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + bytes(b"x" * 3900) + b"\r\n\r\n"
        async with listening(max_head=4096) as door, door.client() as client:
            client.writer.write(head * 16)
            bodies = [(await client.answer())[1] for _ in range(16)]
        assert [b"GET / "] * 16 == bodies


class TestChunks:
    @pytest.mark.parametrize("offer", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
    async def test_bring_no_headers(self, offer: bytes) -> None:
        """A trailer is never a header (RFC 9110 §6.5.1): no credential comes behind a body."""
        request = CHUNKED.replace(b"Host", offer + b"Host")
        trailer = b"3\r\none\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
        async with listening(headers) as door, door.client() as client:
            names = await client.ask(request + trailer)
        assert b"authorization" not in names.split()

    @pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
    async def test_have_an_end(self, frame: tuple[bytes, bytes]) -> None:
        """What frames a body may be as long as a head, whether in trailers or between octets."""
        first, more = frame
        async with listening(headers, max_head=4096) as door, door.client() as client:
            client.writer.write(CHUNKED + first + more * (40_000 // len(more)))
            received = await client.rest()
            assert ("malformed-request", "body-framing") == await door.refused()
        assert received.startswith(b"HTTP/1.1 400 ")

    @pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
    async def test_have_it_after_their_answer(self, frame: tuple[bytes, bytes]) -> None:
        """After an early answer there is no second one: the connection is closed."""
        first, more = frame
        async with listening(hasty, max_head=4096) as door, door.client() as client:
            assert b"no" == await client.ask(CHUNKED)
            client.writer.write(first + more * (40_000 // len(more)))
            assert b"" == await client.rest()
            assert ("malformed-request", "body-framing") == await door.refused()

    async def test_may_be_many_in_a_large_body(self) -> None:
        """Octets of the body itself are not framing, however many there are."""
        chunks = b"1000\r\n" + bytes(4096) + b"\r\n"
        async with listening(max_head=4096) as door, door.client() as client:
            body = await client.ask(CHUNKED + chunks * 100 + b"0\r\n\r\n")
        assert 100 * 4096 == len(body.removeprefix(b"POST / "))


class TestPipeline:
    async def test_has_an_end(self) -> None:
        """Of more requests than are kept waiting the rest is not taken, as the last answer says."""
        held = Held()
        async with listening(held) as door, door.client() as client:
            client.writer.write(GET * 1000)
            assert ("malformed-request", "pipeline") == await door.refused()
            held.go.set()
            received = await client.rest()
        assert (1 + PIPELINED, 1) == (len(held.paths), received.count(b"connection: close"))
        assert 1 + PIPELINED == received.count(b"HTTP/1.1 200 OK")


class TestSlowPeer:
    @pytest.mark.parametrize(
        "beginning",
        [b"G", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n", b"\r\n\r\n"],
        ids=["an octet", "headers", "empty lines"],
    )
    async def test_must_finish_its_head(self, beginning: bytes) -> None:
        """A head that is not complete in ``header_timeout`` gets 408."""
        async with listening(header_timeout=0.05) as door, door.client() as client:
            client.writer.write(beginning)
            received = await client.rest()
            assert ("too-slow", "header-timeout") == await door.refused()
        assert received.startswith(b"HTTP/1.1 408 ")

    async def test_must_say_something(self) -> None:
        """A connection on which nothing comes is closed without a word."""
        async with listening(header_timeout=0.05) as door, door.client() as client:
            assert b"" == await client.rest()

    async def test_must_finish_its_next_head(self) -> None:
        """Later requests of a connection have the same limit."""
        async with listening(header_timeout=0.05) as door, door.client() as client:
            await client.ask()
            client.writer.write(b"GET / HT")
            received = await client.rest()
        assert received.startswith(b"HTTP/1.1 408 ")

    async def test_loses_its_idle_connection(self) -> None:
        """A connection without a next request is closed after ``idle_timeout``."""
        async with listening(idle_timeout=0.05) as door, door.client() as client:
            await client.ask()
            assert b"" == await client.rest()

    async def test_loses_it_after_empty_lines_too(self) -> None:
        """Empty lines between requests do not keep a connection."""
        async with listening(header_timeout=0.05) as door, door.client() as client:
            await client.ask()
            client.writer.write(b"\r\n")
            assert (await client.rest()).startswith(b"HTTP/1.1 408 ")

    async def test_ends_with_its_answer_when_the_body_is_late(self) -> None:
        """A body over ``body_timeout`` is told; the application answers, the connection ends."""

        async def patient(scope: Any, receive: Any, send: Any) -> None:
            del scope, receive
            await late.wait()
            await answer(send, b"late", 408)

        late = asyncio.Event()
        async with listening(patient, body_timeout=0.05) as door, door.client() as client:
            client.writer.write(post(b"half", length=8))
            assert ("too-slow", "body-timeout") == await door.refused()
            late.set()
            received = await client.rest()
        assert received.endswith(b"connection: close\r\n\r\nlate")

    async def test_ends_when_a_body_nobody_wants_is_late(self) -> None:
        """What is owed after an early answer has the same limit."""

        async def hasty(scope: Any, receive: Any, send: Any) -> None:
            del scope, receive
            await answer(send, b"no", 401)

        async with listening(hasty, body_timeout=0.05) as door, door.client() as client:
            assert b"no" == await client.ask(post(b"half", length=8))
            assert b"" == await client.rest()
            assert ("too-slow", "body-timeout") == await door.refused()

    async def test_ends_when_a_body_nobody_wants_is_endless(self) -> None:
        """After an early answer so much is dropped and no more."""

        async def hasty(scope: Any, receive: Any, send: Any) -> None:
            del scope, receive
            await answer(send, b"no", 413)

        async with listening(hasty) as door, door.client() as client:
            assert b"no" == await client.ask(post(b"", length=1 << 30))
            client.writer.write(bytes(2 * UNWANTED))
            assert b"" == await client.rest()

    async def test_ends_when_it_does_not_read(self) -> None:
        """An answer that is not taken within ``send_timeout`` is cut off, and the work with it."""
        gone = asyncio.Event()

        async def generous(scope: Any, receive: Any, send: Any) -> None:
            del scope
            size = 64 << 20
            headers = [(b"content-length", str(size).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for _ in range(1024):
                body = bytes(size // 1024)
                await send({"type": "http.response.body", "body": body, "more_body": True})
            assert "http.disconnect" == (await receive())["type"]
            gone.set()

        async with listening(generous, send_timeout=0.05) as door:
            peer = socket.create_connection((door.address.host, door.address.port))
            with peer:
                peer.sendall(GET)
                assert ("too-slow", "send-timeout") == await door.refused()
                await gone.wait()


class TestCapacity:
    async def test_turns_away_whom_it_has_no_room_for(self) -> None:
        """While all of ``max_connections`` have work a peer is put out at once, and told of."""
        held = Held()
        async with listening(held, max_connections=1) as door, door.client() as first:
            first.writer.write(GET)
            await held.arrived.wait()
            async with door.client() as second:
                assert b"" == await second.rest()
                assert ("connection-refused", "too-many") == await door.refused()
            held.go.set()
            assert b"GET / " == (await first.answer())[1]

    @pytest.mark.parametrize("words", [b"", b"GET / HT", GET], ids=["silent", "half", "idle"])
    async def test_makes_room(self, words: bytes) -> None:
        """Who is owed nothing, and has been for longest, leaves its place to who comes."""
        async with (
            listening(max_connections=2) as door,
            door.client() as first,
            door.client() as second,
        ):
            first.writer.write(words)
            if words == GET:
                await first.answer()
            await second.ask()
            async with door.client() as third:
                assert b"GET / " == await third.ask()
                assert (b"", b"GET / ") == (await first.rest(), await second.ask())
            assert ("connection-refused", "made-room") == await door.refused()

    async def test_has_room_again_when_one_has_gone(self) -> None:
        """A place is free as soon as its connection is lost."""
        async with listening(max_connections=1) as door:
            async with door.client() as first:
                await first.ask()
            await until(lambda: door.listener.connections == 0)
            async with door.client() as second:
                assert b"GET / " == await second.ask()


class TestPlaces:
    def test_gives_that_of_the_peer_with_most(self) -> None:
        """Whoever takes many places loses of its own, and of those the one that it left longest."""
        places, left = Places(), list[str]()
        for name, address in [("2", "192.0.2.1"), ("1", "2001:db8::1"), ("3", "2001:db8::2")]:
            places.wait(name, peer_key((address, 1)), partial(left.append, name))
        assert ([True] * 3 + [False], ["1", "2", "3"]) == (
            [places.make_room() for _ in range(4)],
            left,
        )

    def test_gives_none_of_who_works(self) -> None:
        """Whoever has work, or has gone, is not put out; whoever waits again is last in turn."""
        places, left = Places(), list[str]()
        for name in ("1", "2", "3"):
            places.wait(name, "192.0.2.1", partial(left.append, name))
        places.leave("2", "192.0.2.1")
        places.leave("1", "192.0.2.1")
        places.wait("1", "192.0.2.1", partial(left.append, "1"))
        assert ([True, True, False], ["3", "1"]) == (
            [places.make_room() for _ in range(3)],
            left,
        )
        places.leave("2", "192.0.2.1")


class TestAccepting:
    async def test_goes_on_after_a_failure(self) -> None:
        """Without a free descriptor nobody gets in; with one again, everybody does, and it is told.

        The kernel keeps the connection meanwhile.
        """
        async with listening() as door:
            peer = socket.socket()
            with no_descriptors():
                peer.connect((door.address.host, door.address.port))
                assert ("connection-refused", "accept-failed") == await door.refused()
            await until(lambda: door.listener.connections == 1)
            peer.close()

    async def test_takes_whom_the_kernel_has_taken(self) -> None:
        """A connection that was made before the port closes is served, not reset."""
        async with listening() as door:
            with socket.create_connection((door.address.host, door.address.port)) as peer:
                peer.sendall(GET)
                draining = asyncio.create_task(door.listener.drain(5))
                assert b"HTTP/1.1 200" in await asyncio.to_thread(peer.recv, 4096)
            assert await draining

    async def test_can_be_cut_unopened(self) -> None:
        """A listener that was never opened has nothing to close."""
        await Listener(echo, name="api", host="127.0.0.1", port=0).cut()

    async def test_listens_on_ipv6(self) -> None:
        """An address with colons is one of IPv6."""
        listener = Listener(echo, name="api", host="::1", port=0)
        address = await listener.open()
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(GET)
        assert b"HTTP/1.1 200 OK\r\n" == await reader.readline()
        writer.close()
        await writer.wait_closed()
        await listener.cut()


class TestAge:
    async def test_ends_an_old_connection_with_its_answer(self) -> None:
        """Past ``max_connection_age`` the answer says that it was the last."""
        async with listening(max_connection_age=0) as door, door.client() as client:
            client.writer.write(GET)
            received = await client.rest()
        assert received.endswith(b"connection: close\r\n\r\nGET / ")


class TestDrain:
    async def test_answers_what_has_begun(self) -> None:
        """A request in flight is answered, and its connection closed."""
        held = Held()
        async with listening(held) as door, door.client() as client:
            client.writer.write(GET)
            await held.arrived.wait()
            draining = asyncio.create_task(door.listener.drain(5))
            held.go.set()
            received = await client.rest()
            assert await draining
        assert received.endswith(b"connection: close\r\n\r\nGET / ")

    async def test_reads_a_request_that_has_begun(self) -> None:
        """Half a head is no idle connection: the other half may still come."""
        async with listening() as door, door.client() as idle, door.client() as client:
            await client.ask()
            await idle.ask()
            client.writer.write(GET[:20])
            await client.writer.drain()
            connections = door.listener.hall.connections
            reads = operator.attrgetter("_reading")
            await until(lambda: any(reads(each) is Reading.HEAD for each in connections))
            draining = asyncio.create_task(door.listener.drain(5))
            assert b"" == await idle.rest()
            client.writer.write(GET[20:])
            assert (await client.rest()).endswith(b"connection: close\r\n\r\nGET / ")
            assert await draining

    async def test_closes_what_is_idle(self) -> None:
        """Idle connections are closed at once."""
        async with listening() as door, door.client() as idle:
            await idle.ask()
            assert await door.listener.drain(5)
            assert b"" == await idle.rest()

    async def test_waits_for_the_first_word_of_who_has_just_connected(self) -> None:
        """Its request is answered; who says nothing is not waited for long."""
        async with listening() as door, door.client() as new, door.client() as silent:
            await until(lambda: door.listener.connections == 2)
            drained = asyncio.create_task(door.listener.drain(5))
            await asyncio.sleep(0)
            new.writer.write(GET)
            head, _ = await new.answer()
            assert (b"http/1.1 200 ok", True) == (head[0], b"connection: close" in head)
            assert (True, b"") == (await drained, await silent.rest())

    async def test_takes_no_new_connection(self) -> None:
        """The port is closed from the beginning of the drain."""
        async with listening() as door:
            await door.listener.drain(5)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(door.address.host, door.address.port)

    async def test_says_so_when_it_takes_too_long(self) -> None:
        """What is not done in time is told, and cancelled when the listener is cut."""
        held = Held()
        async with listening(held) as door, door.client() as client:
            client.writer.write(GET)
            await held.arrived.wait()
            assert not await door.listener.drain(0.01)
            await door.listener.cut()
            await held.cancelled.wait()

    async def test_retires_connections_before(self) -> None:
        """While retiring, new connections are served, and each answer is its connection's last."""
        async with listening() as door:
            door.listener.retire()
            async with door.client() as client:
                client.writer.write(GET)
                received = await client.rest()
        assert received.endswith(b"connection: close\r\n\r\nGET / ")
