"""What is done at once is what uvicorn itself would have read and written in parts."""

import asyncio
import logging
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.api.headers import lines_of
from service.hatch import Bell, Cycle
from service.reception import Hall, Terms
from tests.listening import remembered

DATE = (b"date", b"Fri, 15 Jan 2027 08:00:00 GMT")
NAMES = st.sampled_from([b"allow", b"content-type", b"retry-after", b"x"])
VALUES = st.sampled_from([b"", b"0", b"a\tb", b"text, text", b"\xe9"])
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=3)


class Wire(asyncio.Transport):
    """Notes what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.writes = 0
        self.closed = 0
        self.is_read = True

    def write(self, data: Any) -> None:
        self.written += data
        self.writes += 1

    def close(self) -> None:
        self.closed += 1

    def is_closing(self) -> bool:
        return self.closed > 0

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def cycle_on(
    wire: Wire,
    answered: list[bool],
    kind: type[RequestResponseCycle] = Cycle,
    *,
    keep_alive: bool = True,
    method: str = "GET",
) -> RequestResponseCycle:
    """Return a cycle that waits for its application; ``answered`` gets a member at its end."""
    scope: Any = {"type": "http", "method": method}  # all it reads
    flow = FlowControl(Wire())
    if kind is Cycle:
        hall = Hall(name="api", terms=Terms())
        hall.begin_answers_with([DATE])
        cycle = Cycle(scope, wire, flow, hall, lambda: answered.append(True))
        cycle.waiting_for_100_continue, cycle.keep_alive = True, keep_alive
        return cycle
    return kind(
        scope=scope,
        transport=wire,
        flow=flow,
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
    state = remembered(cycle)
    woken = cycle.message_event.is_set()
    return {**state, "body": bytes(cycle.body), "woken": woken, "read": cycle.flow.read_paused}


async def outcome(
    kind: type[RequestResponseCycle],
    answers: list[tuple[int, list[tuple[bytes, bytes]], bytes]],
    *,
    method: str,
    keep_alive: bool,
    disconnected: bool,
) -> dict[str, Any]:
    """Return all that there is to see of answers, sent at once or by uvicorn alone."""
    answered: list[bool] = []
    cycle = cycle_on(wire := Wire(), answered, kind, keep_alive=keep_alive, method=method)
    cycle.disconnected = disconnected
    raised = []
    for status, headers, body in answers:
        told = [*headers, (b"content-length", b"%d" % len(body))]
        if isinstance(cycle, Cycle) and cycle.answer(status, lines_of(told), body):
            continue
        try:
            await cycle.send({"type": "http.response.start", "status": status, "headers": told})
            await cycle.send({"type": "http.response.body", "body": body})
        except RuntimeError as error:
            raised.append(str(error))
    return {
        **state_of(cycle),
        "written": wire.written,
        "closed": wire.closed,
        "raised": raised,
        "answered": answered,
    }


async def receive(cycle: RequestResponseCycle) -> Any:
    """Receive, without a wait where the cycle has a whole body."""
    if isinstance(cycle, Cycle):
        body = cycle.whole_body()
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
    return await cycle.receive()


async def received(kind: type[RequestResponseCycle], **given: Any) -> list[Any]:
    """Return what comes of receiving twice, and what the cycle remembers after each time.

    ``parts`` are those of a body that came before, of which ``more_body`` may be to come.
    """
    cycle = cycle_on(wire := Wire(), [], kind)
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
        seen += [
            receiving.done() and receiving.result(),
            state_of(cycle),
            wire.written,
            wire.is_read,
        ]
        receiving.cancel()
        await asyncio.wait([receiving])
    return seen


class TestCycle:
    @settings(max_examples=400)
    @given(
        answers=st.lists(
            st.tuples(st.sampled_from([200, 401, 503]), HEADERS, st.sampled_from([b"", b"four"])),
            min_size=1,
            max_size=2,
        ),
        method=st.sampled_from(["GET", "POST", "HEAD"]),
        keep_alive=st.booleans(),
        disconnected=st.sampled_from([False, False, False, True]),
    )
    def test_answers_at_once_as_in_parts(self, **given: Any) -> None:
        """Whatever is answered: the octets, the errors and the state after it are uvicorn's."""
        through, alone = (
            asyncio.run(outcome(kind, **given)) for kind in (Cycle, RequestResponseCycle)
        )
        assert alone == through

    async def test_answers_in_one_write(self) -> None:
        """Head and body leave together, which is one packet."""
        cycle = cycle_on(wire := Wire(), [])
        assert isinstance(cycle, Cycle)
        assert cycle.answer(200, b"content-length: 4\r\n", b"four")
        assert 1 == wire.writes

    async def test_does_not_answer_a_peer_that_does_not_read(self) -> None:
        """While the transport's buffer is full, to send is to wait."""
        cycle = cycle_on(wire := Wire(), [])
        assert isinstance(cycle, Cycle)
        cycle.flow.pause_writing()
        assert not cycle.answer(200, b"content-length: 0\r\n", b"")
        assert (b"", False) == (wire.written, cycle.response_started)

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
            asyncio.run(received(kind, **given)) for kind in (Cycle, RequestResponseCycle)
        )
        assert alone == through


STEPS = st.sampled_from(["set", "clear", "wait", "turn"])


class TestBell:
    @settings(max_examples=300)
    @given(steps=st.lists(STEPS, max_size=12))
    def test_wakes_whom_an_event_would_wake(self, steps: list[str]) -> None:
        """Whoever waits goes on when an event would let it, however it rings and is cleared."""

        async def woken(bell: Bell | asyncio.Event) -> list[Any]:
            waiting: list[asyncio.Task[bool]] = []
            seen: list[Any] = []
            for step in steps:
                if step == "wait":
                    waiting.append(asyncio.create_task(bell.wait()))
                elif step == "turn":
                    await asyncio.sleep(0)
                else:
                    getattr(bell, step)()
                seen.append((bell.is_set(), [task.done() and task.result() for task in waiting]))
            for task in waiting:
                task.cancel()
            return seen

        async def both() -> tuple[list[Any], list[Any]]:
            return await woken(asyncio.Event()), await woken(Bell())

        event, bell = asyncio.run(both())
        assert event == bell
