import asyncio
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from service.live import Live
from service.renewal import Renewed


class Body(httpx.AsyncByteStream):
    """A body that comes when it is let go."""

    def __init__(self, go: asyncio.Event) -> None:
        self.go = go

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"some"
        await self.go.wait()
        yield b" more"


class Engine(httpx.AsyncBaseTransport):
    """Knows by which trust it was made, what it was asked, and whether it was closed."""

    def __init__(self, trust: ssl.SSLContext, go: asyncio.Event) -> None:
        self.trust = trust
        self.asked = 0
        self.closed = 0
        self.error: Exception | None = None
        self._go = go

    async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return httpx.Response(200, stream=Body(self._go))

    async def aclose(self) -> None:
        self.closed += 1


class Way:
    """A renewed transport, and the engines that it opened."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.live = Live(ssl.create_default_context())
        self.engines: list[Engine] = []
        self.transport = Renewed(self.live, self.make)

    def make(self, trust: ssl.SSLContext) -> Engine:
        self.engines.append(Engine(trust, self.go))
        return self.engines[-1]

    def renew(self) -> None:
        self.live.replace(ssl.create_default_context())

    async def ask(self) -> bytes:
        response = await self.begin()
        return await self.finish(response)

    async def begin(self) -> httpx.Response:
        request = httpx.Request("GET", "https://peer.example/")
        return await self.transport.handle_async_request(request)

    async def finish(self, response: httpx.Response) -> bytes:
        try:
            return b"".join([chunk async for chunk in response.aiter_raw()])
        finally:
            await response.aclose()

    @property
    def uses(self) -> list[tuple[int, int]]:
        """How often each engine was asked and closed."""
        return [(engine.asked, engine.closed) for engine in self.engines]


class TestRenewed:
    async def test_keeps_its_engine(self) -> None:
        """As long as the trust is the same, so are the connections."""
        way = Way()

        assert [b"some more"] * 2 == [await way.ask() for _ in range(2)]
        assert [(2, 0)] == way.uses

    async def test_opens_another_for_another_trust(self) -> None:
        """What was idle is closed when the first request goes another way."""
        way = Way()
        await way.ask()
        way.renew()
        await way.ask()

        assert [(1, 1), (1, 0)] == way.uses
        assert way.live.value is way.engines[1].trust

    async def test_lets_end_what_is_under_way(self) -> None:
        """An answer that is being read is read to its end, and then the old engine is closed."""
        way = Way()
        way.go.clear()
        first, second = await way.begin(), await way.begin()
        way.renew()
        third = await way.begin()
        assert [(2, 0), (1, 0)] == way.uses
        way.go.set()

        assert [b"some more"] * 3 == [await way.finish(each) for each in (first, second, third)]
        assert [(2, 1), (1, 0)] == way.uses

    async def test_counts_failures_out(self) -> None:
        """A request that fails holds nothing open."""
        way = Way()
        way.go.clear()
        answer = await way.begin()
        way.engines[0].error = httpx.ConnectError("no")
        with pytest.raises(httpx.ConnectError):
            await way.begin()
        way.renew()
        await answer.aclose()
        await answer.aclose()
        await way.begin()

        assert [(2, 1), (1, 0)] == way.uses

    async def test_closes_what_it_has(self) -> None:
        """Closing closes the engine of now; without one there is nothing to close."""
        await Way().transport.aclose()
        way = Way()
        await way.ask()
        await way.transport.aclose()

        assert [(1, 1)] == way.uses
