"""The simulator as an ASGI application: a call comes in, the rules are asked, an answer leaves."""

import asyncio
import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from email.utils import formatdate
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from service.simulator import bodies, control, rendering, wire
from service.simulator.bodies import Answer
from service.simulator.calls import Call, Calls, parameters
from service.simulator.codes import Refusal, status_of
from service.simulator.get_token import OAuthRefusal
from service.simulator.knobs import Knob, Knobs
from service.simulator.memory import AccessTokens, InFlight
from service.simulator.methods import Methods
from service.simulator.world import World

MOST_OCTETS: Final = 1 << 20
LIVE: Final = Answer(status=200, headers={"content-type": "text/plain"}, body=b"ok\n")


class Simulator:
    """A Gigya: give it to ``httpx.ASGITransport`` or to ``running.serving``.

    ``clock`` is UNIX seconds, ``entropy`` gives so many random octets, ``sleep`` takes seconds.
    ``loopback_is_secure`` treats plain HTTP from a loopback peer as if it were TLS; without it
    secrets over plain HTTP are refused as Gigya does. ``has_control`` opens the control paths.
    """

    def __init__(
        self,
        world: World,
        knobs: Knobs | None = None,
        *,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        loopback_is_secure: bool = False,
        has_control: bool = False,
    ) -> None:
        self.world = world
        self.knobs = knobs if knobs is not None else Knobs()
        self.calls = Calls()
        self.in_flight = InFlight()
        self.tokens = AccessTokens()
        self._methods = Methods(world, self.tokens, self.in_flight, clock=clock, entropy=entropy)
        self._clock = clock
        self._entropy = entropy
        self._sleep = sleep
        self._loopback_is_secure = loopback_is_secure
        self._has_control = has_control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif self._has_control and scope["path"].startswith(control.PREFIX):
            await wire.send_answer(await control.answer(self, scope, await _body(receive)), send)
        elif scope["path"] == "/livez":
            await wire.send_answer(LIVE, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._read(scope)
        body = await _body(receive)
        refusal = None
        try:
            content_type = call.headers.get("content-type", "")
            call.bring(parameters(scope["query_string"], body, content_type))
        except Refusal as error:
            refusal = error
        self.calls.arrived(call)
        api_key, uid = self._methods.api_key_of(call), call.get("UID")
        knob = self.knobs.take(method=call.method, api_key=api_key, uid=uid)
        with self.in_flight.serving(api_key, uid):
            answer = self._answer(call, knob, refusal)
            await self._wait(knob)
            await wire.leave(answer, knob.wire, scope, receive, send)

    def _read(self, scope: Scope) -> Call:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        peer = (scope.get("client") or ("", 0))[0]
        host = headers.get("host", "localhost")
        path = scope.get("raw_path", scope["path"].encode()).decode("ascii")
        trusted = self._loopback_is_secure and is_loopback(peer)
        return Call(
            http_method=scope["method"],
            url=f"{scope['scheme']}://{host}{path}",
            method=path.removeprefix("/"),
            host=host.rpartition(":")[0] or host,
            peer=peer,
            is_secure=scope["scheme"] == "https" or trusted,
            at=self._clock(),
            headers=headers,
        )

    def _answer(self, call: Call, knob: Knob, refusal: Refusal | None) -> Answer:
        call_id = self._entropy(16).hex()
        now = self._clock()
        kind, write = rendering.JSON
        status = 200
        try:
            if refusal is not None:
                raise refusal
            kind, write = rendering.writer(call.get("format"), call.get("callback"))
            reply = rendering.success(self._methods.answer(call, knob), call_id=call_id, now=now)
        except Refusal as error:
            reply = rendering.failure(error, call_id=call_id, now=now)
            with suppress(Refusal):
                status = status_of(error.code) if call.is_true("httpStatusCodes") else 200
        except OAuthRefusal as error:
            status = error.status
            reply = {"error": error.error, "error_description": error.description}
        self.calls.answered(call, reply.get("errorCode"))
        reply = {**reply, **self._methods.remarks(call, knob, reply), **knob.members}
        reply = {name: value for name, value in reply.items() if value is not None}
        headers = {"content-type": kind, "x-server": "simulator", **self._date(knob)}
        answer = Answer(
            status=knob.http_status or status,
            headers={**headers, **_location(status, reply), **_lowered(knob.headers)},
            body=write(call.method, reply),
        )
        return bodies.spoil(answer, knob.body, knob.body_size)

    def _date(self, knob: Knob) -> dict[str, str]:
        return {"date": formatdate(self._clock() + knob.date_offset, usegmt=True)}

    async def _wait(self, knob: Knob) -> None:
        if knob.hold is not None:
            await knob.hold.wait()
        if knob.delay:
            await self._sleep(knob.delay)


def build(world: World, knobs: Knobs | None = None, **options: Any) -> Simulator:
    """Return the simulator of ``world``; the options are those of ``Simulator``."""
    return Simulator(world, knobs, **options)


def is_loopback(peer: str) -> bool:
    """Whether an address is of this very machine; a name or nothing is not."""
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _location(status: int, reply: Mapping[str, Any]) -> dict[str, str]:
    return {"location": reply["location"]} if status == 301 and "location" in reply else {}  # noqa: PLR2004  # the status that has it


async def _body(receive: Receive) -> bytes:
    octets = bytearray()
    more = True
    while more:
        message = await receive()
        octets += message.get("body", b"")[: MOST_OCTETS - len(octets)]
        more = message.get("more_body", False)
    return bytes(octets)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
