"""Connections to one peer: so many at work at once, the others kept for a while."""

import asyncio
import ssl
from collections import defaultdict, deque
from dataclasses import field
from typing import Final

import aiohttp
import httpx
from aiohttp.client_reqrep import ConnectionKey

from service.values import value
from service.wire import Wire

SPOILED: Final = 4
"""New connections that one request gives up because something came over them before it had asked.

What came would be taken for the answer to the next request, which may be about another user.
"""


class Spoiled(httpx.ConnectError):
    """No connection to a peer is as silent as it must be; nothing was sent."""


@value(eq=False)
class Destination:
    """Where a request goes: ``dialled`` is what aiohttp finds it by, never what is sent.

    Connections of one ``key``, made with one ``trust``, lead there. ``head`` is what each request
    to there begins with: the first line and the headers that are always the same.
    """

    dialled: aiohttp.ClientRequest = field(repr=False)
    key: ConnectionKey = field(repr=False)
    trust: ssl.SSLContext = field(repr=False)
    head: bytes = field(repr=False)


class Pool:
    """Connections that aiohttp's connector opens: ``limit`` at work, each idle ``keep_alive`` s.

    The connector knows them until they are closed, and never keeps one itself. It is made in the
    loop that uses it.
    """

    def __init__(self, *, limit: int, keep_alive: float) -> None:
        self._keep_alive = keep_alive
        self._connector = aiohttp.TCPConnector(limit=0)
        self._loop = asyncio.get_running_loop()
        self._free = limit
        """Places at work that nobody has, and nobody waits for."""
        self._waiting = 0
        self._turns = asyncio.Semaphore(0)
        """Places for who waits, in turn: it costs more than a number, so the others do without."""
        self._idle: defaultdict[ConnectionKey, deque[tuple[Wire, float]]] = defaultdict(deque)
        self._sweeping: asyncio.TimerHandle | None = None

    def at_hand(self, destination: Destination) -> Wire | None:
        """Take the idle connection to ``destination`` that has been so the longest.

        Return nothing if there is none that may be used, or no place at work for it.
        """
        if not self._free:
            return None
        idle = self._idle.get(destination.key)
        while idle:
            wire, since = idle.popleft()
            if not wire.is_closing and self._loop.time() - since <= self._keep_alive:
                self._free -= 1
                return wire
            wire.close()
        return None

    async def take(self, destination: Destination, seconds: float) -> Wire:
        """Take a connection to ``destination`` within ``seconds``, idle before or new.

        Raises ``Spoiled``, and what aiohttp raises.
        """
        if not self._free:
            seconds = await self._wait(seconds)
        wire = self.at_hand(destination)
        if wire is not None:
            return wire
        self._free -= 1
        try:
            return await self._fresh(destination, seconds)
        except BaseException:
            self._leave()
            raise

    def give_back(self, destination: Destination, wire: Wire) -> None:
        """Take a connection back whose answer was read whole, for the next request if it may."""
        if wire.rest():
            self._idle[destination.key].append((wire, self._loop.time()))
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(self._keep_alive, self._sweep)
        else:
            wire.close()
        self._leave()

    def drop(self, wire: Wire) -> None:
        """Take a connection back whose exchange did not end well."""
        wire.close()
        self._leave()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._idle.clear()
        await self._connector.close()

    async def _fresh(self, destination: Destination, seconds: float) -> Wire:
        """Return a new connection, over which the peer has said nothing; raises ``Spoiled``."""
        for _ in range(SPOILED):
            wire = await self._dial(destination, seconds)
            if not wire.is_spoiled:
                return wire
            wire.close()
        raise Spoiled("the peer speaks before it is asked")

    async def _dial(self, destination: Destination, seconds: float) -> Wire:
        try:
            async with asyncio.timeout(seconds):
                dialled = await self._connector.connect(
                    destination.dialled, traces=[], timeout=aiohttp.ClientTimeout()
                )
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error
        return Wire(dialled)

    async def _wait(self, seconds: float) -> float:
        """Wait for one's turn, which is a free place then; return what is left of ``seconds``."""
        since = self._loop.time()
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await self._turns.acquire()
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error
        finally:
            self._waiting -= 1
        self._free += 1  # until whoever waited takes it, which is before anybody else can
        return max(0.0, seconds - (self._loop.time() - since))

    def _leave(self) -> None:
        """Leave a place at work to who waits, if anybody does."""
        if self._waiting:
            self._turns.release()  # if he is just going, it stays there for the next who waits
        else:
            self._free += 1

    def _sweep(self) -> None:
        """Close what has been idle too long."""
        self._sweeping = None
        latest = self._loop.time() - self._keep_alive
        for key, idle in list(self._idle.items()):
            while idle and idle[0][1] <= latest:
                wire, _ = idle.popleft()
                wire.close()
            if not idle:
                del self._idle[key]
        if self._idle:
            self._sweeping = self._loop.call_later(self._keep_alive, self._sweep)
