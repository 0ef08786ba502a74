"""Callers that hang up, over real sockets: what nobody waits for is given up."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from service.collector import CollectorTracer
from service.listener import Listener
from service.live import Live
from service.reception import Terms
from service.simulator import tls
from service.tracing import Tracer
from tests.house import TOKEN, House, Visitor
from tests.observing.spans import Kept
from tests.resilience.stage import running_clock
from tests.resilience.test_composed import count, rise

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
LONG = 30
IN_FLIGHT = "requests_in_flight"
UPSTREAM = 'upstream_in_flight{site="shop"}'


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": LOOPS[request.param]}


class Street:
    """A house with a real door, in front of a Gigya that answers when it is told to."""

    def __init__(self, directory: Path, *, secure: bool, tracer: Tracer | None = None) -> None:
        self.house = House(directory, clock=running_clock(), tracer=tracer)
        self.house.settings["upstream"] = {"deadline": LONG}
        self.go = asyncio.Event()
        self.house.simulator.knobs.turn(hold=self.go)
        self._authority = tls.Authority() if secure else None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Visitor]:
        """Open the door for as long as the block lasts."""
        secure = self._authority
        context = None if secure is None else Live(secure.certificate(("localhost",)).context())
        async with self.house.open() as visitor:
            app = visitor.application
            self.door = Listener(
                app.api,
                name="api",
                host="127.0.0.1",
                port=0,
                terms=Terms(max_in_flight=256),
                tls=context,
                turn_away=app.turn_away,
            )
            self._port = (await self.door.open()).port
            try:
                yield visitor
            finally:
                self.go.set()
                await self.door.cut()

    async def caller(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask for provider tokens; return the connection."""
        trust = None
        if self._authority is not None:
            trust = ssl.create_default_context(cadata=self._authority.pem.decode())
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=trust, server_hostname=trust and "localhost"
        )
        body = json.dumps({"uid": "user-twitter", "provider": "twitter"}).encode()
        writer.write(
            b"POST /v1/provider-tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
            % (TOKEN.encode(), len(body), body)
        )
        await writer.drain()
        return reader, writer


async def fall(visitor: Visitor, series: str) -> None:
    """Wait until a gauge is 0 again."""
    async with asyncio.timeout(LONG / 3):
        while count(visitor, series):  # noqa: ASYNC110  # a gauge tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
class TestGone:
    @pytest.mark.parametrize("politely", [False, True], ids=["reset", "closed"])
    async def test_a_call_that_nobody_waits_for_is_given_up(
        self, tmp_path: Path, *, secure: bool, politely: bool
    ) -> None:
        """When the caller hangs up its request ends, and the call to Gigya with it."""
        street = Street(tmp_path, secure=secure)
        async with street.open() as visitor:
            _, writer = await street.caller()
            await street.house.simulator.calls.arrive(1)
            assert 1 == count(visitor, IN_FLIGHT)
            (writer.close if politely else writer.transport.abort)()
            await fall(visitor, IN_FLIGHT)
            await fall(visitor, UPSTREAM)
            [record] = street.house.records()

        assert ("caller-gone", "crm") == (record["outcome"], record["caller"]["name"])
        assert set() == {"status", "released", "names_released", "fingerprints"} & record.keys()

    async def test_the_others_are_served(self, tmp_path: Path, *, secure: bool) -> None:
        """Of several who wait for one call, some leave, the first included; the rest is served."""
        street = Street(tmp_path, secure=secure)
        async with street.open() as visitor:
            callers = [await street.caller() for _ in range(4)]
            await rise(visitor, 'flights_total{event="joined"}', 3)
            for _, writer in callers[:3]:
                writer.transport.abort()
            await rise(visitor, 'requests_total{caller="crm",result="abandoned"}', 3)
            street.go.set()
            reader, writer = callers[3]
            status = await reader.readline()
            writer.transport.abort()
            outcomes = [record["outcome"] for record in street.house.records()]

        assert b"HTTP/1.1 200 OK\r\n" == status
        assert ["caller-gone"] * 3 + ["released"] == outcomes
        assert 1 == street.house.simulator.calls.total

    async def test_who_leaves_at_the_gate_was_given_its_tokens(
        self, tmp_path: Path, *, secure: bool
    ) -> None:
        """What is being recorded as released may have been received: the record stays."""
        street = Street(tmp_path, secure=secure)
        street.go.set()
        at_the_gate = asyncio.Event()
        held = list[Any]()
        async with street.open() as visitor:
            journal: Any = visitor.application.journal
            (sink,) = journal._sinks
            pledge = sink.pledge

            def hold(*submission: Any) -> None:
                held.extend(submission)
                at_the_gate.set()

            sink.pledge = hold
            _, writer = await street.caller()
            await at_the_gate.wait()
            writer.transport.abort()
            while street.door.connections:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.01)
            pledge(*held)
            await fall(visitor, IN_FLIGHT)

        assert [("released", 200)] == [(r["outcome"], r["status"]) for r in street.house.records()]

    async def test_is_noticed_in_a_trace(self, tmp_path: Path, *, secure: bool) -> None:
        """Where requests are traced the listener's word comes through, too."""
        tracer = CollectorTracer(Kept(), share=1, build="test")
        street = Street(tmp_path, secure=secure, tracer=tracer)
        async with street.open() as visitor:
            _, writer = await street.caller()
            await street.house.simulator.calls.arrive(1)
            writer.transport.abort()
            await fall(visitor, IN_FLIGHT)

        assert ["caller-gone"] == [record["outcome"] for record in street.house.records()]
