"""The endpoints, each of which tells the whole story of its request."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from starlette.types import Receive, Scope

from service.api.answers import Endpoint, JsonAnswer, release_answer
from service.api.attendance import Attended
from service.api.bodies import body_at_hand, read_body
from service.api.deadlines import deadline_of, require_good_timeout
from service.api.headers import CONTENT_TYPE, HEADERS, REQUEST_TIMEOUT
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

NO_ROUTE: Final = "There is no such route. GET /openapi.json describes those there are."

Identify = Callable[[Scope, Deadline], Awaitable[Caller]]


class Describes(Protocol):
    """What the two tables show."""

    def providers(self, caller: Caller) -> Any:
        """Return the mapping table, and what the sites that ``caller`` reaches make of it."""

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
        self._deadline, self._clock = deadline, clock
        self._body_timeout = body_timeout

    def routes(self) -> Endpoint:
        """Return all endpoints as one: the table of routes."""
        return Routes(
            {
                "/v1/provider-tokens": {"POST": self.provider_tokens},
                "/v1/providers": {"GET": self.providers},
                "/v1/grants": {"GET": self.grants},
                "/openapi.json": {"GET": self.openapi},
            }
        )

    async def provider_tokens(self, scope: Scope, receive: Receive) -> JsonAnswer:
        """Release provider tokens: who, how much, what; then record; only then reveal."""
        entry: Entry = scope[ENTRY]
        headers = scope[HEADERS]
        timeouts = headers.get(REQUEST_TIMEOUT, ())
        deadline = entry.deadline = deadline_of(timeouts, self._deadline, self._clock)
        caller = entry.caller = await self._identify(scope, deadline)
        with self._limits.admit(caller.name) as usage:
            require_json(headers.get(CONTENT_TYPE, ()))
            body = body_at_hand(scope)
            if body is None:
                body = await read_body(scope, receive, limit=self._body_timeout, deadline=deadline)
            if timeouts:
                require_good_timeout(timeouts)  # a mistake like those in the body
            asked = parse(body)
            entry.uid = asked.uid
            usage.note_user(asked.uid)
            inquiry = self._broker.inquiry(caller, asked, entry)
            release = self._broker.at_hand(inquiry)
            if release is None:
                # Only here: who leaves while the release is recorded may have received it.
                with Attended(scope):
                    release = await self._broker.fetched(inquiry, deadline)
            tokens = release.provider_tokens
            entry.released, entry.withheld = tokens.released, tokens.withheld
            entry.names_released, entry.tokens = tuple(tokens.tokens), tokens
            entry.outcome, entry.status = RELEASED, 200
            await entry.commit()
        return release_answer(release, asked, entry.audit_id)

    async def providers(self, scope: Scope, _: Receive) -> JsonAnswer:
        """Show the mapping table, and what the caller's sites make of it."""
        caller = await self._admit(scope)
        return _answer(scope, self._describes.providers(caller))

    async def grants(self, scope: Scope, _: Receive) -> JsonAnswer:
        """Show the asking caller what it may ask for."""
        caller = await self._admit(scope)
        return _answer(scope, self._describes.grants(caller))

    async def openapi(self, scope: Scope, _: Receive) -> JsonAnswer:
        """Show the contract; it needs no caller."""
        return _answer(scope, self._openapi)

    async def _admit(self, scope: Scope) -> Caller:
        timeouts = scope[HEADERS].get(REQUEST_TIMEOUT, ())
        caller = await self._identify(scope, deadline_of(timeouts, self._deadline, self._clock))
        entry: Entry = scope[ENTRY]
        entry.caller = caller
        with self._limits.admit(caller.name):
            return caller


class Routes:
    """One endpoint over a table: path -> method -> endpoint; a path is exactly itself."""

    def __init__(self, table: Mapping[str, Mapping[str, Endpoint]]) -> None:
        self._allowed = {path: tuple(sorted(endpoints)) for path, endpoints in table.items()}
        self._endpoints = {
            (path, method): endpoint
            for path, endpoints in table.items()
            for method, endpoint in endpoints.items()
        }

    def __call__(self, scope: Scope, receive: Receive) -> Awaitable[JsonAnswer]:
        """Have one request answered; raises ``NotFound`` and ``MethodNotAllowed``."""
        path = scope["path"]
        entry: Entry = scope[ENTRY]
        endpoint = self._endpoints.get((path, scope["method"]))
        if endpoint is None:
            allow = self._allowed.get(path)
            if allow is None:
                raise NotFound(NO_ROUTE)
            entry.route = path
            raise MethodNotAllowed(f"This route answers {' and '.join(allow)} only.", allow=allow)
        entry.route = path
        return endpoint(scope, receive)


def _answer(scope: Scope, content: Any) -> JsonAnswer:
    entry: Entry = scope[ENTRY]
    entry.outcome = ANSWERED
    return JsonAnswer(content)
