"""The engine below httpx's interface: whom it trusts, which proxy it takes, what it never does."""

import base64
import ssl

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

Transport = httpx.AsyncBaseTransport
"""The engine that an ``Outbound`` drives, by its one method that matters."""


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


def open_transport(
    *,
    context: ssl.SSLContext | None = None,
    proxy_url: str | None = None,
    connections: int = 128,
    keep_alive: float = 30.0,
) -> Transport:
    """Return the engine for one peer: at most ``connections``, each idle ``keep_alive`` seconds.

    It takes nothing from the environment, keeps no cookies, decodes no body, and sends a POST
    once. It is opened by its first request, in the loop that sends it.
    """
    verify = context if context is not None else tls_context()

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=verify, limit=connections, keepalive_timeout=keep_alive
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )

    return AiohttpTransport(
        verify=verify,
        trust_env=False,
        proxy=_proxy(proxy_url) if proxy_url is not None else None,
        client=session,
    )


def _proxy(url: str) -> httpx.Proxy:
    """Return the proxy at ``url``, a user name and password in it as a header.

    The engine would make of them a ``BasicAuth``, which aiohttp is about to drop.
    """
    proxy = httpx.Proxy(url)
    if proxy.raw_auth is None:
        return proxy
    basic = base64.b64encode(b":".join(proxy.raw_auth)).decode("ascii")
    return httpx.Proxy(proxy.url, headers={"proxy-authorization": f"Basic {basic}"})
