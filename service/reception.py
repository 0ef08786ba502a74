"""What the connections of one listener share: their terms, and who is told of refusals."""

import asyncio
import math
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from uvicorn.server import ServerState

from service.floods import peer_of
from service.heads import Unacceptable
from service.live import Live
from service.peer_trust import trusts


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long and how much a peer may; times in seconds, ``max_head`` in octets."""

    header_timeout: float = 10.0
    body_timeout: float = 10.0
    idle_timeout: float = 75.0
    send_timeout: float = 10.0
    max_connections: int = 2048
    max_in_flight: int | None = None
    max_connection_age: float | None = None
    max_head: int = 32768


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A connection or request that never reached the application, or was cut short.

    ``kind`` is ``tls-refused``, ``connection-refused``, ``malformed-request`` or ``too-slow``;
    ``reason`` is a slug; ``peer`` an address without port.
    """

    listener: str
    kind: str
    reason: str
    peer: str | None


Observe = Callable[[Refusal], None]


class TurnAway(Protocol):
    """Says what follows the status line where the application is not asked."""

    def __call__(self, fault: Unacceptable | None = None) -> bytes:
        """Return headers and body for a request with that fault; without one there is no room."""


def ignore(_: Refusal) -> None:
    """Observe nothing."""


Client = tuple[str, int] | None
"""Address and port of a peer, unless it has gone."""


def peer_key(client: Client) -> str:
    """Return under what a client's places are counted: what counts as one peer for floods, too."""
    return peer_of(client[0] if client else None)


class Places:
    """Who holds a place without being owed an answer, and so may have to leave it.

    Of the peer (``peer_key``) that has most such places the one goes that it left longest.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, dict[object, Callable[[], None]]] = {}

    def wait(self, who: object, peer: str, leave: Callable[[], None]) -> None:
        """Note that ``who`` waits for its peer from now on; ``leave`` ends it at once."""
        self._waiting.setdefault(peer, {})[who] = leave

    def leave(self, who: object, peer: str) -> None:
        """Note that ``who`` has work, or has gone."""
        of_peer = self._waiting.get(peer, {})
        of_peer.pop(who, None)
        if not of_peer:
            self._waiting.pop(peer, None)

    def make_room(self) -> bool:
        """Have one leave; whether there was one."""
        if not self._waiting:
            return False
        most = max(self._waiting, key=lambda peer: len(self._waiting[peer]))
        of_peer = self._waiting[most]
        leave = of_peer.pop(next(iter(of_peer)))
        if not of_peer:
            del self._waiting[most]
        leave()
        return True


class Hall(ServerState):
    """What the connections of one listener have in common.

    ``tls`` has the TLS context that is current (``None``: there is none): connections made under
    an older one are retired. ``wall`` gives UNIX seconds. ``room`` is how many requests may be
    worked on (``tasks``). While ``retiring``, every answer says ``Connection: close``. ``left`` is
    set whenever a connection has gone. Every answer begins with ``default_headers``, which are
    ``first_lines`` on the wire.
    """

    def __init__(
        self,
        *,
        name: str,
        terms: Terms,
        observe: Observe = ignore,
        tls: Live[ssl.SSLContext] | None = None,
        wall: Callable[[], float] = time.time,
        turn_away: TurnAway | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.terms = terms
        self.tls: Live[ssl.SSLContext] | Live[None] = tls or Live(None)
        self.wall = wall
        self.turn_away = turn_away
        self.room = math.inf if terms.max_in_flight is None else terms.max_in_flight
        self.retiring = False
        self.left = asyncio.Event()
        self.places = Places()
        self.first_lines = b""
        self._observe = observe

    def begin_answers_with(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Have these headers in every answer to a request that comes from now on."""
        self.default_headers = headers
        self.first_lines = b"".join([b"%b: %b\r\n" % header for header in headers])

    def trusts(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether the TLS context that is current would let the peer in."""
        context = self.tls.value
        return context is None or trusts(context, transport)

    def tell(self, kind: str, reason: str, client: Client) -> None:
        """Tell the observer, which cannot fail a request."""
        peer = client[0] if client else None
        try:
            self._observe(Refusal(listener=self.name, kind=kind, reason=reason, peer=peer))
        except Exception:  # noqa: BLE001  # observation is never worth a connection
            return
