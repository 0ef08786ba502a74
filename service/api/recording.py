"""The outermost layer: every request has an audit entry, and every way out commits it."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, Protocol

from starlette.types import Receive, Scope, Send

from service.api.answers import Endpoint, JsonAnswer
from service.api.bodies import CallerGone
from service.api.headers import AUDIT_ID, HEADERS, TRACEPARENT, by_name, headers_of, lines_of
from service.api.problems import render
from service.audit.record import CANCELLED, Entry
from service.errors import InternalError, Overloaded, RateLimited, ServiceError, ShuttingDown
from service.model import AT_ONCE, AtOnce

ENTRY: Final = "gigya_credential_proxy.entry"
"""Where a scope holds its request's audit entry."""

GONE: Final = "caller-gone"

_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Opens(Protocol):
    """A journal, as far as this layer sees it."""

    def open(self, *, method: str, peer: str | None, trace_id: str | None) -> Entry:
        """Begin the entry of one request."""


class Closes(Protocol):
    """The life of an application, as far as this layer sees it."""

    @property
    def is_closing(self) -> bool:
        """Whether every new request is refused."""


class Recording:
    """Opens the entry, sends the answer or the problem, and commits what is left.

    ``observe`` gets each entry when its answer is decided; ``unexpected`` gets what should not
    happen; neither may raise. ``is_flood`` says of each request without a caller, or over
    its caller's limits, whether it is one too many for a record of its own. Beyond
    ``most_in_flight`` requests at once the rest is shed.
    """

    def __init__(
        self,
        app: Endpoint,
        *,
        journal: Opens,
        observe: Callable[[Entry], None],
        unexpected: Callable[[Entry, Exception], None],
        lifecycle: Closes,
        most_in_flight: int,
        is_flood: Callable[[Entry], bool] = lambda _: False,
    ) -> None:
        self._app = app
        self._journal = journal
        self._observe = observe
        self._unexpected = unexpected
        self._lifecycle = lifecycle
        self._most_in_flight = most_in_flight
        self._is_flood = is_flood
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; other scopes are not ours."""
        if scope["type"] != "http":
            raise NotImplementedError(f"this application does not speak {scope['type']}")
        headers = scope[HEADERS] = by_name(scope["headers"])
        parents, client = headers.get(TRACEPARENT), scope.get("client")
        entry = scope[ENTRY] = self._journal.open(
            method=scope["method"],
            peer=client[0] if client else None,
            trace_id=None if parents is None else _trace_id(parents),
        )
        answer = None
        self.in_flight += 1
        try:
            if self._lifecycle.is_closing or self.in_flight > self._most_in_flight:
                self._turn_away()
            answer = await self._app(scope, receive)
            entry.status = status = 200
            lines = answer.lines(entry.audit_id)
            # As ``_refuse`` does: one function for both would be a call more for each release.
            at_once: AtOnce | None = scope.get(AT_ONCE)
            if at_once is None or not at_once.answer(status, lines, answer.body):
                await _send(send, status, lines, answer.body)
        except ServiceError as error:
            await self._refuse(entry, error, scope, send, instead_of=answer)
        except CallerGone:
            entry.outcome = GONE
        except asyncio.CancelledError:
            # Only the end of the process cancels. What was recorded stays what was recorded.
            if not entry.is_committed:
                await self._refuse(
                    entry, ShuttingDown(CUT), scope, send, instead_of=answer, outcome=CANCELLED
                )
            raise
        except Exception as error:  # noqa: BLE001  # the last place that can record it
            self._unexpected(entry, error)
            await self._refuse(entry, InternalError(FAULT), scope, send, instead_of=answer)
        finally:
            self.in_flight -= 1
            if not entry.is_committed:
                await self._commit(entry)
            self._observe(entry)

    def _turn_away(self) -> NoReturn:
        if self._lifecycle.is_closing:
            raise ShuttingDown("This replica is shutting down. Ask again.", retry_after=1)
        raise Overloaded(
            "This replica works on as many requests as it accepts. Ask again.",
            reason="in-flight",
            retry_after=1,
        )

    async def _refuse(
        self,
        entry: Entry,
        error: ServiceError,
        scope: Scope,
        send: Send,
        *,
        instead_of: JsonAnswer | None,
        outcome: str | None = None,
    ) -> None:
        if instead_of is not None:
            return  # half an answer is out: closing the connection is all that is left
        entry.outcome, entry.reason = outcome or error.code, error.reason
        entry.exchange = error.exchange or entry.exchange
        status, headers, body = render(error, entry.audit_id)
        entry.status = status
        await self._commit(entry)
        lines = lines_of([*headers, (AUDIT_ID, entry.audit_id.encode())])
        at_once: AtOnce | None = scope.get(AT_ONCE)
        if at_once is None or not at_once.answer(status, lines, body):
            await _send(send, status, lines, body)

    async def _commit(self, entry: Entry) -> None:
        is_refused = entry.caller is None or entry.outcome == RateLimited.code
        if is_refused and not entry.is_committed:
            entry.is_counted = entry.is_counted or self._is_flood(entry)
        await entry.commit()


CUT: Final = "This replica ended before it had the answer. Ask again."
FAULT: Final = (
    "Something went wrong in this service, and nothing was released. Give the operators the"
    " audit_id."
)


async def _send(send: Send, status: int, lines: bytes, body: bytes) -> None:
    """Send an answer in parts (ASGI 3)."""
    headers = headers_of(lines)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _trace_id(given: Sequence[bytes]) -> str | None:
    """Return the trace id of a valid ``traceparent`` (W3C Trace Context, section 3.2)."""
    found = _TRACEPARENT.fullmatch(given[0]) if len(given) == 1 else None
    if found is None or given[0].startswith(b"ff") or found[1] == b"0" * 32:
        return None
    return found[1].decode()
