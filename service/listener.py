"""One listening socket: who is let in, how TLS begins, and how everybody gets out again."""

import asyncio
import ssl
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final

from uvicorn import Config

from service.connection import Connection
from service.handshake import Entrance, shake
from service.live import Live
from service.reception import Hall, Observe, Terms, ignore

BACKLOG: Final = 2048
"""Connections that the kernel keeps for us until they are accepted."""

GRACE: Final = 1.0
"""Seconds that cancelled work has to notice."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens; the port is the real one, also where 0 was asked."""

    host: str
    port: int


class Listener:
    """Serves an ASGI application on one address, plain or over the TLS context that is current."""

    def __init__(
        self,
        app: Any,
        *,
        name: str,
        host: str,
        port: int,
        terms: Terms | None = None,
        tls: Live[ssl.SSLContext] | None = None,
        observe: Observe = ignore,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self.terms = terms or Terms()
        generation = (lambda: tls.generation) if tls else (lambda: 0)
        self.hall = Hall(name=name, terms=self.terms, observe=observe, generation=generation)
        self._config = _configure(app, self.terms)
        self._handshakes: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._clock: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many connections are open, those in their handshake included."""
        return len(self.hall.connections) + len(self._handshakes)

    async def open(self) -> Address:
        """Listen. Raises ``OSError`` when the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._receive, self._host, self._port, backlog=BACKLOG
        )
        self._tell_time()
        host, port, *_ = self._server.sockets[0].getsockname()
        return Address(host, port)

    def retire(self) -> None:
        """Have every answer from now on close its connection, so that callers move elsewhere."""
        self.hall.retiring = True

    async def drain(self, seconds: float) -> bool:
        """Take no new connection, and return whether all work was done within ``seconds``."""
        self.retire()
        self.close()
        for connection in list(self.hall.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(seconds):
                await self._emptied()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Take no new connection."""
        if self._server is not None:
            self._server.close()

    async def cut(self) -> None:
        """End whatever is still open, at once."""
        self.close()
        if self._clock is not None:
            self._clock.cancel()
        tasks = [*self._handshakes, *self.hall.tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
        for connection in list(self.hall.connections):
            connection.transport.abort()

    async def _emptied(self) -> None:
        while self.connections:
            self.hall.left.clear()
            await self.hall.left.wait()
        if self.hall.tasks:
            await asyncio.wait(set(self.hall.tasks))

    def _receive(self) -> asyncio.Protocol:
        if self.connections >= self.terms.max_connections:
            return _Full(self.hall)
        if self._tls is None:
            return Connection(self._config, self.hall)
        return Entrance(self._begin)

    def _begin(self, entrance: Entrance) -> None:
        handshake = asyncio.create_task(self._shake(entrance))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._shaken)

    async def _shake(self, entrance: Entrance) -> None:
        assert self._tls is not None  # noqa: S101  # there are no entrances without
        accepted_at = asyncio.get_running_loop().time()
        context = self._tls.snapshot
        secured = await shake(entrance, context.value, self.hall)
        if secured is not None:
            connection = Connection(
                self._config, self.hall, accepted_at=accepted_at, generation=context.generation
            )
            entrance.hand_over(secured, connection)

    def _shaken(self, handshake: asyncio.Task[None]) -> None:
        self._handshakes.discard(handshake)
        self.hall.left.set()

    def _tell_time(self) -> None:
        # RFC 9110 §6.6.1: whoever has a clock says the date.
        self.hall.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(1, self._tell_time)


class _Full(asyncio.Protocol):
    """Turns a peer away at once: it can ask another replica instead of waiting in a queue."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._hall.tell("connection-refused", "too-many", transport.get_extra_info("peername"))
        transport.close()


def _configure(app: Any, terms: Terms) -> Config:
    config = Config(
        app,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",  # what matters is told to the observer, without input
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=terms.idle_timeout,  # type: ignore[arg-type]  # fractions are fine
    )
    config.load()
    config.loaded_app = app
    return config
