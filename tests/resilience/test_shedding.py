"""What is turned away at the door: at once, at little cost, and counted."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from service.listener import Listener
from service.reception import Terms
from tests.house import AUDIT_FILE, House
from tests.listening import PATIENCE, Client, Door, Held

ANSWER = b"retry-after: 1\r\ncontent-length: 4\r\n\r\nfull"
ASK = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


@asynccontextmanager
async def full(held: Held) -> AsyncIterator[tuple[Door, Client]]:
    """Open a door behind which one request is held, and there is room for no other."""
    listener = Listener(
        held,
        name="api",
        host="127.0.0.1",
        port=0,
        terms=Terms(max_in_flight=1),
        turn_away=lambda _=None: ANSWER,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            door = Door(listener, await listener.open())
            async with door.client() as inside:
                inside.writer.write(ASK % 0)
                await held.arrived.wait()
                yield door, inside
    finally:
        await listener.cut()


class TestDoor:
    async def test_turns_away_whom_there_is_no_room_for(self) -> None:
        """The answer is 503, the application is not asked, and the connection goes on."""
        held = Held()
        async with full(held) as (door, inside), door.client() as outside:
            for number in (1, 2):
                outside.writer.write(ASK % number)
                head, body = await outside.answer()
                assert (b"http/1.1 503 service unavailable", b"full") == (head[0], body)
                assert b"retry-after: 1" in head
                assert any(line.startswith(b"date: ") for line in head)
            held.go.set()
            assert b"GET /0 " == (await inside.answer())[1]
            outside.writer.write(ASK % 3)
            assert b"GET /3 " == (await outside.answer())[1]

        assert ["/0", "/3"] == held.paths

    async def test_drops_the_body_that_comes_with_it(self) -> None:
        """What the request still sends is taken for no other request."""
        held = Held()
        async with full(held) as (door, inside), door.client() as outside:
            outside.writer.write(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET ")
            assert b"full" == (await outside.answer())[1]
            held.go.set()
            await inside.answer()
            outside.writer.write(b"/ok H" + ASK % 2)
            assert b"GET /2 " == (await outside.answer())[1]

        assert ["/0", "/2"] == held.paths

    async def test_closes_after_it_when_asked_to(self) -> None:
        """A caller that wants no other answer gets no open connection."""
        async with full(Held()) as (door, _), door.client() as outside:
            outside.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            head, _ = await outside.answer()
            assert b"connection: close" in head
            assert b"" == await outside.rest()

    async def test_has_no_body_for_a_head(self) -> None:
        """Whoever asks with HEAD would take the body for the next answer (RFC 9110 §9.3.2)."""
        async with full(Held()) as (door, _), door.client() as outside:
            outside.writer.write(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + ASK % 1)
            head = await outside.reader.readuntil(b"\r\n\r\n")
            assert head.endswith(b"content-length: 4\r\n\r\n")
            assert b"full" == (await outside.answer())[1]

    async def test_keeps_the_order_of_a_pipeline(self) -> None:
        """Requests of one connection are answered in turn, whatever becomes of them."""
        held = Held()
        async with full(held) as (door, inside):
            inside.writer.write(b"".join(ASK % number for number in range(1, 10)))
            async with door.client() as outside:
                outside.writer.write(ASK % 900)
                assert b"full" == (await outside.answer())[1]
            held.go.set()
            bodies = [(await inside.answer())[1] for _ in range(10)]

        assert b"GET /0 " == bodies[0]
        assert {b"full", *(b"GET /%d " % number for number in range(200))} >= set(bodies)


class TestShedding:
    async def test_is_a_problem_that_is_counted(self, tmp_path: Path) -> None:
        """The answer is the contract's, with an audit id; the audit has the number of them."""
        house = House(tmp_path)
        async with house.open() as visitor:
            answers = [visitor.application.turn_away() for _ in range(3)]
            metrics = (await visitor.manage("/metrics")).text
        heads, bodies = zip(*(answer.split(b"\r\n\r\n") for answer in answers), strict=True)
        problems = [json.loads(body) for body in bodies]
        text = (tmp_path / AUDIT_FILE).read_text()

        assert {"overloaded"} == {problem["code"] for problem in problems}
        assert 3 == len({problem["audit_id"] for problem in problems})
        assert all(b"audit-id: " + p["audit_id"].encode() in h.lower()
                   for h, p in zip(heads, problems, strict=True))  # fmt: skip
        assert all(b"retry-after: 1" in head.lower() for head in heads)
        assert 'credential_proxy_problems_total{code="overloaded"} 3.0' in metrics
        assert '"in-flight"' in text
