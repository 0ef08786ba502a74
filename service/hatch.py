"""What one request's application receives from and sends to: uvicorn's cycle, and its usual case.

uvicorn writes head and body apart, and looks at each header by itself. Nearly every answer is of
one kind, a few headers that are known and a body of a known length: that is written here at once.
So is nearly every request whole before its application asks for it, which then need not wait.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final

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
        if self.head:
            self._transport.write(self.head + data)
            self.head = None
        elif self.head is None or data == CONTINUE:
            self._transport.write(data)
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


class Cycle(RequestResponseCycle):
    """One request, as its application sees it through ``receive`` and ``send``."""

    def whole_body(self) -> bytes | None:
        """Return the body, all of which is here, as ``receive`` would at once.

        ``None`` where there is more to that than to return it: an empty one, or one that somebody
        has taken, a peer that has gone or waits to be asked for it, or reading that is to go on.
        """
        if (
            not self.body
            or self.disconnected
            or self.response_complete
            or self.waiting_for_100_continue
            or self.flow.read_paused
        ):
            return None
        body = bytes(self.body)
        self.body.clear()
        self.message_event.clear()
        return body


class Hatch(Cycle):
    """One whose answer leaves in one write, if it is a usual one.

    What is unusual is left to uvicorn, which finds itself as if it had done all the rest. It is not
    for HEAD, whose answers have no body to wait for.
    """

    transport: Together  # type: ignore[assignment]  # all that uvicorn calls of one

    async def send(self, message: Any) -> None:
        """Take the next part of the answer; raises as uvicorn does."""
        if self.flow.write_paused or self.disconnected:
            is_taken = False
        elif self.response_started:
            is_taken = self._ends(message)
        else:
            is_taken = self._begins(message)
        if not is_taken:
            await super().send(message)

    def _begins(self, message: Any) -> bool:
        """Write the head of a usual answer; return whether it is one."""
        if message["type"] != "http.response.start":
            return False
        usual = usual_headers([*self.default_headers, *message.get("headers", ())])
        if usual is None:
            return False
        self.expected_content_length, lines = usual
        self.chunked_encoding = self.waiting_for_100_continue = False
        self.response_started = True
        end = END if self.keep_alive else CLOSING_END
        self.transport.head = STATUS_LINE[message["status"]] + lines + end
        return True

    def _ends(self, message: Any) -> bool:
        """Write a body that is the whole rest of what was announced; return whether it is."""
        body = message.get("body", b"")
        if (
            message["type"] != "http.response.body"
            or message.get("more_body")
            or self.response_complete
            or self.chunked_encoding is not False
            or len(body) != self.expected_content_length
        ):
            return False
        self.transport.write(body)
        self.expected_content_length = 0
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True
