"""The only door out: one request, one capped answer by a deadline; the only user of the engine."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import httpx

from service.deadline import Deadline
from service.engine import Asked, Coming, Transport, engine_of

OURS: Final = {"accept-encoding": "identity", "user-agent": "gigya-credential-proxy"}
"""Sent with each request: an encoded body could be a bomb, so none is asked for."""


class OutboundError(Exception):
    """A request that brought no usable answer; ``reason`` is a slug, ``sent`` is pessimistic."""

    reason = "outbound"
    sent = True
    """Whether the request may have reached the peer."""

    def __str__(self) -> str:
        return f"no usable answer: {self.reason}"


class Unreachable(OutboundError):
    """No connection, or one that was lost before an answer; ``reason`` says at which stage."""

    def __init__(self, stage: str, *, sent: bool) -> None:
        super().__init__()
        self.reason = stage
        self.sent = sent


class TimedOut(OutboundError):
    """The deadline passed before the answer was complete."""

    reason = "timeout"

    def __init__(self, *, sent: bool = True) -> None:
        super().__init__()
        self.sent = sent


class TooLarge(OutboundError):
    """The answer is over the cap."""

    reason = "too-large"


class EncodedBody(OutboundError):
    """The answer is compressed or otherwise encoded, which was not asked for."""

    reason = "encoded-body"


class BrokenReply(OutboundError):
    """What came is not HTTP, or broke off."""

    reason = "broken-reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, whatever its status; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Outbound:
    """Requests to one peer over one transport.

    ``cap`` is the largest body in octets; ``connect`` the seconds that a connection may take.
    """

    def __init__(self, transport: Transport, *, cap: int = 65_536, connect: float = 3.0) -> None:
        self._engine = engine_of(transport)
        self._cap = cap
        self._connect = connect

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        deadline: Deadline,
    ) -> Answer:
        """Return the peer's answer; never follows a redirect, keeps a cookie or tries again.

        Raises the subclasses of ``OutboundError`` and nothing else; none holds what was sent.
        """
        trouble: OutboundError
        try:
            asked = self._asked(method, url, headers or {}, body, deadline)
            async with asyncio.timeout(deadline.remaining()):
                return await self._exchange(asked)
        except OutboundError as error:
            trouble = error
        except Exception as error:  # noqa: BLE001  # whatever a library raises may hold the request
            trouble = _trouble(error)
        raise trouble.with_traceback(None)

    async def aclose(self) -> None:
        """Close every connection to the peer."""
        await self._engine.aclose()

    def _asked(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
    ) -> Asked:
        left = deadline.remaining()
        if not left:
            raise TimedOut(sent=False)
        return Asked(
            method=method,
            url=url,
            headers={**OURS, **headers},
            body=body,
            connect=min(self._connect, left),
        )

    async def _exchange(self, asked: Asked) -> Answer:
        coming = await self._engine.exchange(asked)
        try:
            headers = coming.headers
            if headers.get("content-encoding", "identity").strip().lower() != "identity":
                raise EncodedBody
            return Answer(status=coming.status, headers=headers, body=await self._read(coming))
        finally:
            await coming.aclose()

    async def _read(self, coming: Coming) -> bytes:
        body = bytearray()
        while some := await coming.some():
            body += some
            if len(body) > self._cap:
                raise TooLarge
        return bytes(body)


_STAGES: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((aiohttp.ClientConnectorDNSError,), "name-not-found"),
    ((aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError, httpx.ProxyError), "proxy"),
    ((aiohttp.ClientSSLError, ssl.SSLError), "tls"),
    ((aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout, httpx.PoolTimeout), "connect-timeout"),
    ((aiohttp.ClientConnectorError, httpx.ConnectError), "refused"),
    ((aiohttp.InvalidURL, httpx.InvalidURL, httpx.UnsupportedProtocol), "bad-url"),
)
"""Errors of the engine that come before a request is on its way, the narrowest first."""

_BROKEN: Final = (
    aiohttp.ClientPayloadError,
    aiohttp.ClientResponseError,
    httpx.RemoteProtocolError,
    httpx.DecodingError,
)


def _trouble(error: Exception) -> OutboundError:
    for kinds, stage in _STAGES:
        if isinstance(error, kinds):
            return Unreachable(stage, sent=False)
    if isinstance(error, _BROKEN):
        return BrokenReply()
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return TimedOut()
    is_lost = isinstance(error, (OSError, aiohttp.ClientError, httpx.TransportError))
    return Unreachable("connection-lost" if is_lost else "engine", sent=True)
