"""The engine below ``outbound``: whom it trusts, which proxy it takes, what it never does."""

import base64
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, cast

import aiohttp
import httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request; ``connect`` is the seconds that a connection may take."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    connect: float


class Coming(Protocol):
    """An answer whose body is still to be read; header names are in lower case."""

    status: int
    headers: Mapping[str, str]

    async def some(self) -> bytes:
        """Return the next octets of the body, none at its end."""

    async def aclose(self) -> None:
        """End; a connection whose answer was not read to its end is closed."""


class Engine(Protocol):
    """What sends a request once, and neither follows, decodes, nor keeps anything."""

    async def exchange(self, asked: Asked) -> Coming:
        """Return what comes; raises what its library raises."""

    async def aclose(self) -> None:
        """Close every connection."""


Transport = httpx.AsyncBaseTransport | Engine
"""What an ``Outbound`` drives: an engine, or any transport of httpx's, as tests have them."""


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
            return ssl.create_default_context(cadata=pem)
        except ssl.SSLError:
            pass
    raise NoAuthority("a CA file holds no certificate, or a broken one")


Trust = Callable[[], ssl.SSLContext]
"""Whom to trust now: a new answer is a new set of connections."""


def open_transport(
    *,
    context: ssl.SSLContext | None = None,
    trust: Trust | None = None,
    proxy_url: str | None = None,
    connections: int = 128,
    keep_alive: float = 30.0,
) -> Engine:
    """Return the engine for one peer: at most ``connections``, each idle ``keep_alive`` seconds.

    It takes nothing from the environment, keeps no cookies, decodes no body, and sends a POST
    once. It is opened by its first request, in the loop that sends it. With ``trust`` instead of
    ``context``, each request goes over connections that were made with the trust of its moment.
    """
    fixed = context if context is not None or trust is not None else tls_context()

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=keep_alive),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )

    return _Aiohttp(
        session,
        trust=trust or (lambda: cast("ssl.SSLContext", fixed)),
        proxy=_proxy(proxy_url) if proxy_url is not None else None,
    )


class _Aiohttp:
    """aiohttp's client, called without what a browser would need."""

    def __init__(
        self,
        session: Callable[[], aiohttp.ClientSession],
        *,
        trust: Trust,
        proxy: httpx.Proxy | None,
    ) -> None:
        self._open = session
        self._session: aiohttp.ClientSession | None = None
        self._trust = trust
        self._proxy = None if proxy is None else str(proxy.url)
        self._proxy_headers = None if proxy is None else dict(proxy.headers)

    async def exchange(self, asked: Asked) -> Coming:
        """Send the request."""
        session = self._session
        if session is None:
            session = self._session = self._open()
        return _AiohttpComing(
            await session.request(
                asked.method,
                asked.url,
                headers=asked.headers,
                data=None if asked.body is None else aiohttp.BytesPayload(asked.body),
                allow_redirects=False,
                timeout=_timeout(asked.connect),
                ssl=self._trust(),
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
            )
        )

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


class _AiohttpComing:
    """An answer of aiohttp's; its connection is free again when the body was read."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = joined(response.raw_headers)

    async def some(self) -> bytes:
        """Return the next octets."""
        return await self._response.content.readany()

    async def aclose(self) -> None:
        """End."""
        if not self._response.content.at_eof():
            self._response.close()


@lru_cache(maxsize=64)  # nearly every request has the configured one
def _timeout(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect, sock_connect=connect)


def engine_of(transport: Transport) -> Engine:
    """Return ``transport`` as an engine."""
    if isinstance(transport, httpx.AsyncBaseTransport):
        return _OverHttpx(transport)
    return transport


class _OverHttpx:
    """Any transport of httpx's, called without a client."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def exchange(self, asked: Asked) -> Coming:
        """Send the request."""
        connect = asked.connect
        request = httpx.Request(
            asked.method,
            asked.url,
            headers=dict(asked.headers),
            content=asked.body,
            extensions={
                "timeout": {"connect": connect, "pool": connect, "read": None, "write": None}
            },
        )
        return _HttpxComing(await self._transport.handle_async_request(request))

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


class _HttpxComing:
    """An answer of httpx's."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        # Not aiter_raw(): it refuses responses that a transport made whole.
        stream = cast("httpx.AsyncByteStream", response.stream)
        self._chunks: AsyncIterator[bytes] = aiter(stream)
        self.status = response.status_code
        self.headers: Mapping[str, str] = joined(response.headers.raw)

    async def some(self) -> bytes:
        """Return the next octets."""
        async for chunk in self._chunks:
            if chunk:
                return chunk
        return b""

    async def aclose(self) -> None:
        """End."""
        await self._response.aclose()


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name in lower case; the values of one name are joined (RFC 9110 §5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _proxy(url: str) -> httpx.Proxy:
    """Return the proxy at ``url``, a user name and password in it as a header.

    The engine would make of them a ``BasicAuth``, which aiohttp is about to drop.
    """
    proxy = httpx.Proxy(url)
    if proxy.raw_auth is None:
        return proxy
    basic = base64.b64encode(b":".join(proxy.raw_auth)).decode("ascii")
    return httpx.Proxy(proxy.url, headers={"proxy-authorization": f"Basic {basic}"})
