"""The engine below ``outbound``: whom it trusts, which proxy it takes, what it never does."""

import base64
import ssl
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import cast

import aiohttp
import httpx

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
) -> Transport:
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

    return AiohttpTransport(
        session,
        trust=trust or (lambda: cast("ssl.SSLContext", fixed)),
        proxy=_proxy(proxy_url) if proxy_url is not None else None,
    )


class AiohttpTransport(httpx.AsyncBaseTransport):
    """aiohttp's client as a transport of httpx's, without what a browser would need."""

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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request once; raises what aiohttp raises, which ``outbound`` knows."""
        session = self._session
        if session is None:
            session = self._session = self._open()
        response = await session.request(
            request.method,
            str(request.url),
            headers={
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in request.headers.raw
            },
            data=aiohttp.BytesPayload(request.content) if request.content else None,
            allow_redirects=False,
            timeout=_timeout(request.extensions["timeout"]["connect"]),
            ssl=self._trust(),
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
        )
        return httpx.Response(
            response.status, headers=list(response.raw_headers), stream=_Body(response)
        )

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    """The body of an answer of aiohttp's; its connection is free again when it was read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while some := await self._response.content.readany():
            yield some

    async def aclose(self) -> None:
        """End; a connection whose answer was not read to its end is closed."""
        if not self._response.content.at_eof():
            self._response.close()


@lru_cache(maxsize=64)  # nearly every request has the configured one
def _timeout(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect, sock_connect=connect)


def _proxy(url: str) -> httpx.Proxy:
    """Return the proxy at ``url``, a user name and password in it as a header.

    The engine would make of them a ``BasicAuth``, which aiohttp is about to drop.
    """
    proxy = httpx.Proxy(url)
    if proxy.raw_auth is None:
        return proxy
    basic = base64.b64encode(b":".join(proxy.raw_auth)).decode("ascii")
    return httpx.Proxy(proxy.url, headers={"proxy-authorization": f"Basic {basic}"})
