"""Reading a request's body: so much, in so long, and no more."""

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.types import Message, Receive, Scope

from service.api.headers import CONTENT_LENGTH, HEADERS
from service.api.requests import LARGEST_BODY
from service.deadline import Deadline
from service.errors import RequestTimeout, RequestTooLarge
from service.model import AT_ONCE, AtOnce

_TOO_LARGE: Final = f"The body is larger than {LARGEST_BODY} bytes. Shorten `context`."


class CallerGone(Exception):
    """The caller closed the connection before it had sent its request, or had its answer."""


def body_at_hand(scope: Scope) -> bytes | None:
    """Return the body that the listener hands out at once; ``None`` where ``read_body`` is to.

    Raises ``RequestTooLarge``.
    """
    at_once: AtOnce | None = scope.get(AT_ONCE)
    body = None if at_once is None else at_once.whole_body()
    if body is not None and len(body) > LARGEST_BODY:
        raise RequestTooLarge(_TOO_LARGE)
    return body


async def read_body(scope: Scope, receive: Receive, *, limit: float, deadline: Deadline) -> bytes:
    """Return a body that is not at hand, at most ``LARGEST_BODY`` bytes, if it is here in time.

    That is within ``limit`` seconds, and before ``deadline``. Raises ``RequestTooLarge`` (as soon
    as the announced length says so), ``RequestTimeout``, and ``CallerGone``.
    """
    if _announced(scope[HEADERS].get(CONTENT_LENGTH, ())) > LARGEST_BODY:
        raise RequestTooLarge(_TOO_LARGE)
    seconds = min(limit, deadline.remaining())
    try:
        async with asyncio.timeout(seconds):
            return await _collect(receive)
    except TimeoutError:
        raise RequestTimeout(
            f"The body was not complete within {seconds:g} seconds. Send it at once.",
        ) from None


async def _collect(receive: Receive) -> bytes:
    body: bytes = b""  # nearly always its first part is the whole, which is then not copied
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise RequestTooLarge(_TOO_LARGE)
        if not message.get("more_body", False):
            return body


def _announced(given: Sequence[bytes]) -> int:
    # The server refuses two lengths, or one that is not digits, before they get here. Twenty digits
    # are more than any body has, and few enough for int().
    length = given[0] if given else b""
    return int(length.lstrip(b"0")[:20] or b"0") if length.isdigit() else 0
