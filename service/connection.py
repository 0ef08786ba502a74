"""One HTTP/1.1 connection (RFC 9112): uvicorn's protocol, with an end to every wait.

uvicorn answers malformed requests in the middle of other answers, and lets a peer take for ever
over a head, over a body that nobody wants, and over reading its answer. Here each state of a
connection has a timer, and what is refused gets a status line and nothing else.
"""

import asyncio
import ssl
import time
from enum import Enum
from http import HTTPStatus
from typing import Any, Final

from uvicorn import Config

from service.model import PEER_CERTIFICATE
from service.parting import Parting, Unacceptable
from service.reception import Hall
from service.tls import not_after

SLICE: Final = 16384
"""Octets parsed at once, so that no cap is passed by more than that."""

UNWANTED: Final = 1 << 20
"""Octets of a body taken and dropped after the answer, so that the peer gets to read it."""


class Reading(Enum):
    """What the next octets belong to."""

    NOTHING = "between requests"
    HEAD = "a head"
    BODY = "a body"


class Connection(Parting):
    """Serves one peer; its certificate, if any, goes into the scope as ``PEER_CERTIFICATE``.

    ``accepted_at`` is a reading of the loop's clock, ``generation`` that of the TLS context.
    """

    def __init__(
        self, config: Config, hall: Hall, *, accepted_at: float | None = None, generation: int = 0
    ) -> None:
        super().__init__(config, hall)
        # uvicorn is lenient with what follows a last request; we have no use for it.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self._accepted_at = self.loop.time() if accepted_at is None else accepted_at
        self._generation = generation
        self._certificate: bytes | None = None
        self._certificate_ends = float("inf")
        self._reading = Reading.HEAD
        self._octets = self._fed = self._hosts = self._dropped = 0
        self._fault: Unacceptable | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the first head is due ``header_timeout`` after the connection was accepted."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows it
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is not None and (certificate := secured.getpeercert(binary_form=True)):
            self._certificate, self._certificate_ends = certificate, not_after(certificate)
        due = self._accepted_at + self.hall.terms.header_timeout
        self._read_timer = self.loop.call_at(due, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take octets in slices, so that caps hold however they arrive."""
        for start in range(0, len(data), SLICE):
            if self._deaf or self.transport.is_closing():
                return
            self._take(data[start : start + SLICE])

    def shutdown(self) -> None:
        """Close now if nothing has begun, else after the answer to it."""
        if self.is_busy:
            self.cycle.keep_alive = False
        elif not self._has_begun:
            self.hang_up()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._reading = Reading.HEAD
        self._octets = self._fed = self._hosts = 0
        scope: Any = self.scope
        # A certificate that has expired since the handshake proves nothing any more.
        if self._certificate is not None and time.time() < self._certificate_ends:
            scope[PEER_CERTIFICATE] = self._certificate

    def on_url(self, url: bytes) -> None:
        """Take part of the target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)
        self._hosts += self.headers[-1][0] == b"host"

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        # RFC 9112 §3.2: 400 to any 1.1 request without Host, or with several.
        if self._hosts > 1 or (self._hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._fail(HTTPStatus.BAD_REQUEST, "host-header")
        super().on_headers_complete()
        self._reading = Reading.BODY
        self._dropped = 0
        self._stop_timer()
        if self._should_retire():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take part of a body, or drop it when the answer is out."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._dropped += len(body)
            if self._dropped > UNWANTED:
                self.hang_up()

    def on_message_complete(self) -> None:
        """End a request."""
        super().on_message_complete()
        self._reading = Reading.NOTHING
        self._stop_timer()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not take; ``msg`` is uvicorn's and not used."""
        del msg
        fault = self._fault or Unacceptable(HTTPStatus.BAD_REQUEST, "parse-error")
        self._refuse(fault)

    @property
    def _has_begun(self) -> bool:
        return self._reading is Reading.HEAD and self._fed + self._octets > 0

    def _take(self, data: bytes) -> None:
        was = self._reading
        if was is Reading.NOTHING:
            self._reading = Reading.HEAD  # be it only the empty lines that may precede one
        super().data_received(data)
        if self._deaf or self.transport.is_closing():
            return
        if self._reading is was is Reading.HEAD:
            self._fed += len(data)
            if self._fed > self.hall.terms.max_head:
                too_large = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                self._refuse(Unacceptable(too_large, "head-too-large"))
                return
        self._see_to_timer()

    def _count(self, octets: int) -> None:
        self._octets += octets
        if self._octets > self.hall.terms.max_head:
            self._fail(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large")

    def _fail(self, status: HTTPStatus, reason: str) -> None:
        self._fault = Unacceptable(status, reason)
        raise self._fault  # the parser stops and ``send_400_response`` is called

    def _refuse(self, fault: Unacceptable) -> None:
        self._stop_timer()
        self.refuse(fault, within_request=self._reading is Reading.BODY)

    def _see_to_timer(self) -> None:
        terms = self.hall.terms
        if self._reading is Reading.NOTHING:
            # uvicorn forgets idle connections whose body came after the answer.
            if not self.is_busy and self.timeout_keep_alive_task is None:
                later = self.loop.call_later(terms.idle_timeout, self.timeout_keep_alive_handler)
                self.timeout_keep_alive_task = later
        elif self._read_timer is None:
            in_head = self._reading is Reading.HEAD
            seconds = terms.header_timeout if in_head else terms.body_timeout
            self._read_timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _too_slow(self) -> None:
        if self._reading is Reading.BODY:
            self._body_too_slow()
        elif self.is_busy or self._has_begun:
            self._refuse(Unacceptable(HTTPStatus.REQUEST_TIMEOUT, "header-timeout"))
        else:
            self.hang_up()

    def _body_too_slow(self) -> None:
        self.hall.tell("too-slow", "body-timeout", self.client)
        if self.is_busy:
            self.cycle.keep_alive = False  # the application has the same limit, and answers
        else:
            self.hang_up()

    def _should_retire(self) -> bool:
        age = self.hall.terms.max_connection_age
        return (
            self.hall.retiring
            or self._generation != self.hall.generation()
            or time.time() >= self._certificate_ends
            or (age is not None and self.loop.time() - self._accepted_at >= age)
        )
