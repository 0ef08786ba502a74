"""What the process owes whoever starts and stops it."""

import asyncio
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from service.listener import Address, Listener
from service.server import (
    CUT_SHORT,
    DRAINED,
    Hooks,
    Server,
    Shutdown,
    run_process,
)
from tests.listening import GET, PATIENCE, Asgi, Held, echo
from tests.virtual_time import VIRTUAL

LONG = 3600.0
"""Seconds that no test waits for."""


@dataclass
class Story:
    """What happened, in order."""

    events: list[str] = field(default_factory=list)

    def tells(self, event: str) -> Callable[[], None]:
        return lambda: self.events.append(event)

    def closer(self, name: str, error: Exception | None = None) -> Callable[[], Any]:
        async def close() -> None:
            self.events.append(name)
            if error is not None:
                raise error

        return close

    def hooks(self, **more: Any) -> Hooks:
        return Hooks(
            started=lambda _: self.events.append("started"),
            draining=self.tells("draining"),
            failed=lambda name: self.events.append(f"failed: {name}"),
            **{"closers": [self.closer("journal"), self.closer("metrics")], **more},
        )


def listener(app: Asgi = echo, port: int = 0) -> Listener:
    return Listener(app, name="api", host="127.0.0.1", port=port)


@asynccontextmanager
async def connected(address: Address, request: bytes = GET) -> AsyncIterator[asyncio.StreamReader]:
    """Send one request."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(request)
    try:
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


class TestServer:
    async def test_tells_where_it_listens(self) -> None:
        """With port 0 the real ports are told, and both listeners answer."""
        server = Server(listener(), listener(), shutdown=Shutdown(delay=0))
        running = asyncio.create_task(server.run(signals=False))
        addresses = await server.started()
        for address in (addresses.api, addresses.management):
            async with connected(address) as reader:
                assert b"200" in await reader.readline()
        server.stop()
        assert DRAINED == await running

    async def test_ends_in_order(self) -> None:
        """Readiness fails first; what has begun is answered; then the closers run."""
        story, held = Story(), Held()

        async def told(scope: Any, receive: Any, send: Any) -> None:
            await held(scope, receive, send)
            story.events.append("answered")

        server = Server(
            listener(told), listener(), shutdown=Shutdown(delay=0, drain=LONG), hooks=story.hooks()
        )
        running = asyncio.create_task(server.run(signals=False))
        async with connected((await server.started()).api) as reader:
            await held.arrived.wait()
            server.stop()
            held.go.set()
            assert b"200" in await reader.readline()
            await reader.read()
        assert DRAINED == await running
        assert ["started", "draining", "answered", "journal", "metrics"] == story.events

    async def test_refuses_what_is_new_after_the_delay(self) -> None:
        """What begins during ``delay`` is served; after it the application hears to refuse."""
        story, held = Story(), Held()
        refusing = asyncio.Event()
        hooks = story.hooks(refusing=refusing.set)
        shutdown = Shutdown(delay=0, drain=LONG)
        server = Server(listener(held), listener(), shutdown=shutdown, hooks=hooks)
        running = asyncio.create_task(server.run(signals=False))
        async with connected((await server.started()).api) as reader:
            await held.arrived.wait()
            assert not refusing.is_set()
            server.stop()
            await refusing.wait()
            held.go.set()
            assert b"200" in await reader.readline()
        assert DRAINED == await running

    async def test_serves_while_it_is_delayed(self) -> None:
        """During ``delay`` requests are still served, and each answer ends its connection."""
        draining = asyncio.Event()
        hooks = Hooks(draining=draining.set)
        server = Server(listener(), listener(), shutdown=Shutdown(delay=LONG), hooks=hooks)
        running = asyncio.create_task(server.run(signals=False))
        addresses = await server.started()
        server.stop()
        await draining.wait()
        async with connected(addresses.api) as reader:
            assert b"connection: close" in await reader.read()
        server.stop()
        assert CUT_SHORT == await running

    async def test_loses_no_request_under_load(self) -> None:
        """During ``delay`` every request is answered, and every caller is told to go elsewhere."""
        loaded, load = asyncio.Event(), 8

        async def call(address: Address) -> int:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            answers, head = 0, b""
            while b"connection: close" not in head:
                writer.write(GET)
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"GET / " == await reader.readexactly(6)
                answers += 1
                if answers == load:
                    loaded.set()
            writer.close()
            await writer.wait_closed()
            return answers

        server = Server(listener(), listener(), shutdown=Shutdown(delay=LONG))
        running = asyncio.create_task(server.run(signals=False))
        addresses = await server.started()
        calls = [asyncio.create_task(call(addresses.api)) for _ in range(load)]
        await loaded.wait()
        server.stop()
        answers = await asyncio.gather(*calls)
        server.stop()
        await running
        assert max(answers) >= load

    async def test_answers_health_while_it_drains(self) -> None:
        """The management port is the last to close, and its connections are kept."""
        held = Held()
        server = Server(listener(held), listener(), shutdown=Shutdown(delay=0, drain=LONG))
        running = asyncio.create_task(server.run(signals=False))
        addresses = await server.started()
        async with connected(addresses.api) as reader:
            await held.arrived.wait()
            server.stop()
            async with connected(addresses.management) as health:
                assert b"200" in await health.readline()
            held.go.set()
            await reader.read()
        assert DRAINED == await running

    async def test_ends_at_once_when_told_twice(self) -> None:
        """A second stop cancels what is open; the closers run all the same; the status is 1."""
        story, held = Story(), Held()
        server = Server(
            listener(held), listener(), shutdown=Shutdown(delay=0, drain=LONG), hooks=story.hooks()
        )
        running = asyncio.create_task(server.run(signals=False))
        async with connected((await server.started()).api) as reader:
            await held.arrived.wait()
            server.stop()
            server.stop()
            assert CUT_SHORT == await running
            assert held.cancelled.is_set()
            await reader.read()
        assert ["started", "draining", "failed: drain", "journal", "metrics"] == story.events

    async def test_cancels_what_is_over_the_limit(self) -> None:
        """A request that is not done within ``drain`` is cancelled, and told; the status is 0."""
        story, held = Story(), Held()
        server = Server(
            listener(held), listener(), shutdown=Shutdown(delay=0, drain=0.01), hooks=story.hooks()
        )
        running = asyncio.create_task(server.run(signals=False))
        async with connected((await server.started()).api) as reader:
            await held.arrived.wait()
            server.stop()
            assert DRAINED == await running
            await reader.read()
        assert "failed: drain" in story.events

    async def test_runs_every_closer(self) -> None:
        """A closer that fails does not keep the others from running; its kind is told."""
        story = Story()
        closers = [story.closer("journal", OSError("disk")), story.closer("metrics")]
        server = Server(
            listener(),
            listener(),
            shutdown=Shutdown(delay=0),
            hooks=story.hooks(closers=closers),
        )
        running = asyncio.create_task(server.run(signals=False))
        await server.started()
        server.stop()
        assert DRAINED == await running
        assert ["journal", "failed: OSError", "metrics"] == story.events[2:]

    async def test_cleans_up_when_a_port_is_taken(self) -> None:
        """A listener that cannot be opened is raised; the other is closed and closers run."""
        story = Story()
        first = listener()
        taken = await first.open()
        second = listener()
        server = Server(listener(port=taken.port), second, hooks=story.hooks())
        with pytest.raises(OSError, match="in use"):
            await server.run(signals=False)
        with pytest.raises(OSError, match="in use"):
            await server.started()
        await first.cut()
        assert ["journal", "metrics"] == story.events
        assert 0 == second.connections

    async def test_cleans_up_when_cancelled(self) -> None:
        """In a demo or a test the server may be a task: cancelled, it leaves nothing open."""
        story = Story()
        server = Server(listener(), listener(), hooks=story.hooks())
        running = asyncio.create_task(server.run(signals=False))
        addresses = await server.started()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ["started", "journal", "metrics"] == story.events
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(addresses.api.host, addresses.api.port)


class TestPatience:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_gives_each_closer_its_time(self) -> None:
        """A closer that hangs is left after five seconds, and told."""
        story = Story()

        async def hang() -> None:
            await asyncio.sleep(LONG)

        hooks = story.hooks(closers=[hang, story.closer("metrics")])
        server = Server(listener(), listener(), hooks=hooks)
        began = asyncio.get_running_loop().time()
        await server._close()
        assert ["failed: TimeoutError", "metrics"] == story.events
        assert 5.0 == asyncio.get_running_loop().time() - began


@dataclass
class Process:
    """A server in a process of its own."""

    child: asyncio.subprocess.Process

    async def address(self) -> Address:
        """Wait until it listens, and return where."""
        return Address("127.0.0.1", int((await self.line()).removeprefix("started ")))

    async def line(self) -> str:
        """Return the next line that it prints."""
        assert self.child.stdout is not None
        return (await self.child.stdout.readline()).decode().strip()

    async def lines(self) -> list[str]:
        """Return what it prints until it ends."""
        assert self.child.stdout is not None
        return (await self.child.stdout.read()).decode().split("\n")[:-1]


@asynccontextmanager
async def process(*, delay: float = 0) -> AsyncIterator[Process]:
    """Start ``server_process``; everything in the block must happen in good time."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.server_process", str(delay)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    server = Process(child)
    try:
        async with asyncio.timeout(3 * PATIENCE):
            assert "dumpable 0" == await server.line()
            yield server
            await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


class TestSignals:
    @pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
    async def test_exits_0(self, ending: signal.Signals) -> None:
        """SIGTERM or SIGINT answers what has begun, runs the closers, and exits 0."""
        async with process() as server, connected(await server.address()) as reader:
            assert "arrived" == await server.line()
            server.child.send_signal(ending)
            assert b"done" in await reader.read()
            assert ["draining", "closed"] == await server.lines()
        assert 0 == server.child.returncode

    async def test_exits_1_at_a_second_signal(self) -> None:
        """A second signal ends it at once; the closers run all the same."""
        for_ever = GET.replace(b"/", b"/for-ever", 1)
        async with process() as server, connected(await server.address(), for_ever) as reader:
            assert "arrived" == await server.line()
            server.child.send_signal(signal.SIGTERM)
            assert "draining" == await server.line()
            server.child.send_signal(signal.SIGTERM)
            assert ["closed"] == await server.lines()
            await reader.read()
        assert 1 == server.child.returncode

    async def test_cuts_the_delay_short(self) -> None:
        """A second signal does not wait for the delay either."""
        async with process(delay=LONG) as server:
            await server.address()
            server.child.send_signal(signal.SIGTERM)
            assert "draining" == await server.line()
            server.child.send_signal(signal.SIGINT)
            assert ["closed"] == await server.lines()
        assert 1 == server.child.returncode

    async def test_reloads(self) -> None:
        """SIGHUP asks for a reload, and ends nothing."""
        async with process() as server:
            address = await server.address()
            server.child.send_signal(signal.SIGHUP)
            assert "reload" == await server.line()
            async with connected(address, GET.replace(b"/", b"/at-once", 1)) as reader:
                assert b"200" in await reader.readline()
            server.child.send_signal(signal.SIGTERM)
            await server.lines()
        assert 0 == server.child.returncode

    async def test_leaves_no_core(self) -> None:
        """No core file is written, whatever the limit of who started the process."""
        async with process() as server:
            await server.address()
            limits = resource.prlimit(server.child.pid, resource.RLIMIT_CORE)
            server.child.send_signal(signal.SIGTERM)
            await server.lines()
        assert (0, 0) == limits


class TestRunProcess:
    def test_runs_on_uvloop(self) -> None:
        """Where uvloop is installed, it is what runs."""

        async def main() -> int:
            assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
            return 78

        assert 78 == run_process(main)
