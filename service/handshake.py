"""How TLS begins on an accepted connection, and who is told when it does not.

The handshake is ours to await (``loop.start_tls``), because a server that is given a context keeps
that one for ever and drops the reason of what fails.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from service.reception import Hall
from service.tls import alert_of, refusal_reason

FAREWELL: Final = 2.0
"""Seconds a peer has to answer our end of TLS."""


class Entrance(asyncio.Protocol):
    """Holds an accepted connection, and what arrives on it, until its handshake is over."""

    transport: asyncio.Transport

    def __init__(self, begin: Callable[["Entrance"], None]) -> None:
        self._begin = begin
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # a stream's transport
        self.transport = transport
        transport.pause_reading()
        self._begin(self)

    def data_received(self, data: bytes) -> None:
        """Keep what came with the end of the handshake."""
        self._early.append(data)

    def hand_over(self, secured: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Let ``protocol`` go on with the connection."""
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        for data in self._early:
            protocol.data_received(data)


async def shake(
    entrance: Entrance, context: ssl.SSLContext, hall: Hall
) -> asyncio.Transport | None:
    """Return the secured transport, or nothing: then the peer is gone and ``hall`` was told why."""
    plain = entrance.transport
    client = plain.get_extra_info("peername")
    reason = "closed"
    try:
        with _second_handle(plain) as line:
            secured = await _start(entrance, context, hall.terms.header_timeout, line)
    except (OSError, RuntimeError) as error:
        reason = refusal_reason(error)
    else:
        if secured is not None and not secured.is_closing():
            return secured
    hall.tell("tls-refused", reason, client)
    return None


async def _start(
    entrance: Entrance, context: ssl.SSLContext, seconds: float, line: socket.socket
) -> asyncio.Transport | None:
    try:
        return await asyncio.get_running_loop().start_tls(
            entrance.transport,
            entrance,
            context,
            server_side=True,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=FAREWELL,
        )
    except OSError as error:
        with suppress(OSError):
            line.send(alert_of(error))
        raise


def _second_handle(transport: asyncio.Transport) -> socket.socket:
    """Return a duplicate of the socket: event loops close theirs before the alert is out."""
    ours: Any = transport.get_extra_info("socket")
    return socket.fromfd(ours.fileno(), ours.family, ours.type)
