"""The management port: is this process alive, may it get requests, and what it counts."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

FRESH: Final = 1.0
"""Seconds for which an exposition is used again."""


def management(
    *,
    readiness: Callable[[], Mapping[str, bool]],
    exposition: Callable[[], bytes],
    content_type: str,
) -> ASGIApp:
    """Return the application of the management port.

    ``readiness`` names what this process itself needs, and whether it is so; it must not ask any
    other system. ``exposition`` runs in a thread, because it takes milliseconds, and its result is
    used again for a second: whoever asks without end costs no request its deadline.
    """
    latest = _Latest(exposition)

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        parts = readiness()
        lines = "".join(f"{'ok ' if is_so else 'not'} {name}\n" for name, is_so in parts.items())
        return PlainTextResponse(lines, 200 if all(parts.values()) else 503)

    async def metrics(_: Request) -> Response:
        return Response(await latest.value(), media_type=content_type)

    return Router(
        [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)],
        redirect_slashes=False,
        default=_not_found,
    )


class _Latest:
    """What was made last, made anew when it is asked for and a second old; once at a time."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._made: asyncio.Future[bytes] | None = None
        self._at = 0.0

    async def value(self) -> bytes:
        """Return what is at most a second old."""
        now = asyncio.get_running_loop().time()
        if self._made is None or (self._made.done() and now - self._at >= FRESH):
            self._made = asyncio.ensure_future(asyncio.to_thread(self._make))
            self._at = now
        return await asyncio.shield(self._made)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    answer = PlainTextResponse("There are /livez, /readyz and /metrics here.\n", 404)
    await answer(scope, receive, send)
