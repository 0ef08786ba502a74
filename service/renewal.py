"""A transport whose trust is renewed while it is in use: the way out, as CA files are replaced."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import httpx

from service.engine import Transport
from service.live import Live

Make = Callable[[ssl.SSLContext], Transport]


class Renewed(httpx.AsyncBaseTransport):
    """What ``make`` gives for the trust of now.

    When the trust was replaced, the next request opens a new engine; what is under way ends with
    the old one, which is closed when the last of it has.
    """

    def __init__(self, trust: Live[ssl.SSLContext], make: Make) -> None:
        self._trust = trust
        self._make = make
        self._engine: _Engine | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` by the engine of now."""
        engine = await self._current()
        engine.users += 1
        try:
            response = await engine.transport.handle_async_request(request)
        except BaseException:
            await self._leave(engine)
            raise
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _Lent(stream, lambda: self._leave(engine))
        return response

    async def aclose(self) -> None:
        """Close the engine of now; older ones are closed by their last answers."""
        if self._engine is not None:
            await self._engine.transport.aclose()

    async def _current(self) -> "_Engine":
        trust, engine = self._trust.snapshot, self._engine
        if engine is None or engine.generation != trust.generation:
            self._engine = _Engine(self._make(trust.value), trust.generation)
            if engine is not None and not engine.users:
                await engine.transport.aclose()
            return self._engine
        return engine

    async def _leave(self, engine: "_Engine") -> None:
        engine.users -= 1
        if not engine.users and engine is not self._engine:
            await engine.transport.aclose()


class _Engine:
    """A transport, the generation of the trust it was made with, and how many use it."""

    __slots__ = ("generation", "transport", "users")

    def __init__(self, transport: Transport, generation: int) -> None:
        self.transport = transport
        self.generation = generation
        self.users = 0


class _Lent(httpx.AsyncByteStream):
    """A body that tells once when it is done with."""

    def __init__(self, stream: httpx.AsyncByteStream, done: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._done: Callable[[], Awaitable[None]] | None = done

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            done, self._done = self._done, None
            if done is not None:
                await done()
