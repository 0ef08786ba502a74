"""How a connection ends: refused, idle, unread or done, always within a limit."""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context
from http import HTTPStatus
from typing import Final

from uvicorn import Config
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.heads import PIPELINE, Unacceptable
from service.model import AT_ONCE, ON_GONE
from service.reception import Hall, peer_key

LINGER: Final = 2.0
"""Seconds a peer has to take what it was sent before the connection is cut."""

ROUNDING: Final = 0.001
"""Seconds by which a timer may ring too early: uvloop counts in whole milliseconds."""

UNAVAILABLE: Final = b"HTTP/1.1 503 Service Unavailable\r\n"

NOTHING: Final = b"content-length: 0\r\n\r\n"

PIPELINED: Final = 16
"""Requests of a connection that wait while one is answered; more are not taken."""

KINDS: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "malformed-request",
    HTTPStatus.REQUEST_TIMEOUT: "too-slow",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "malformed-request",
}


class Limit:
    """A time within which something must happen; at most one call is due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.due: asyncio.TimerHandle | None = None
        """The call that is due, or was made and never taken back."""

    def begin(self, seconds: float, call: Callable[..., None], *args: object) -> None:
        """Have ``call`` made in ``seconds``, instead of what was due."""
        self.stop()
        self.due = self._loop.call_later(seconds, call, *args)

    def stop(self) -> None:
        """Take it back."""
        if self.due is not None:
            self.due.cancel()
            self.due = None


class Idleness:
    """How long nothing is asked of a connection: ``call`` is made once that is ``seconds``.

    ``since`` is a reading of the loop's clock, ``None`` while something is. The timer is not set
    anew with each request: it looks when it rings whether that is too early.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._call = call
        self._due: asyncio.TimerHandle | None = None
        self.since: float | None = None

    def begin(self) -> None:
        """Be idle from now on."""
        self.since = self._loop.time()
        if self._due is None:
            self._set(self._seconds)

    def stop(self) -> None:
        """Leave no timer behind."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _look(self) -> None:
        self._due = None
        if self.since is None:
            return
        left = self.since + self._seconds - self._loop.time()
        if left > ROUNDING:
            self._set(left)
        else:
            self._call()

    def _set(self, seconds: float) -> None:
        # In a context of its own: it outlives the request that happens to set it.
        self._due = self._loop.call_later(seconds, self._look, context=Context())


class Flow(FlowControl):
    """uvicorn's, which reads nothing more while ``is_ahead`` says that the peer is far enough."""

    def __init__(self, transport: asyncio.Transport, is_ahead: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._is_ahead = is_ahead

    def resume_reading(self) -> None:
        """Read on, unless what is read would only wait."""
        if self.read_paused and not self._is_ahead():
            super().resume_reading()


class Parting(HttpToolsProtocol):
    """uvicorn's protocol, with an end to every wait for a peer that does not read."""

    def __init__(self, config: Config, hall: Hall) -> None:
        super().__init__(config, hall, {})
        self.hall = hall
        self._peer = peer_key(None)
        self._deaf = False
        self._running: RequestResponseCycle | None = None
        self._cutting = Limit(self.loop)
        self._idleness = Idleness(self.loop, hall.terms.idle_timeout, self.hang_up)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is owed."""
        return self._running is not None and not self._running.response_complete

    @property
    def is_ahead(self) -> bool:
        """Whether requests wait for their turn; what follows them then waits in the kernel."""
        return bool(self.pipeline) and not self._deaf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; until there is a request, the place may be needed for another peer."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows it
        self.flow = Flow(self.transport, lambda: self.is_ahead)
        self._peer = peer_key(self.client)
        self.hall.places.wait(self, self._peer, self._make_room)

    def pause_writing(self) -> None:
        """Give a peer that does not read its answer ``send_timeout``."""
        super().pause_writing()
        self._cutting.begin(self.hall.terms.send_timeout, self._cut, "send-timeout")

    def resume_writing(self) -> None:
        """Forgive it, unless it was to end anyhow."""
        super().resume_writing()
        is_to_end = self._deaf and not self.is_busy
        if not is_to_end and not self.transport.is_closing():
            self._cutting.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; nothing of the connection stays."""
        super().connection_lost(exc)
        if self._running is not None:  # uvicorn tells only the last of pipelined requests
            self._running.disconnected = not self._running.response_complete
            self._running.message_event.set()
            if on_gone := self._running.scope["state"].get(ON_GONE):
                on_gone()
            _let_go(self._running)
        for waiting, _ in self.pipeline:
            _let_go(waiting)
        self._idleness.stop()
        self._cutting.stop()
        self.hall.places.leave(self, self._peer)
        self.hall.left.set()

    def on_response_complete(self) -> None:
        """Go on with the next request, or see that the peer takes its answer."""
        if self._running is not None:
            _let_go(self._running)
        if self.transport.is_closing():
            self._cutting.begin(LINGER, self._cut)
        elif self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            if self.is_busy:
                self.flow.resume_reading()  # when the next is taken: what waits is read ahead
        else:
            if self.flow.read_paused:
                self.flow.resume_reading()
            self._idleness.begin()
            self.hall.places.wait(self, self._peer, self._make_room)

    def hang_up(self) -> None:
        """Close, and do not wait long for the peer to agree."""
        self.transport.close()
        self._cutting.begin(LINGER, self._cut)

    def refuse(self, fault: Unacceptable, *, within_request: bool) -> None:
        """Answer ``fault``, but never in the middle of another answer.

        ``within_request``: the fault is in the body of a request that the application has.
        """
        self._deaf = True
        self.hall.tell(KINDS[fault.status], fault.reason, self.client)
        if fault is PIPELINE:
            self.cycle.keep_alive = False  # its answer says that nothing after it was taken
        elif self.pipeline:
            self.hang_up()
        elif within_request:
            self._withdraw(fault)
        elif not self.is_busy:
            self._answer(fault)
        else:
            self.cycle.keep_alive = False  # the request before it is answered first

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        self.hall.places.leave(self, self._peer)
        if len(self.tasks) >= self.hall.room:
            turn_away = self.hall.turn_away
            # One by one: what waits behind others of its connection would be told from in itself.
            if turn_away is not None and not self.pipeline:
                self._turn_away(cycle, turn_away())
                return
        # In a context of its own: else a request may see what the one before it has set there.
        task = self.loop.create_task(cycle.run_asgi(app), context=Context())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _turn_away(self, cycle: RequestResponseCycle, answer: bytes) -> None:
        """Answer without asking the application: whoever is busy must refuse at little cost."""
        cycle.keep_alive = cycle.keep_alive and not self.hall.retiring
        cycle.response_started = cycle.response_complete = True
        closing = b"" if cycle.keep_alive else b"connection: close\r\n"
        if cycle.scope["method"] == "HEAD":  # whose next answer the body would be taken for
            answer = _head(answer)
        self.transport.write(b"".join((UNAVAILABLE, self.hall.first_lines, closing, answer)))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _make_room(self) -> None:
        self.hall.tell("connection-refused", "made-room", self.client)
        self.transport.abort()

    def _withdraw(self, fault: Unacceptable) -> None:
        """Take the request back from the application, which sees that its peer has gone."""
        started, self.cycle.disconnected = self.cycle.response_started, True
        self.cycle.message_event.set()
        if started:
            self.hang_up()
        else:
            self._answer(fault)

    def _answer(self, fault: Unacceptable) -> None:
        line = f"HTTP/1.1 {fault.status} {fault.status.phrase}\r\n".encode()
        told = NOTHING if self.hall.turn_away is None else self.hall.turn_away(fault)
        if self.parser.get_method() == b"HEAD":
            told = _head(told)
        ours = self.hall.first_lines + b"connection: close\r\n"
        self.transport.write(b"".join((line, ours, told)))
        if not self.transport.can_write_eof():
            self.hang_up()
            return
        # To close with octets unread would reset the connection and lose the answer.
        self.transport.write_eof()
        self.flow.resume_reading()
        self._cutting.begin(LINGER, self._cut)

    def _cut(self, reason: str | None = None) -> None:
        if reason is not None:
            self.hall.tell("too-slow", reason, self.client)
        self.transport.abort()


def _let_go(cycle: RequestResponseCycle) -> None:
    """Have a scope no longer hold its cycle, which holds it: both would wait to be collected."""
    cycle.scope.pop(AT_ONCE, None)  # type: ignore[typeddict-item]  # our own


def _head(answer: bytes) -> bytes:
    """Return an answer without its body, as a HEAD request gets it (RFC 9110 §9.3.2)."""
    head, end, _ = answer.partition(b"\r\n\r\n")
    return head + end
