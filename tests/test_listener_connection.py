"""The limits of a connection to the moment, with a transport that only notes what is done to it."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.connection import Connection
from service.model import AT_ONCE
from service.parting import LINGER
from service.reception import Hall, Refusal, Terms
from tests.listening import GET, Held, answer, echo, remembered
from tests.virtual_time import VIRTUAL, VirtualLoop

HALF = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf"


class Wire(asyncio.Transport):
    """Notes what was written, and when the connection was closed or cut."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({"peername": ("192.0.2.1", 1234)})
        self.loop = loop
        self.writes: list[bytes] = []
        self.closed_at: float | None = None
        self.cut_at: float | None = None
        self.is_read = True
        self.can_half_close = False

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed_at = self.loop.time()

    def abort(self) -> None:
        self.cut_at = self.loop.time()

    def is_closing(self) -> bool:
        return self.closed_at is not None

    def can_write_eof(self) -> bool:
        return self.can_half_close

    def write_eof(self) -> None:
        """Say that nothing more comes."""

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def configured(app: Any) -> Config:
    """Return how uvicorn is to serve the application, wherever it does."""
    config = Config(
        app, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False
    )
    config.load()
    return config


class Line:
    """A connection and the wire it is on; must be made inside a loop."""

    def __init__(self, app: Any = echo, **terms: Any) -> None:
        self.refusals: list[Refusal] = []
        hall = Hall(name="api", terms=Terms(**terms), observe=self.refusals.append)
        self.wire = Wire(asyncio.get_running_loop())
        self.connection = Connection(configured(app), hall)
        self.connection.connection_made(self.wire)

    def say(self, data: bytes) -> None:
        self.connection.data_received(data)

    @property
    def reasons(self) -> list[str]:
        return [refusal.reason for refusal in self.refusals]


class TestLimits:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_dribbling_buys_no_time(self) -> None:
        """A head is due ten seconds after the connection began, however it comes."""
        line = Line(header_timeout=10)
        line.say(GET[:-2])
        for _ in range(12):
            line.say(b"X: y\r\n")
            await asyncio.sleep(1)
        assert (10.0, ["header-timeout"]) == (line.wire.closed_at, line.reasons)
        assert line.wire.written.startswith(b"HTTP/1.1 408 ")

    async def test_the_limit_begins_with_the_connection(self) -> None:
        """What the handshake took is taken from the first head."""
        line = Line(header_timeout=10)
        config, hall = line.connection.config, line.connection.hall
        await asyncio.sleep(4)
        late = Connection(config, hall, accepted_at=0.0)
        late.connection_made(wire := Wire(asyncio.get_running_loop()))
        await asyncio.sleep(20)
        assert 10.0 == wire.closed_at

    async def test_a_later_head_begins_with_its_first_octet(self) -> None:
        """Between requests there is ``idle_timeout``; from the first octet ``header_timeout``."""
        line = Line(header_timeout=10, idle_timeout=75)
        line.say(GET)
        await asyncio.sleep(60)
        line.say(b"G")
        await asyncio.sleep(20)
        assert (70.0, ["header-timeout"]) == (line.wire.closed_at, line.reasons)

    async def test_idleness_has_its_own_limit(self) -> None:
        """A connection that waits is closed after ``idle_timeout``, and nobody is blamed."""
        line = Line(header_timeout=10, idle_timeout=75)
        await asyncio.sleep(1)
        line.say(GET)
        await asyncio.sleep(100)
        assert (76.0, []) == (line.wire.closed_at, line.reasons)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.floats(0, 74), min_size=1, max_size=8))
    def test_idleness_begins_with_the_last_answer(self, gaps: list[float]) -> None:
        """However many requests there were, and when."""

        async def converse() -> tuple[float | None, float]:
            line, loop = Line(header_timeout=1000, idle_timeout=75), asyncio.get_running_loop()
            for gap in gaps:
                await asyncio.sleep(gap)
                line.say(GET)
            last = loop.time()
            await asyncio.sleep(200)
            return line.wire.closed_at, last

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            closed_at, last = runner.run(converse())
        assert pytest.approx(last + 75, abs=0.002) == closed_at

    async def test_a_body_is_due_after_its_head(self) -> None:
        """A body that nobody reads any more is due like one that somebody does."""

        async def hasty(scope: Any, receive: Any, send: Any) -> None:
            del scope, receive
            await answer(send, b"no", 401)

        line = Line(hasty, body_timeout=10)
        await asyncio.sleep(3)
        line.say(HALF)
        await asyncio.sleep(20)
        assert (13.0, ["body-timeout"]) == (line.wire.closed_at, line.reasons)

    async def test_a_body_after_its_answer_leaves_the_connection_idle(self) -> None:
        """The rest of an unwanted body does not make a connection immortal."""

        async def hasty(scope: Any, receive: Any, send: Any) -> None:
            del scope, receive
            await answer(send, b"no", 401)

        line = Line(hasty, idle_timeout=75)
        line.say(HALF)
        await asyncio.sleep(1)
        line.say(b"half")
        await asyncio.sleep(100)
        assert (76.0, []) == (line.wire.closed_at, line.reasons)

    async def test_a_peer_that_does_not_agree_is_cut(self) -> None:
        """Two seconds after a close the connection is cut, if the peer has not let go."""
        line = Line(header_timeout=10)
        line.say(b"G")
        await asyncio.sleep(20)
        assert (10.0, 12.0) == (line.wire.closed_at, line.wire.cut_at)

    async def test_a_peer_that_does_not_read_is_cut(self) -> None:
        """Ten seconds with a full buffer are enough."""
        line = Line(send_timeout=10, header_timeout=1000)
        line.connection.pause_writing()
        await asyncio.sleep(20)
        assert (10.0, ["send-timeout"]) == (line.wire.cut_at, line.reasons)

    async def test_a_peer_that_reads_again_is_forgiven(self) -> None:
        """The limit is for standing still, not for being slow."""
        line = Line(send_timeout=10, header_timeout=1000)
        for _ in range(5):
            line.connection.pause_writing()
            await asyncio.sleep(9)
            line.connection.resume_writing()
        await asyncio.sleep(20)
        assert (None, []) == (line.wire.cut_at, line.reasons)

    async def test_nothing_is_due_after_the_end(self) -> None:
        """A connection that is lost leaves no timer behind."""
        line = Line()
        for data in (GET, b"G"):
            line.say(data)
            await asyncio.sleep(1)
        line.connection.pause_writing()
        line.connection.connection_lost(None)
        line.wire.closed_at = None
        await asyncio.sleep(1000)
        assert (None, None, []) == (line.wire.closed_at, line.wire.cut_at, line.reasons)

    async def test_who_reads_at_last_is_not_waited_for_for_ever(self) -> None:
        """A refusal behind an answer that was slow to leave ends the connection all the same."""
        line = Line(idle_timeout=75)
        line.wire.can_half_close = True
        line.say(GET)
        await asyncio.sleep(1)
        line.connection.pause_writing()
        line.say(b"GE\0T\r\n\r\n")
        line.connection.resume_writing()
        await asyncio.sleep(1000)
        assert 1 + LINGER == line.wire.cut_at


EXPECTS = HALF.replace(b"\r\n\r\n", b"\r\nExpect: 100-Continue\r\n\r\n")


class TestAnswers:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_an_answer_is_one_write(self) -> None:
        """Head and body leave together, of each request of a connection."""

        async def whole(scope: Any, receive: Any, send: Any) -> None:
            del receive, send
            body = f"{scope['method']} {scope['path']} ".encode()
            lines = b"content-length: %d\r\n" % len(body)
            assert scope[AT_ONCE].answer(200, lines, body)

        line = Line(whole)
        for path in (b"/one", b"/two"):
            line.say(GET.replace(b"/", path, 1))
            await asyncio.sleep(1)
        assert [True, True] == [write.startswith(b"HTTP/1.1 200") for write in line.wire.writes]
        assert [b"GET /one ", b"GET /two "] == [
            write.partition(b"\r\n\r\n")[2] for write in line.wire.writes
        ]

    @pytest.mark.parametrize("again", ["GET /a", "POST /a", "GET /a?b", "GET /b", "GET /%61"])
    async def test_each_is_to_its_own_request(self, again: str) -> None:
        """Of what a connection has asked before a request is told nothing, whatever they share."""

        async def scopes(*lines: str) -> list[dict[str, Any]]:
            seen = []

            async def looks(scope: Any, receive: Any, send: Any) -> None:
                del receive
                seen.append({**scope, AT_ONCE: None, "state": dict(scope["state"])})
                scope["state"]["left"] = scope["left"] = "by the one before"
                await answer(send, b"")

            line = Line(looks)
            for start in lines:
                line.say(f"{start} HTTP/1.1\r\nHost: {len(seen)}\r\n\r\n".encode())
                await asyncio.sleep(1)
            return seen

        [alone] = await scopes(again)
        first, second = await scopes("GET /a", again)
        assert ([(b"host", b"0")], [(b"host", b"1")]) == (first["headers"], second["headers"])
        assert {**alone, "headers": second["headers"]} == second

    async def test_a_head_alone_is_not_held_back(self) -> None:
        """The answer to HEAD has no body to wait for."""
        line = Line()
        line.say(GET.replace(b"GET", b"HEAD", 1))
        await asyncio.sleep(1)
        assert [b"HTTP/1.1 200 OK"] == [write.partition(b"\r")[0] for write in line.wire.writes]

    async def test_a_body_in_parts_leaves_in_parts(self) -> None:
        """What an application sends goes out when it is sent."""

        async def parts(scope: Any, receive: Any, send: Any) -> None:
            del scope, receive
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for number in (b"1", b"2", b"3"):
                await asyncio.sleep(1)
                await send(
                    {"type": "http.response.body", "body": number, "more_body": number < b"3"}
                )

        line = Line(parts)
        line.say(GET)
        await asyncio.sleep(10)
        head, *others = line.wire.writes
        assert head.startswith(b"HTTP/1.1 200")
        assert [b"1\r\n1\r\n", b"1\r\n2\r\n", b"1\r\n3\r\n0\r\n\r\n"] == others

    async def test_an_answer_that_breaks_off_shows_that_it_began(self) -> None:
        """Its head is out before the connection is closed: who has it must not ask again."""

        async def breaks(scope: Any, receive: Any, send: Any) -> None:
            del scope, receive
            headers = [(b"content-length", b"5")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            raise OSError

        line = Line(breaks)
        line.say(GET)
        await asyncio.sleep(1)
        assert [b"HTTP/1.1 200 OK"] == [write.partition(b"\r")[0] for write in line.wire.writes]
        assert line.wire.closed_at is not None

    async def test_a_caller_that_expects_to_be_asked_is_asked_at_once(self) -> None:
        """The interim answer (RFC 9110 §15.2.1) does not wait for the final one."""
        line = Line()
        line.say(EXPECTS[:-4])
        await asyncio.sleep(1)
        interim = list(line.wire.writes)
        line.say(b"halfhalf")
        await asyncio.sleep(1)
        assert [b"HTTP/1.1 100 Continue\r\n\r\n"] == interim
        assert line.wire.writes[1].startswith(b"HTTP/1.1 200")


class TestWholeBodies:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            (HALF, None),
            (HALF + b"half", b"halfhalf"),
            (HALF.replace(b"POST", b"HEAD") + b"half", b"halfhalf"),
            (GET, None),
        ],
    )
    async def test_the_application_is_given_them(self, said: bytes, expected: object) -> None:
        """What is all here when the application begins needs no timer, nor anything received."""
        seen = []

        async def looks(scope: Any, receive: Any, send: Any) -> None:
            del receive
            seen.append(scope[AT_ONCE].whole_body())
            await answer(send, b"")

        Line(looks).say(said)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [expected] == seen

    @pytest.mark.parametrize("is_lost", [False, True])
    async def test_are_let_go_with_their_requests(self, *, is_lost: bool) -> None:
        """A request that is done, or whose peer has gone, is no work for the garbage collector."""
        held = Held()
        line = Line(held)
        gc.disable()
        try:
            line.say(HALF + b"half" + GET)
            running = weakref.ref(line.connection._running)
            await held.arrived.wait()
            if is_lost:
                line.connection.connection_lost(None)
            held.go.set()
            await asyncio.sleep(0.1)
            line.connection._running = None
            assert running() is None
        finally:
            gc.enable()


class TestPipeline:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_waits_in_the_kernel(self) -> None:
        """Nothing more is read until the last of the pipeline has its turn; nor is it late."""
        held = Held()
        line = Line(held, header_timeout=10)
        line.say(GET * 3 + GET[:-2])
        await asyncio.sleep(60)
        waiting = line.wire.is_read
        held.go.set()
        await asyncio.sleep(1)
        assert (False, True, 3, []) == (waiting, line.wire.is_read, len(held.paths), line.reasons)
        line.say(GET[-2:])
        await asyncio.sleep(1)
        assert 4 == line.wire.written.count(b"GET / ")


class TestCutting:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(1, 40), max_size=30))
    def test_does_not_matter(self, sizes: list[int]) -> None:
        """However requests are cut into segments, the answers are the same."""
        bodies = [b"one", b"", b"three" * 10]
        requests = b"".join(
            b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (n, len(body), body)
            for n, body in enumerate(bodies)
        )

        async def converse() -> bytes:
            line, at = Line(), 0
            for size in [*sizes, len(requests)]:
                line.say(requests[at : at + size])
                at += size
                await asyncio.sleep(0)
            await asyncio.sleep(1)
            return line.wire.written

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            written = runner.run(converse())
        assert 3 == written.count(b"HTTP/1.1 200 OK\r\n")
        for n, body in enumerate(bodies):
            assert b"\r\n\r\nPOST /%d %s" % (n, body) in written

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=200), st.sampled_from([b"", GET]))
    def test_rubbish_is_answered_or_waited_for(self, rubbish: bytes, before: bytes) -> None:
        """Whatever comes is an answer, a refusal or a wait: nothing is raised, nothing echoed."""

        async def converse() -> Line:
            line = Line()
            line.say(before + rubbish)
            await asyncio.sleep(200)
            return line

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            line = runner.run(converse())
        assert line.wire.closed_at is not None
        assert line.wire.written.count(b"HTTP/1.1 ") <= 2 + rubbish.count(b"HTTP/1")


NUMBER = st.integers(0, 120)
TARGETS = st.sampled_from(
    ["/", "/a%20b", "/%2F?q=%20", "/?", "/a#b", "*", "/\xe9", "http://a/b?c", "http://a"]
)
FIELDS = st.sampled_from(
    [
        "Connection: close",
        "Connection: keep-alive",
        "CONTENT-LENGTH: 4",
        "Expect: 100-Continue",
        "Expect: nothing",
        "Transfer-Encoding: chunked",
        "X: \xe9",
        "x: Y",
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> list[bytes]:
    """Return one request, good or bad, in two parts, with the body that it announces."""
    method = draw(st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "get"]))
    line = f"{method} {draw(TARGETS)} HTTP/{draw(st.sampled_from(['1.0', '1.1']))}"
    fields = draw(st.lists(FIELDS, max_size=4))
    body = "four" if "CONTENT-LENGTH: 4" in fields else ""
    if "Transfer-Encoding: chunked" in fields:
        body = "4\r\nfour\r\n0\r\n\r\n"
    lines = [line, "Host: a", *fields, "", body]
    request, at = "\r\n".join(lines).encode("latin-1"), draw(NUMBER)
    return [request[:at], request[at:]]


class TestEachHead:
    @settings(max_examples=300, deadline=None)
    @given(parts=requests())
    def test_is_told_as_uvicorn_tells_it(self, parts: list[bytes]) -> None:
        """The application gets the scope, and its cycle begins, as by uvicorn's own protocol."""

        async def told(kind: Any, beside: list[Any]) -> list[Any]:
            scopes = []

            async def app(scope: Any, receive: Any, send: Any) -> None:
                scopes.append({**scope, AT_ONCE: None})
                await receive()
                await answer(send, b"")

            protocol = kind(configured(app), *beside)
            protocol.connection_made(wire := Wire(asyncio.get_running_loop()))
            for part in parts:
                protocol.data_received(part)
            if protocol.cycle is None:
                return []
            cycle = protocol.cycle
            woken = cycle.message_event.is_set()
            rest = [remembered(cycle), cycle.default_headers, bytes(cycle.body), woken]
            before = wire.written
            await asyncio.sleep(1)
            return [*rest, before, scopes, wire.written]

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            alone = runner.run(told(HttpToolsProtocol, [ServerState(), {}]))
            assert alone == runner.run(told(Connection, [Hall(name="api", terms=Terms())]))
