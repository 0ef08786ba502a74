"""The only door out: one request, one capped answer by a deadline, over httpx's interface."""

import ssl
from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from typing import Final, cast

import aiohttp
import httpx

from service.alarm import Alarm
from service.deadline import Deadline
from service.engine import ADDRESS, Fields, Transport, Whole
from service.pool import Spoiled
from service.values import value

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


@value()
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
        self._transport = transport
        self._cap = cap
        self._connect = connect

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        body: bytes | None = None,
        deadline: Deadline,
    ) -> Answer:
        """Return the peer's answer; never follows a redirect, keeps a cookie or tries again.

        ``headers`` may hold secrets; ``content_type`` is one of few, and known ahead.
        Raises the subclasses of ``OutboundError`` and nothing else; none holds what was sent.
        """
        trouble: OutboundError
        try:
            left = deadline.remaining()
            if not left:
                raise TimedOut(sent=False)  # noqa: TRY301  # told like any other
            known = _known(url, content_type)
            request = self._request(method, known, headers, body, left)
            with Alarm(left):
                return await self._exchange(request)
        except OutboundError as error:
            trouble = error
        except Exception as error:  # noqa: BLE001  # whatever a library raises may hold the request
            trouble = _trouble(error)
        raise trouble.with_traceback(None)

    async def aclose(self) -> None:
        """Close every connection to the peer."""
        await self._transport.aclose()

    def _request(
        self,
        method: str,
        known: "_Known",
        headers: Mapping[str, str] | None,
        body: bytes | None,
        left: float,
    ) -> httpx.Request:
        connect = min(self._connect, left)
        # Given a stream: what httpx would do for itself costs four times as much.
        return httpx.Request(
            method,
            known.url,
            headers=[*known.fields, *headers.items()] if headers else known.headers,
            stream=httpx.ByteStream(body or b""),
            extensions={
                "timeout": {"connect": connect, "pool": connect, "read": None, "write": None},
                ADDRESS: known.address,
            },
        )

    async def _exchange(self, request: httpx.Request) -> Answer:
        response = await self._transport.handle_async_request(request)
        if isinstance(response, Whole):  # nothing to wait for, nothing to close
            headers = _headers(response.fields)
            body = response.body
            if len(body) > self._cap:
                raise TooLarge
            return Answer(status=response.status_code, headers=headers, body=body)
        try:
            headers = _headers(response.headers.raw)
            body = await self._read(cast("httpx.AsyncByteStream", response.stream))
            return Answer(status=response.status_code, headers=headers, body=body)
        finally:
            await response.aclose()

    async def _read(self, stream: httpx.AsyncByteStream) -> bytes:
        body = bytearray()
        async for some in stream:
            body += some
            if len(body) > self._cap:
                raise TooLarge
        return bytes(body)


def _headers(fields: Fields) -> dict[str, str]:
    """Return the headers of an answer in plain octets; raises ``EncodedBody`` for any other."""
    headers = joined(fields)
    encoding = headers.get("content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise EncodedBody
    return headers


@value()
class _Known:
    """What a request to an address says whatever it is about: where to, and who we are."""

    address: str
    url: httpx.URL
    fields: tuple[tuple[str, str], ...]
    headers: httpx.Headers
    """The same as ``fields``; whoever takes it copies it."""


@lru_cache(maxsize=256)  # peers have a few addresses, and parsing one costs as much as a request
def _known(address: str, content_type: str | None) -> _Known:
    url = httpx.URL(address)
    said = {"host": url.netloc.decode("ascii"), **OURS}
    if content_type is not None:
        said["content-type"] = content_type
    fields, headers = tuple(said.items()), httpx.Headers(said)
    return _Known(address=str(url), url=url, fields=fields, headers=headers)


def joined(headers: Fields) -> dict[str, str]:
    """Return headers by name in lower case; the values of one name are joined (RFC 9110 §5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


REFUSED: Final = "refused"
LOST: Final = "connection-lost"

_STAGES: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((Spoiled,), LOST),
    ((aiohttp.ClientConnectorDNSError,), "name-not-found"),
    ((aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError, httpx.ProxyError), "proxy"),
    ((aiohttp.ClientSSLError, ssl.SSLError), "tls"),
    ((aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout, httpx.PoolTimeout), "connect-timeout"),
    ((aiohttp.ClientConnectorError, httpx.ConnectError), REFUSED),
    ((aiohttp.InvalidURL, httpx.InvalidURL, httpx.UnsupportedProtocol), "bad-url"),
)
"""Errors of the engine that come before a request is on its way, the narrowest first."""

_LOST: Final = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
"""What the system says of a connection that was there: lost in its handshake, not refused."""

_BROKEN: Final = (
    aiohttp.ClientPayloadError,
    aiohttp.ClientResponseError,
    httpx.RemoteProtocolError,
    httpx.DecodingError,
)


def _trouble(error: Exception) -> OutboundError:
    for kinds, stage in _STAGES:
        if isinstance(error, kinds):
            cause = getattr(error, "os_error", None)
            is_lost = stage == REFUSED and isinstance(cause, _LOST)
            return Unreachable(LOST if is_lost else stage, sent=False)
    if isinstance(error, _BROKEN):
        return BrokenReply()
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return TimedOut()
    is_lost = isinstance(error, (OSError, aiohttp.ClientError, httpx.TransportError))
    return Unreachable(LOST if is_lost else "engine", sent=True)
