"""The endpoints, each of which tells the whole story of its request."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.answers import JsonAnswer, release_answer
from service.api.bodies import read_body
from service.api.deadlines import early_deadline_of, require_good_timeout
from service.api.recording import ENTRY
from service.api.requests import parse, require_json
from service.audit.record import RELEASED, Entry
from service.broker import Broker
from service.deadline import Clock, Deadline
from service.errors import MethodNotAllowed, NotFound
from service.limits import Limits
from service.model import Caller

ANSWERED: Final = "answered"
"""The outcome of a request that asks for no token and gets its answer."""

Identify = Callable[[Scope, Deadline], Awaitable[Caller]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Describes(Protocol):
    """What the two tables show."""

    def providers(self) -> Any:
        """Return the mapping table."""

    def grants(self, caller: Caller) -> Any:
        """Return what ``caller`` may ask for."""


class Api:
    """The application of the API port, without its audit layer."""

    def __init__(
        self,
        *,
        identify: Identify,
        broker: Broker,
        limits: Limits,
        describes: Describes,
        openapi: Mapping[str, Any],
        clock: Clock,
        deadline: float,
        body_timeout: float,
    ) -> None:
        self._identify = identify
        self._broker = broker
        self._limits = limits
        self._describes = describes
        self._openapi = openapi
        self._clock = clock
        self._deadline = deadline
        self._body_timeout = body_timeout

    def app(self) -> ASGIApp:
        """Return the router over the table of routes."""
        table: dict[str, dict[str, Endpoint]] = {
            "/v1/provider-tokens": {"POST": self.provider_tokens},
            "/v1/providers": {"GET": self.providers},
            "/v1/grants": {"GET": self.grants},
            "/openapi.json": {"GET": self.openapi},
        }
        routes = [Route(path, _Methods(path, methods)) for path, methods in table.items()]
        return Router(routes, redirect_slashes=False, default=_not_found)

    async def provider_tokens(self, request: Request) -> Response:
        """Release provider tokens: who, how much, what; then record; only then reveal."""
        entry = _entry(request)
        deadline = entry.deadline = self._deadline_of(request)
        caller = entry.caller = await self._identify(request.scope, deadline)
        with self._limits.admit(caller.name):
            content_types = request.headers.getlist("content-type")
            require_json(content_types)
            body = await read_body(
                request.scope,
                request.receive,
                seconds=min(self._body_timeout, deadline.remaining()),
            )
            require_good_timeout(request.scope)  # a mistake like those in the body
            asked = parse(content_types, body)
            entry.uid = asked.uid
            self._limits.note_user(caller.name, asked.uid)
            release = await self._broker.release(caller, asked, entry, deadline)
            tokens = release.provider_tokens
            entry.released, entry.withheld = tokens.released, tokens.withheld
            entry.names_released, entry.tokens = tuple(tokens.tokens), tokens.tokens
            entry.outcome, entry.status = RELEASED, 200
            await entry.commit()
        return release_answer(release, asked, entry.audit_id)

    async def providers(self, request: Request) -> Response:
        """Show the mapping table."""
        await self._admit(request)
        return self._answer(request, self._describes.providers())

    async def grants(self, request: Request) -> Response:
        """Show the asking caller what it may ask for."""
        caller = await self._admit(request)
        return self._answer(request, self._describes.grants(caller))

    async def openapi(self, request: Request) -> Response:
        """Show the contract; it needs no caller."""
        return self._answer(request, self._openapi)

    async def _admit(self, request: Request) -> Caller:
        deadline = self._deadline_of(request)
        caller = _entry(request).caller = await self._identify(request.scope, deadline)
        with self._limits.admit(caller.name):
            return caller

    def _deadline_of(self, request: Request) -> Deadline:
        return early_deadline_of(request.scope, seconds=self._deadline, clock=self._clock)

    def _answer(self, request: Request, content: Any) -> Response:
        _entry(request).outcome = ANSWERED
        return JsonAnswer(content)


class _Methods:
    """One path and what may be done there."""

    def __init__(self, path: str, endpoints: Mapping[str, Endpoint]) -> None:
        self._path = path
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        _entry(request).route = self._path
        endpoint = self._endpoints.get(request.method)
        if endpoint is None:
            allow: Sequence[str] = sorted(self._endpoints)
            raise MethodNotAllowed(
                f"This route answers {' and '.join(allow)} only.", allow=tuple(allow)
            )
        response = await endpoint(request)
        await response(scope, receive, send)


def _entry(request: Request) -> Entry:
    entry: Entry = request.scope[ENTRY]
    return entry


async def _not_found(*_: object) -> None:
    raise NotFound("There is no such route. GET /openapi.json describes those there are.")
