"""What one request's application receives from and sends to: uvicorn's cycle, and its usual case.

Nearly every request is whole before its application asks for it, which then need not wait. So is
nearly every answer when it is sent: uvicorn would look at each header by itself, and write head and
body apart, which is one more call into the kernel and one more packet.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.reception import Hall

END: Final = b"\r\n"
CLOSING_END: Final = b"connection: close\r\n\r\n"


class Bell:
    """Does for a cycle what an ``asyncio.Event`` does, and has one only while somebody waits."""

    is_rung = False
    """What ``is_set`` returns, to be read without a call."""
    _event: asyncio.Event | None = None

    def is_set(self) -> bool:
        """Return whether it has rung since it was last taken notice of."""
        return self.is_rung

    def set(self) -> None:
        """Wake whoever waits, and who is to wait next."""
        self.is_rung = True
        if self._event is not None:
            self._event.set()
            self._event = None

    def clear(self) -> None:
        """Take notice of it."""
        self.is_rung = False

    async def wait(self) -> bool:
        """Return, with ``True``, once it rings or has rung."""
        if not self.is_rung:
            self._event = self._event or asyncio.Event()
            await self._event.wait()
        return True


class Cycle(RequestResponseCycle):
    """One request, as its application sees it through ``receive``, ``send`` and ``AtOnce``.

    What is unusual is left to uvicorn, which finds itself as if it had done all the rest.
    """

    # As each begins: only what turns out otherwise is set in a cycle itself.
    logger = logging.getLogger("uvicorn.error")
    access_logger = logging.getLogger("uvicorn.access")
    access_log = False  # each request has a line of ours
    disconnected = response_started = response_complete = waiting_for_100_continue = False
    keep_alive = more_body = True
    chunked_encoding: bool | None = None
    expected_content_length = 0
    message_event: Bell  # type: ignore[assignment]  # all that uvicorn asks of an event

    def __init__(  # not uvicorn's own, which is told what is the same for each request
        self,
        scope: Any,  # with what uvicorn's type has not
        transport: asyncio.Transport,
        flow: FlowControl,
        hall: Hall,
        on_response: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.transport = transport
        self.flow = flow
        self.default_headers = hall.default_headers
        self._first_lines = hall.first_lines
        self.on_response = on_response
        self.message_event = Bell()
        self.body = bytearray()

    def whole_body(self) -> bytes | None:
        """Return the body if all of it is here, as ``receive`` would at once.

        ``None`` where there is more to that than to return it: an empty one, or one that somebody
        has taken, a peer that has gone or waits to be asked for it, or reading that is to go on.
        """
        if (
            self.more_body
            or not self.body
            or self.disconnected
            or self.response_complete
            or self.waiting_for_100_continue
            or self.flow.read_paused
        ):
            return None
        body = bytes(self.body)
        self.body.clear()
        self.message_event.is_rung = False  # ``clear``, without a call for each request
        return body

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """Write an answer whole, as ``send`` would in two parts, and return whether it is written.

        It is not where there is more to that than to write it: a peer that has gone or does not
        read, an answer that has begun, or one to HEAD, which has no body.
        """
        if (
            self.response_started
            or self.disconnected
            or self.flow.write_paused
            or self.scope["method"] == "HEAD"
        ):
            return False
        end = END if self.keep_alive else CLOSING_END
        self.transport.write(b"".join((STATUS_LINE[status], self._first_lines, lines, end, body)))
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = self.chunked_encoding = False
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True
