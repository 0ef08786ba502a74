"""The engine below ``outbound``: whom it trusts, which proxy it takes, what it never does."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Final, cast

import aiohttp
import httpx
import yarl
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

Transport = httpx.AsyncBaseTransport
"""What an ``Outbound`` drives, here and in tests: httpx's interface, without httpx's pool."""


class NoAuthority(ValueError):
    """A CA file that holds no certificate; says no more."""


def tls_context(authorities: bytes | None = None) -> ssl.SSLContext:
    """Return how to verify a peer: TLS 1.2 or newer, by ``authorities`` or certifi's roots.

    ``authorities`` is PEM, as in a CA file. Raises ``NoAuthority``.
    """
    context = (
        httpx.create_ssl_context(trust_env=False) if authorities is None else _trusting(authorities)
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.keylog_filename = None  # type: ignore[assignment]  # SSLKEYLOGFILE would undo TLS
    return context


def _trusting(authorities: bytes) -> ssl.SSLContext:
    # Comments between certificates may be in any language; certificates are ASCII.
    pem = authorities.decode("ascii", "ignore")
    if "-----BEGIN" in pem:  # an empty text would mean the system's roots
        try:
            return _lenient(ssl.create_default_context(cadata=pem))
        except ssl.SSLError:
            pass
    raise NoAuthority("a CA file holds no certificate, or a broken one")


def _lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    # The same with each Python, of which 3.13 has other defaults: whatever the file holds is
    # trusted, root or not, and a private authority may lack what RFC 5280 asks of it. Those of many
    # clusters have no key identifiers.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


Trust = Callable[[], ssl.SSLContext]
"""Whom to trust now: a new answer is a new set of connections."""


def open_transport(
    *,
    context: ssl.SSLContext | None = None,
    trust: Trust | None = None,
    proxy_url: str | None = None,
    proxy_authorization: Callable[[], str] | None = None,
    connections: int = 128,
    keep_alive: float = 30.0,
) -> Transport:
    """Return the engine for one peer: at most ``connections``, each idle ``keep_alive`` seconds.

    It takes nothing from the environment, keeps no cookies, decodes no body, follows no redirect,
    and sends each request once. It is opened by its first request, in the loop that sends it. With
    ``trust`` instead of ``context``, each request goes over connections that were made with the
    trust of its moment; so it is with ``proxy_authorization``, which only the proxy gets to see.
    """
    fixed = context if context is not None or trust is not None else tls_context()
    return AiohttpTransport(
        lambda: aiohttp.TCPConnector(limit=connections, keepalive_timeout=keep_alive),
        trust=trust or (lambda: cast("ssl.SSLContext", fixed)),
        proxy=None if proxy_url is None else yarl.URL(proxy_url),
        proxy_authorization=proxy_authorization,
    )


class Spoiled(httpx.ConnectError):
    """No connection to a peer is as silent as it must be; nothing was sent."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """aiohttp's connections and its parser as a transport of httpx's.

    Its ``ClientSession`` is left out: cookies, redirects, authentication, compression and retries
    of its own, none of which may happen here, cost four times what the exchange itself does.
    """

    def __init__(
        self,
        connector: Callable[[], aiohttp.TCPConnector],
        *,
        trust: Trust,
        proxy: yarl.URL | None,
        proxy_authorization: Callable[[], str] | None,
    ) -> None:
        self._open = connector
        self._connector: aiohttp.TCPConnector | None = None
        self._trust = trust
        self._proxy = proxy
        self._proxy_authorization = proxy_authorization
        self._destinations: dict[str, aiohttp.ClientRequest] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request once; raises ``Spoiled``, and what aiohttp raises."""
        destination = self._destination(str(request.url))
        sent = _framed(request, destination.url.raw_path_qs)
        connection = await self._connect(destination, request.extensions["timeout"]["connect"])
        try:
            message, payload = await _answer(connection, sent)
            stream = _whole(connection, payload) if payload.is_eof() else _Body(connection, payload)
        except BaseException:
            connection.close()
            raise
        return httpx.Response(message.code, headers=list(message.raw_headers), stream=stream)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._connector is not None:
            await self._connector.close()

    async def _connect(
        self, destination: aiohttp.ClientRequest, seconds: float
    ) -> aiohttp.connector.Connection:
        connector = self._connector
        if connector is None:
            connector = self._connector = self._open()
        try:
            for _ in range(SPOILED):
                found = await connector.connect(destination, traces=[], timeout=_timeout(seconds))
                if found.protocol is None or not found.protocol.should_close:
                    return found
                found.close()
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error
        raise Spoiled("the peer speaks before it is asked")

    def _destination(self, url: str) -> aiohttp.ClientRequest:
        """Return where ``url`` leads: what aiohttp finds a connection by, never what is sent."""
        trust = self._trust()
        known = self._destinations.get(url)
        if known is not None and known.ssl is trust:
            return known
        made = aiohttp.ClientRequest(
            "POST",
            yarl.URL(url),
            loop=asyncio.get_running_loop(),
            ssl=trust,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers(),
        )
        if self._proxy is None:  # behind a proxy, aiohttp writes into it
            if len(self._destinations) >= DESTINATIONS:
                self._destinations.clear()
            self._destinations[url] = made
        return made

    def _proxy_headers(self) -> dict[str, str] | None:
        # Not aiohttp's BasicAuth, which it is about to drop.
        if self._proxy is None or self._proxy_authorization is None:
            return None
        return {"proxy-authorization": self._proxy_authorization()}


SPOILED: Final = 4
"""Connections that one request gives up because something came over them that nobody had asked for.

What came would be taken for the answer to the next request, which may be about another user.
"""

DESTINATIONS: Final = 64
"""Addresses of one peer that are remembered; it has a handful."""


def _framed(request: httpx.Request, target: str) -> bytes:
    """Return the request's octets (RFC 9112 §2); raises ``ValueError`` for broken headers."""
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), target.encode("ascii"))]
    lines += [name + b": " + value for name, value in request.headers.raw]
    head = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if (head.count(b"\r"), head.count(b"\n"), head.count(b"\0")) != (breaks, breaks, 0):
        raise ValueError("a header holds a line break")
    return b"%b\r\n\r\n%b" % (head, b"".join(cast("httpx.SyncByteStream", request.stream)))


async def _answer(
    connection: aiohttp.connector.Connection, sent: bytes
) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    """Send, and return the head of what is answered and where its body will come."""
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("the connection was lost before it was used")
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    transport.write(sent)
    while True:
        try:
            message, payload = await protocol.read()
        except HttpProcessingError as error:
            raise httpx.RemoteProtocolError("the answer is not HTTP") from error
        if message.code // 100 != 1 or message.code == HTTPStatus.SWITCHING_PROTOCOLS:
            return message, payload


def _whole(
    connection: aiohttp.connector.Connection, payload: aiohttp.StreamReader
) -> httpx.ByteStream:
    """Return a body that is all here, as most are; its connection is free again."""
    body = payload.read_nowait()
    connection.release()
    return httpx.ByteStream(body)


class _Body(httpx.AsyncByteStream):
    """The body of an answer; its connection is free again when all of it was read."""

    def __init__(
        self, connection: aiohttp.connector.Connection, payload: aiohttp.StreamReader
    ) -> None:
        self._connection = connection
        self._payload = payload

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while some := await self._payload.readany():
            yield some

    async def aclose(self) -> None:
        """End; a connection whose answer was not read to its end is closed."""
        if self._payload.at_eof():
            self._connection.release()
        else:
            self._connection.close()


@lru_cache(maxsize=64)  # nearly every request has the configured one
def _timeout(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect, sock_connect=connect)
