"""What stands between one request's application and uvicorn: how its answer leaves.

uvicorn writes head and body apart, and looks at each header by itself. Nearly every answer is of
one kind, a few headers that are known and a body of a known length: that is written here at once.
"""

import asyncio
import re
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

END: Final = b"\r\n\r\n"
CLOSING_END: Final = b"\r\nconnection: close\r\n\r\n"

USUAL: Final = frozenset(
    {
        b"allow",
        b"audit-id",
        b"cache-control",
        b"content-length",
        b"content-type",
        b"date",
        b"retry-after",
        b"www-authenticate",
    }
)
"""Names of the headers of a usual answer; none but its length says how it is framed."""

_NOT_IN_A_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def usual_headers(headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, bytes] | None:
    """Return the length of the body and the headers' lines, unless they are unusual.

    Usual is each of ``USUAL`` at most once, and a length among them. ``None`` says nothing of the
    others: they may be good or bad.
    """
    values = dict(headers)
    length = values.get(b"content-length", b"")
    is_usual = len(values) == len(headers) and values.keys() <= USUAL and length.isdigit()
    if not is_usual or _NOT_IN_A_VALUE.search(b"".join(values.values())):
        return None
    return int(length), b"\r\n".join(map(b": ".join, values.items()))


class Together:
    """What one answer is written to: its head leaves with its body, in one write to the socket.

    uvicorn writes them apart: one more call into the kernel, and one more packet, for each answer.
    ``head`` is what is kept: nothing yet, or nothing any more (``None``).
    """

    __slots__ = ("_transport", "head")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.head: bytes | None = b""

    def write(self, data: bytes) -> None:
        """Write ``data``, but keep the head until there is more."""
        if self.head is None or data == CONTINUE:
            self._transport.write(data)
        elif self.head:
            head, self.head = self.head, None
            self._transport.write(head + data)
        else:
            self.head = data

    def close(self) -> None:
        """Close, with what was kept written, as for an answer that broke off."""
        if self.head:
            self._transport.write(self.head)
            self.head = None
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is about to end."""
        return self._transport.is_closing()


class Hatch:
    """The application of one request, which gives its answer out through here.

    What is unusual is left to uvicorn's ``cycle``, which writes to ``out`` as well, and finds
    itself as if it had done all the rest. It is not for HEAD, whose answers have no body.
    """

    __slots__ = ("_app", "_cycle", "_out")

    def __init__(self, app: ASGI3Application, cycle: RequestResponseCycle, out: Together) -> None:
        self._app = app
        self._cycle = cycle
        self._out = out

    def __call__(self, scope: Any, receive: Any, _: Any) -> Awaitable[None]:
        """Serve the request."""
        return self._app(scope, receive, self.send)

    async def send(self, message: Any) -> None:
        """Take the next part of the answer; raises as uvicorn does."""
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.disconnected:
            is_taken = False
        elif cycle.response_started:
            is_taken = self._ends(message)
        else:
            is_taken = self._begins(message)
        if not is_taken:
            await cycle.send(message)

    def _begins(self, message: Any) -> bool:
        """Write the head of a usual answer; return whether it is one."""
        cycle = self._cycle
        if message["type"] != "http.response.start":
            return False
        usual = usual_headers([*cycle.default_headers, *message.get("headers", ())])
        if usual is None:
            return False
        cycle.expected_content_length, lines = usual
        cycle.chunked_encoding = cycle.waiting_for_100_continue = False
        cycle.response_started = True
        end = END if cycle.keep_alive else CLOSING_END
        self._out.head = STATUS_LINE[message["status"]] + lines + end
        return True

    def _ends(self, message: Any) -> bool:
        """Write a body that is the whole rest of what was announced; return whether it is."""
        cycle = self._cycle
        if message["type"] != "http.response.body" or message.get("more_body", False):
            return False
        body = message.get("body", b"")
        is_rest = cycle.chunked_encoding is False and len(body) == cycle.expected_content_length
        if cycle.response_complete or not is_rest:
            return False
        self._out.write(body)
        cycle.expected_content_length = 0
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._out.close()
        cycle.on_response()
        return True
