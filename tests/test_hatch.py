"""What goes through the hatch is what uvicorn itself would have read and written."""

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.hatch import USUAL, Cycle, Hatch, Together, usual_headers

DATE = (b"date", b"Fri, 15 Jan 2027 08:00:00 GMT")
NAMES = st.sampled_from(
    [*sorted(USUAL), b"Content-Length", b"connection", b"transfer-encoding", b"x", b"a: b", b"a\nb"]
)
VALUES = st.sampled_from(
    [
        b"",
        b"0",
        b"4",
        b"04",
        b"+4",
        b"4 ",
        b"close",
        b"chunked",
        b"a\tb",
        b"a\r\nb: c",
        b"\0",
        b"\xe9",
    ]
)
LENGTHS = st.sampled_from([b"0", b"4"]).map(lambda length: [(b"content-length", length)])
HEADERS = LENGTHS | st.lists(st.tuples(NAMES, VALUES), max_size=3)
STARTS = st.builds(
    lambda status, headers: {"type": "http.response.start", "status": status, "headers": headers},
    st.sampled_from([200, 204, 304, 401, 503]),
    st.builds(list.__add__, LENGTHS, HEADERS) | HEADERS,
)
BODIES = st.builds(
    lambda octets, more: {"type": "http.response.body", "body": octets, "more_body": more},
    st.sampled_from([b"", b"fo", b"four", b"fours"]),
    st.booleans(),
)
BARE = st.sampled_from(
    [{"type": "http.response.start", "status": 200}, {"type": "http.response.body"}]
)
ANSWERS = st.builds(lambda start, bodies: [start, *bodies], STARTS, st.lists(BODIES, max_size=3))


class Wire(asyncio.Transport):
    """Notes what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = 0
        self.is_read = True

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed += 1

    def is_closing(self) -> bool:
        return self.closed > 0

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def cycle_on(
    out: Together,
    answered: list[bool],
    kind: type[RequestResponseCycle] = Hatch,
    *,
    keep_alive: bool = True,
) -> RequestResponseCycle:
    """Return a cycle that waits for its application; ``answered`` gets a member at its end."""
    return kind(
        scope={"type": "http", "method": "GET"},  # type: ignore[typeddict-item]  # all it reads
        transport=out,  # type: ignore[arg-type]  # all that it calls
        flow=FlowControl(Wire()),
        logger=logging.getLogger("uvicorn.error"),
        access_logger=logging.getLogger("uvicorn.access"),
        access_log=False,
        default_headers=[DATE],
        message_event=asyncio.Event(),
        expect_100_continue=True,
        keep_alive=keep_alive,
        on_response=lambda: answered.append(True),
    )


def state_of(cycle: RequestResponseCycle) -> dict[str, Any]:
    """Return all that a cycle remembers, whom it wakes included."""
    state = {name: value for name, value in vars(cycle).items() if isinstance(value, bool | int)}
    woken = cycle.message_event.is_set()
    return {**state, "body": bytes(cycle.body), "woken": woken, "read": cycle.flow.read_paused}


async def outcome(
    kind: type[RequestResponseCycle], messages: list[Any], **given: bool
) -> dict[str, Any]:
    """Return all that there is to see of an answer, through the hatch or by uvicorn alone."""
    answered: list[bool] = []
    out = Together(wire := Wire())
    cycle = cycle_on(out, answered, kind, keep_alive=given["keep_alive"])
    cycle.disconnected = given["disconnected"]
    raised = []
    for message in messages:
        try:
            await cycle.send(dict(message))  # type: ignore[arg-type]  # some are of no type
        except (RuntimeError, ValueError) as error:
            raised.append(str(error))
    state = state_of(cycle)
    out.close()  # as behind an answer that broke off
    return {**state, **vars(wire), "raised": raised, "answered": answered}


async def receive(cycle: RequestResponseCycle) -> Any:
    """Receive, without a wait where the cycle has a whole body."""
    if isinstance(cycle, Cycle) and not cycle.more_body:
        body = cycle.whole_body()
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
    return await cycle.receive()


async def received(kind: type[RequestResponseCycle], **given: Any) -> list[Any]:
    """Return what comes of receiving twice, and what the cycle remembers after each time.

    ``parts`` are those of a body that came before, of which ``more_body`` may be to come.
    """
    cycle = cycle_on(Together(wire := Wire()), [], kind)
    for name in ("more_body", "disconnected", "response_complete", "waiting_for_100_continue"):
        setattr(cycle, name, given[name])
    if given["is_paused"]:
        cycle.flow.pause_reading()
    for part in given["parts"]:
        cycle.body += part
        cycle.message_event.set()
    if not given["more_body"]:
        cycle.message_event.set()
    seen: list[Any] = []
    for _ in range(2):
        receiving = asyncio.create_task(receive(cycle))
        await asyncio.sleep(0)
        seen += [receiving.done() and receiving.result(), state_of(cycle), dict(vars(wire))]
        receiving.cancel()
        await asyncio.wait([receiving])
    return seen


class TestHatch:
    @settings(max_examples=400)
    @given(
        messages=ANSWERS | st.lists(STARTS | BODIES | BARE, max_size=4),
        keep_alive=st.booleans(),
        disconnected=st.sampled_from([False, False, False, True]),
    )
    def test_changes_nothing(self, messages: list[Any], **given: bool) -> None:
        """Whatever an application says: the octets, the errors and the state after it are one."""
        through, alone = (
            asyncio.run(outcome(kind, messages, **given)) for kind in (Hatch, RequestResponseCycle)
        )
        assert alone == through

    @settings(max_examples=200)
    @given(
        parts=st.lists(st.sampled_from([b"", b"{", b"}" * 70_000]), max_size=3),
        more_body=st.booleans(),
        disconnected=st.sampled_from([False, False, False, True]),
        response_complete=st.sampled_from([False, False, False, True]),
        waiting_for_100_continue=st.sampled_from([False, False, False, True]),
        is_paused=st.booleans(),
    )
    def test_waits_for_nothing_that_is_here(self, **given: Any) -> None:
        """Whatever has come of a body, and whoever has gone: it is received as from uvicorn."""
        through, alone = (
            asyncio.run(received(kind, **given)) for kind in (Hatch, RequestResponseCycle)
        )
        assert alone == through

    async def test_waits_for_a_peer_that_does_not_read(self) -> None:
        """While the transport's buffer is full nothing goes on."""
        out = Together(Wire())
        cycle = cycle_on(out, [])
        cycle.flow.pause_writing()
        headers = [(b"content-length", b"0")]
        sending = asyncio.create_task(
            cycle.send({"type": "http.response.start", "status": 200, "headers": headers})
        )
        await asyncio.sleep(0)
        before = out.head
        cycle.flow.resume_writing()
        await sending
        assert (b"", b"HTTP/1.1 200 OK") == (before, (out.head or b"").partition(b"\r")[0])


class TestUsualHeaders:
    def test_are_those_of_our_answers(self) -> None:
        """A length, and what goes with it, in the order in which they are given."""
        given = [DATE, (b"content-length", b"12"), (b"audit-id", b"0" * 32)]
        length, lines = usual_headers(given) or (0, b"")
        assert 12 == length
        assert [b"date", b"content-length", b"audit-id"] == [
            line.partition(b":")[0] for line in lines.splitlines()
        ]

    @pytest.mark.parametrize(
        "header",
        [
            (b"content-length", b"12"),
            (b"connection", b"close"),
            (b"transfer-encoding", b"chunked"),
            (b"Date", b"now"),
            (b"allow", b"GET\r\nx: y"),
        ],
    )
    def test_are_not_what_needs_a_look(self, header: tuple[bytes, bytes]) -> None:
        """What comes twice, speaks of the connection or is spelled otherwise is uvicorn's."""
        assert usual_headers([(b"content-length", b"12"), header]) is None

    def test_have_a_length(self) -> None:
        """Without one, an answer goes out in chunks."""
        assert usual_headers([DATE]) is None
