"""The management port: is this process alive, may it get requests, and what it counts."""

import asyncio
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send


def management(
    *,
    readiness: Callable[[], Mapping[str, bool]],
    exposition: Callable[[], bytes],
    content_type: str,
) -> ASGIApp:
    """Return the application of the management port.

    ``readiness`` names what this process itself needs, and whether it is so; it must not ask any
    other system. ``exposition`` runs in a thread, because it takes milliseconds.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        parts = readiness()
        lines = "".join(f"{'ok ' if is_so else 'not'} {name}\n" for name, is_so in parts.items())
        return PlainTextResponse(lines, 200 if all(parts.values()) else 503)

    async def metrics(_: Request) -> Response:
        return Response(await asyncio.to_thread(exposition), media_type=content_type)

    return Router(
        [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)],
        redirect_slashes=False,
        default=_not_found,
    )


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    answer = PlainTextResponse("There are /livez, /readyz and /metrics here.\n", 404)
    await answer(scope, receive, send)
