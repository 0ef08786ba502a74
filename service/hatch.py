"""What one request's application receives from and sends to: uvicorn's cycle, and its usual case.

Nearly every request is whole before its application asks for it, which then need not wait. So is
nearly every answer when it is sent: uvicorn would look at each header by itself, and write head and
body apart, which is one more call into the kernel and one more packet.
"""

from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

END: Final = b"\r\n"
CLOSING_END: Final = b"connection: close\r\n\r\n"


class Cycle(RequestResponseCycle):
    """One request, as its application sees it through ``receive``, ``send`` and ``AtOnce``.

    What is unusual is left to uvicorn, which finds itself as if it had done all the rest.
    """

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
        self.message_event.clear()
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
        ours = [b"%b: %b\r\n" % header for header in self.default_headers]
        end = END if self.keep_alive else CLOSING_END
        self.transport.write(b"".join((STATUS_LINE[status], *ours, lines, end, body)))
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = self.chunked_encoding = False
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True
