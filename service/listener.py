"""One listening socket: who is let in, how TLS begins, and how everybody gets out again."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from typing import Any, Final

from uvicorn import Config

from service.connection import Connection
from service.handshake import peer_of, shake
from service.live import Live
from service.reception import Client, Hall, Observe, Terms, TurnAway, ignore, peer_key

BACKLOG: Final = 2048
"""Connections that the kernel keeps for us until they are accepted."""

AT_ONCE: Final = 64
"""Connections accepted in one turn of the loop at most, so that others get theirs."""

PAUSE: Final = 0.1
"""Seconds between two attempts to accept when one failed."""

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
        wall: Callable[[], float] = time.time,
        turn_away: TurnAway | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self.terms = terms or Terms()
        self.hall = Hall(
            name=name,
            terms=self.terms,
            observe=observe,
            wall=wall,
            turn_away=turn_away,
            tls=tls,
        )
        self._config = _configure(app)
        self._beginnings: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._clock: asyncio.TimerHandle | None = None

    @property
    def asked(self) -> str:
        """Where it is to listen, as people read it."""
        return f"{self._host}:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections are open, those in their handshake included."""
        return len(self.hall.connections) + len(self._beginnings)

    async def open(self) -> Address:
        """Listen. Raises ``OSError`` when the address cannot be had."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._socket = socket.create_server(
            (self._host, self._port), family=family, backlog=BACKLOG
        )
        self._socket.setblocking(False)  # noqa: FBT003  # its only argument
        self._tell_time()
        self._accepting = asyncio.create_task(self._accept(self._socket))
        host, port, *_ = self._socket.getsockname()
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
        """Take no new connection but those that the kernel has taken for us."""
        if self._socket is None or self._accepting is None:
            return
        self._accepting.cancel()
        with suppress(OSError), self._socket as listening:
            while True:
                self._admit(listening.accept()[0])

    async def cut(self) -> None:
        """End whatever is still open, at once."""
        self.close()
        if self._clock is not None:
            self._clock.cancel()
        tasks = [*self._beginnings, *self.hall.tasks]
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

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
                self._admit(accepted)
                self._admit_more(listening)
            except OSError:  # no descriptors left, most likely: they come back
                self.hall.tell("connection-refused", "accept-failed", None)
                await asyncio.sleep(PAUSE)

    def _admit_more(self, listening: socket.socket) -> None:
        # uvloop's sock_accept takes one in a turn of the loop: too few when turns are long.
        with suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                self._admit(listening.accept()[0])

    def _admit(self, accepted: socket.socket) -> None:
        client = peer_of(accepted)
        peer = peer_key(client)
        if self.connections >= self.terms.max_connections and not self.hall.places.make_room():
            # Turned away at once, a peer can ask another replica instead of waiting in a queue.
            self.hall.tell("connection-refused", "too-many", client)
            accepted.close()
            return
        beginning = asyncio.create_task(self._begin(accepted))
        self._beginnings.add(beginning)
        beginning.add_done_callback(partial(self._begun, accepted, peer))
        self.hall.places.wait(beginning, peer, partial(self._make_room, beginning, client))

    async def _begin(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection = partial(Connection, self._config, self.hall, accepted_at=loop.time())
        accepted.setblocking(False)  # noqa: FBT003  # its only argument
        # Else a body waits 40 ms for its head's acknowledgement; asyncio sets it for few sockets.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            await loop.connect_accepted_socket(connection, accepted)
            return
        context = self._tls.snapshot
        secured = partial(connection, generation=context.generation)
        await shake(accepted, secured, context.value, self.hall)

    def _make_room(self, beginning: asyncio.Task[None], client: Client) -> None:
        self.hall.tell("connection-refused", "made-room", client)
        beginning.cancel()

    def _begun(self, accepted: socket.socket, peer: str, beginning: asyncio.Task[None]) -> None:
        self._beginnings.discard(beginning)
        self.hall.places.leave(beginning, peer)
        if beginning.cancelled() or beginning.exception() is not None:
            accepted.close()
        self.hall.left.set()

    def _tell_time(self) -> None:
        # RFC 9110 §6.6.1: whoever has a clock says the date.
        date = formatdate(self.hall.wall(), usegmt=True).encode()
        self.hall.begin_answers_with([(b"date", date)])
        self._clock = asyncio.get_running_loop().call_later(1, self._tell_time)


def _configure(app: Any) -> Config:
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
    )
    config.load()
    config.loaded_app = app
    return config
