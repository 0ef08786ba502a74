"""The only door out: one request, one capped answer by a deadline."""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property, lru_cache
from typing import Final

import aiohttp
import httpx

from service.alarm import Alarm
from service.deadline import Deadline
from service.endings import Endings
from service.engine import Engine, Fields, Preamble, Transport
from service.over_httpx import OverHttpx
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


class Headers(Mapping[str, str]):
    """Headers by name in lower case; the values of one name are joined (RFC 9110 §5.3).

    They are read when one is first asked for: of most answers none is.
    """

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    @cached_property
    def _joined(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for raw_name, raw_value in self._fields:
            name, said = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {said}" if name in found else said
        return found

    def __getitem__(self, name: str) -> str:
        return self._joined[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined)

    def __len__(self) -> int:
        return len(self._joined)


@value(kw_only=False)
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
        self._engine: Engine = (
            OverHttpx(transport) if isinstance(transport, httpx.AsyncBaseTransport) else transport
        )
        self._cap = cap
        self._connect = connect
        self._alarms = Endings(Alarm.ring)

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
            preamble = _preamble(method, url, content_type)
            connect = min(self._connect, left)
            with Alarm(deadline, self._alarms):
                status, encodings, fields, whole = await self._engine.ask(
                    preamble, headers, body or b"", connect
                )
                if not isinstance(whole, bytes):
                    whole = await self._read(whole, encodings)
                elif encodings or len(whole) > self._cap:
                    self._admit(whole, encodings)
            return Answer(status, Headers(fields), whole)
        except OutboundError as error:
            trouble = error
        except Exception as error:  # noqa: BLE001  # whatever a library raises may hold the request
            trouble = _trouble(error)
        raise trouble.with_traceback(None)

    async def aclose(self) -> None:
        """Close every connection to the peer."""
        await self._engine.aclose()

    async def _read(self, stream: httpx.AsyncByteStream, encodings: Sequence[str]) -> bytes:
        """Return the whole body, and close ``stream``; reads no more than shows what is wrong."""
        body = bytearray()
        try:
            self._admit(body, encodings)
            async for some in stream:
                body += some
                self._admit(body, encodings)
            return bytes(body)
        finally:
            await stream.aclose()

    def _admit(self, body: bytes | bytearray, encodings: Sequence[str]) -> None:
        """Raise ``EncodedBody`` or ``TooLarge`` for a body that has come so far and is either."""
        if encodings and ", ".join(encodings).strip(" \t").lower() != "identity":
            raise EncodedBody
        if len(body) > self._cap:
            raise TooLarge


@lru_cache(maxsize=256)  # peers have a few addresses, and parsing one costs as much as a request
def _preamble(method: str, address: str, content_type: str | None) -> Preamble:
    url = httpx.URL(address)
    said = {"host": url.netloc.decode("ascii"), **OURS}
    if content_type is not None:
        said["content-type"] = content_type
    return Preamble(method, str(url), tuple(said.items()))


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
