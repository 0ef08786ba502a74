"""The simulator on a real port: in this loop, or in a thread with a loop of its own."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.simulator.wire import TRANSPORT, gone

T = TypeVar("T")

IDLE: Final = 75
"""Seconds that an idle connection is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the simulator listens."""

    host: str
    port: int
    scheme: str

    @property
    def url(self) -> str:
        """The address as a URL without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class _Protocol(HttpToolsProtocol):
    """Uvicorn's protocol, which also hands the application its transport to break."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][TRANSPORT] = self.transport


@asynccontextmanager
async def serving(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Address]:
    """Serve ``app`` from the moment this yields until it is left; port 0 is a free one.

    Leaving closes the port, cuts every connection and cancels what is being served.
    """
    state = ServerState()
    config = Config(
        _quiet(app), log_config=None, lifespan="off", ws="none", timeout_keep_alive=IDLE,
        server_header=False, date_header=False, proxy_headers=False,
    )  # fmt: skip
    loop = asyncio.get_running_loop()

    def protocol() -> asyncio.Protocol:
        return _Protocol(config, state, {}, loop)

    server = await loop.create_server(protocol, host, port, ssl=context)
    try:
        bound = server.sockets[0].getsockname()[1]
        yield Address(host=host, port=bound, scheme="https" if context else "http")
    finally:
        server.close()
        await _end(state)
        await server.wait_closed()


async def _end(state: ServerState) -> None:
    for connection in list(state.connections):
        connection.transport.abort()
    tasks = list(state.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _quiet(app: ASGIApp) -> ASGIApp:
    """Let a call that is cancelled end when its connection does: uvicorn logs any other end."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            await gone(receive)

    return served


@contextmanager
def serving_in_thread(app: ASGIApp, **options: Any) -> Iterator[Address]:
    """Serve ``app`` in a thread, for callers that have no loop; options are ``serving``'s."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gigya-simulator", daemon=True)
    thread.start()

    def wait(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    running = serving(app, **options)
    try:
        address = wait(_entered(running))
        try:
            yield address
        finally:
            wait(_left(running))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _entered(running: AbstractAsyncContextManager[T]) -> T:
    return await running.__aenter__()


async def _left(running: AbstractAsyncContextManager[Any]) -> None:
    await running.__aexit__(None, None, None)
