"""One HTTP/1.1 connection (RFC 9112): uvicorn's protocol, with an end to every wait.

uvicorn answers malformed requests in the middle of other answers, and lets a peer take for ever
over a head, over a body that nobody wants, and over reading its answer. Here each state of a
connection has a timer, and what is refused gets a status line and nothing else.
"""

import asyncio
from enum import Enum
from typing import Any, Final, NoReturn
from urllib.parse import unquote

import httptools
from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from service.hatch import Cycle
from service.heads import (
    FRAMING,
    MALFORMED,
    PIPELINE,
    TOO_LARGE,
    TOO_SLOW,
    Unacceptable,
    host_fault,
    size,
    without_offer,
)
from service.model import AT_ONCE, PEER_CERTIFICATE, PEER_DISTRUSTED
from service.parting import PIPELINED, Limit, Parting
from service.reception import Hall
from service.tls import PeerCertificate

SLICE: Final = 16384
"""Octets parsed at once, so that no cap is passed by more than that."""

UNWANTED: Final = 1 << 20
"""Octets of a body taken and dropped after the answer, so that the peer gets to read it."""

FIRST_WORD: Final = 1.0
"""Seconds that a new connection has for its first request once the process is to end."""


class Reading(Enum):
    """What the next octets belong to."""

    NOTHING = "between requests"
    HEAD = "a head"
    BODY = "a body"


class Connection(Parting):
    """Serves one peer; its certificate, if any, goes into the scope as ``PEER_CERTIFICATE``.

    Where its authority is no longer trusted, ``PEER_DISTRUSTED`` goes with it.
    ``accepted_at`` is a reading of the loop's clock (by default now), ``generation`` that of the
    TLS context (by default the current one's).
    """

    cycle: Cycle

    def __init__(
        self,
        config: Config,
        hall: Hall,
        *,
        accepted_at: float | None = None,
        generation: int | None = None,
    ) -> None:
        super().__init__(config, hall)
        # uvicorn is lenient with what follows a last request; we have no use for it.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self._accepted_at = self.loop.time() if accepted_at is None else accepted_at
        age = hall.terms.max_connection_age
        self._ages_at = None if age is None else self._accepted_at + age
        self._generation = hall.tls.generation if generation is None else generation
        self._certificate: PeerCertificate | None = None
        self._reading = Reading.NOTHING
        self._fed = self._slice = self._dropped = self._begun = 0
        self._method = b""
        self._request_line = b"", b"", ""
        self._shared_scope: dict[str, Any] = {}
        self._fault: Unacceptable | None = None
        self._limit = Limit(self.loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the first head is due ``header_timeout`` after the connection was accepted."""
        super().connection_made(transport)
        self._certificate = PeerCertificate.of(transport)
        spent = self.loop.time() - self._accepted_at
        self._limit.begin(self.hall.terms.header_timeout - spent, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._limit.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take octets, at most a slice at once, so that caps hold however they arrive."""
        length = len(data)
        if length > SLICE:
            for start in range(0, length, SLICE):
                self.data_received(data[start : start + SLICE])
            return
        if self._deaf or self.transport.is_closing():
            return
        self._idleness.since = None
        begun, was, self._slice = self._begun, self._reading, length
        if was is Reading.NOTHING:
            self._reading = Reading.HEAD  # be it only the empty lines that may precede one
        self._parse(data)
        if self._reading is not Reading.NOTHING and not self._deaf:
            # Of what begins in this slice it is only known that some of it does.
            is_whole = (begun, was) == (self._begun, self._reading)
            self._fed = self._fed + length if is_whole else 1
            self._await_more()

    def shutdown(self) -> None:
        """Close now if nothing has begun, else after the answer to it.

        Whoever has just connected is about to ask, and gets ``FIRST_WORD`` seconds for it.
        """
        if self._begun or self._reading is not Reading.NOTHING:
            self._end_if_idle()
        else:
            self.loop.call_later(FIRST_WORD, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.is_busy:
            self.cycle.keep_alive = False
        elif self._reading is Reading.NOTHING and not self.transport.is_closing():
            self.hang_up()

    def on_message_begin(self) -> None:
        """Begin a head."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._reading = Reading.HEAD
        self._begun += 1
        self._fed = 0

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        version, method = self.parser.get_http_version(), self.parser.get_method()
        self._check_head(version)
        if self.parser.should_upgrade():
            self._method = method
            if method == b"CONNECT":
                self._fail(MALFORMED)
            return  # for ``_decline``
        before = self.cycle
        self.cycle = self._cycle(method, version)
        self.headers = []  # the application has its own; trailers are none (RFC 9110 §6.5.1)
        self._reading = Reading.BODY
        self._fed = self._dropped = 0
        if self._limit.due is not None:
            self._limit.stop()
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        if self._should_retire():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take part of a body, or drop it when the answer is out."""
        cycle, length = self.cycle, len(body)
        self._fed -= length
        if cycle.response_complete:
            self._dropped += length
            if self._dropped > UNWANTED:
                self.hang_up()
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request."""
        if self._reading is not Reading.BODY:
            return  # for ``_decline``
        cycle = self.cycle
        if cycle.response_complete:  # the body came after the answer
            if not self.transport.is_closing():
                self._idleness.begin()
        else:
            cycle.more_body = False
            if not cycle.message_event.is_rung:  # else by the body, as usual
                cycle.message_event.set()
        self._reading = Reading.NOTHING
        if self._limit.due is not None:
            self._limit.stop()

    def _cycle(self, method: bytes, version: str) -> Cycle:
        """Return a request whose head has been read, as its application is to see it."""
        line = method, self.url, version
        if line != self._request_line:  # most connections ask for one thing again and again
            self._request_line, self._shared_scope = line, self._describe(method, version)
        scope = {**self._shared_scope, "headers": self.headers, "state": {}}
        if self._certificate is not None and self._is_distrusted():
            scope[PEER_DISTRUSTED] = True
        cycle = scope[AT_ONCE] = Cycle(
            scope, self.transport, self.flow, self.hall, self.on_response_complete
        )
        cycle.waiting_for_100_continue = self.expect_100_continue
        cycle.keep_alive = version != "1.0" and self.parser.should_keep_alive()
        return cycle

    def _is_distrusted(self) -> bool:
        """Return whether the peer was let in under an older TLS context, and would not be now."""
        is_older = self.hall.tls.generation != self._generation
        return is_older and not self.hall.trusts(self.transport)

    def _describe(self, method: bytes, version: str) -> dict[str, Any]:
        """Return what the scopes of requests with this request line share (ASGI 3)."""
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method.decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
        }
        if self._certificate is not None:
            scope[PEER_CERTIFICATE] = self._certificate.der
        return scope

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            # Whatever a callback raised is in the error's context: it may be a fault of ours.
            fault, self._fault = self._fault or MALFORMED, None
            self._refuse(fault)

    def _decline(self, rest: bytes) -> None:
        """Read a request that offers another protocol as if it did not (RFC 9110 §7.8).

        The parser stops behind such a head, and uvicorn loses the body. Java's client offers h2c.
        """
        version = self.parser.get_http_version()
        self.parser = httptools.HttpRequestParser(self)
        self._parse(without_offer(self._method, self.url, version, self.headers) + rest)

    def _check_head(self, version: str) -> None:
        if fault := host_fault(self.headers, version):
            self._fail(fault)
        largest = self.hall.terms.max_head
        could_be_large = self._fed or self._slice > largest
        if could_be_large and size(self.url, self.headers) > largest:
            self._fail(TOO_LARGE)
        if len(self.pipeline) >= PIPELINED:
            self._fail(PIPELINE)

    def _fail(self, fault: Unacceptable) -> NoReturn:
        self._fault = fault
        raise fault

    def _refuse(self, fault: Unacceptable) -> None:
        self._limit.stop()
        self.refuse(fault, within_request=self._reading is Reading.BODY)

    def _await_more(self) -> None:
        """See that what has begun does not grow for ever, nor take for ever."""
        terms, in_head = self.hall.terms, self._reading is Reading.HEAD
        if self._fed > terms.max_head:
            self._refuse(TOO_LARGE if in_head else FRAMING)
        elif self._limit.due is None and not self.transport.is_closing():
            seconds = terms.header_timeout if in_head else terms.body_timeout
            self._limit.begin(seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self.is_ahead:  # it is we who do not read
            self._limit.begin(self.hall.terms.header_timeout, self._too_slow)
        elif self._reading is Reading.BODY:
            self._body_too_slow()
        elif self._reading is Reading.HEAD:
            self._refuse(TOO_SLOW)
        else:
            self.hang_up()  # nothing ever came

    def _body_too_slow(self) -> None:
        self.hall.tell("too-slow", "body-timeout", self.client)
        if self.is_busy:
            self.cycle.keep_alive = False  # the application has the same limit, and answers
        else:
            self.hang_up()

    def _should_retire(self) -> bool:
        """Return whether the answer is to be the last.

        It is after a handshake under another TLS context, or with a certificate that has expired
        since: ``callers`` refuses it by its date.
        """
        hall, certificate = self.hall, self._certificate
        return (
            hall.retiring
            or hall.tls.generation != self._generation
            or (certificate is not None and hall.wall() >= certificate.ends)
            or (self._ages_at is not None and self.loop.time() >= self._ages_at)
        )
