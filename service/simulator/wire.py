"""How an answer leaves: whole, or broken off below HTTP.

Over sockets the protocol of ``running`` puts the transport into the scope. In process there is no
transport: what would break the connection raises ``ConnectionResetError`` instead.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from service.simulator.bodies import Answer
from service.simulator.knobs import Wire

TRANSPORT: Final = "gigya.simulator.transport"
NO_LINGER: Final = struct.pack("ii", 1, 0)


async def send_answer(answer: Answer, send: Send) -> None:
    """Send ``answer`` whole."""
    await _start(answer, send)
    await send({"type": "http.response.body", "body": answer.body})


async def _start(answer: Answer, send: Send) -> None:
    length = {"content-length": str(len(answer.body))}
    headers = [(k.encode(), v.encode("latin-1")) for k, v in {**answer.headers, **length}.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})


async def _half(answer: Answer, send: Send, *, more: bool) -> None:
    await _start(answer, send)
    half = answer.body[: len(answer.body) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": more})


def _transport(scope: Scope) -> asyncio.Transport:
    transport: asyncio.Transport | None = scope.get("state", {}).get(TRANSPORT)
    if transport is None:
        raise ConnectionResetError("the simulator broke the connection off")
    return transport


def _reset(scope: Scope) -> None:
    transport = _transport(scope)
    # Without lingering, closing sends a reset and drops what was not sent.
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()


async def _close(_: Answer, scope: Scope, __: Send) -> None:
    _transport(scope).close()


async def _reset_now(_: Answer, scope: Scope, __: Send) -> None:
    _reset(scope)


async def _reset_after_headers(answer: Answer, scope: Scope, send: Send) -> None:
    await _start(answer, send)
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    _reset(scope)


async def _reset_in_body(answer: Answer, scope: Scope, send: Send) -> None:
    await _half(answer, send, more=True)
    _reset(scope)


async def _truncate(answer: Answer, scope: Scope, send: Send) -> None:
    in_process = TRANSPORT not in scope.get("state", {})
    await _half(answer, send, more=not in_process)
    if not in_process:
        _transport(scope).close()


async def _not_http(_: Answer, scope: Scope, __: Send) -> None:
    transport = _transport(scope)
    transport.write(b"220 mail.example.com ESMTP\r\n\r\n")
    transport.close()


async def _silence(_: Answer, __: Scope, ___: Send) -> None:
    """Do nothing: ``leave`` waits for the client to go."""


_ACTS: Final[Mapping[Wire, Callable[[Answer, Scope, Send], Awaitable[Any]]]] = {
    Wire.CLOSE: _close,
    Wire.RESET: _reset_now,
    Wire.RESET_AFTER_HEADERS: _reset_after_headers,
    Wire.RESET_IN_BODY: _reset_in_body,
    Wire.TRUNCATE: _truncate,
    Wire.NOT_HTTP: _not_http,
    Wire.SILENCE: _silence,
}


async def leave(
    answer: Answer, wire: Wire | None, scope: Scope, receive: Receive, send: Send
) -> None:
    """Send ``answer``, or let happen what ``wire`` says."""
    if wire is None:
        await send_answer(answer, send)
    else:
        await _ACTS[wire](answer, scope, send)
        await gone(receive)


async def gone(receive: Receive) -> None:
    """Wait until the client is."""
    while (await receive())["type"] != "http.disconnect":
        continue
