"""The engine below ``outbound``: whom it trusts, which proxy it takes, what it never does."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from functools import cached_property
from typing import Final, cast

import aiohttp
import httpx
import yarl

from service.pool import Destination, Pool
from service.wire import Wire

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
        lambda: Pool(limit=connections, keep_alive=keep_alive),
        trust=trust or (lambda: cast("ssl.SSLContext", fixed)),
        proxy=None if proxy_url is None else yarl.URL(proxy_url),
        proxy_authorization=proxy_authorization,
    )


ADDRESS: Final = "address"
"""The extension of a request that holds its URL as text, for who has it: httpx writes it anew."""

Fields = Sequence[tuple[bytes, bytes]]
"""Names and values of headers, as they are on the wire."""


class Whole(httpx.Response):
    """An answer that came whole, as most do: its ``fields`` and its ``body`` as they came.

    Who takes those spares httpx's headers, whose making takes several calls for each of them.
    """

    def __init__(self, status: int, fields: Fields, body: bytes) -> None:
        super().__init__(status, stream=httpx.ByteStream(body))
        self.fields = fields
        self.body = body
        del self.headers  # httpx's own, empty, which hide those that are made when asked for

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]  # it can be set like any other
        """The same headers as httpx's."""
        return httpx.Headers(self.fields)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """aiohttp's connections and its parser as a transport of httpx's.

    Its ``ClientSession`` is left out: cookies, redirects, authentication, compression and retries
    of its own, none of which may happen here, cost four times what the exchange itself does.
    """

    def __init__(
        self,
        pool: Callable[[], Pool],
        *,
        trust: Trust,
        proxy: yarl.URL | None,
        proxy_authorization: Callable[[], str] | None,
    ) -> None:
        self._open = pool
        self._pool: Pool | None = None
        self._trust = trust
        self._proxy = proxy
        self._proxy_authorization = proxy_authorization
        self._destinations: dict[str, Destination] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request once; raises ``Spoiled``, and what aiohttp raises."""
        destination = self._destination(request.extensions.get(ADDRESS) or str(request.url))
        sent = _framed(request, destination.target)
        pool = self._pool
        if pool is None:
            pool = self._pool = self._open()
        wire = await pool.take(destination, request.extensions["timeout"]["connect"])
        try:
            message, payload = await wire.ask(sent)
            if not payload.is_eof():
                stream = _Body(pool, destination, wire, payload)
                return httpx.Response(message.code, headers=message.raw_headers, stream=stream)
            whole = Whole(message.code, message.raw_headers, payload.read_nowait())
        except BaseException:
            pool.drop(wire)
            raise
        pool.give_back(destination, wire)
        return whole

    async def aclose(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            await self._pool.aclose()

    def _destination(self, url: str) -> Destination:
        """Return where ``url`` leads, by the trust of this moment."""
        trust = self._trust()
        known = self._destinations.get(url)
        if known is not None and known.dialled.ssl is trust:
            return known
        dialled = aiohttp.ClientRequest(
            "POST",
            yarl.URL(url),
            loop=asyncio.get_running_loop(),
            ssl=trust,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers(),
        )
        made = Destination(
            dialled=dialled,
            key=dialled.connection_key,
            target=dialled.url.raw_path_qs.encode("ascii"),
        )
        if self._proxy is None:  # behind a proxy, aiohttp writes into what it dials by
            if len(self._destinations) >= DESTINATIONS:
                self._destinations.clear()
            self._destinations[url] = made
        return made

    def _proxy_headers(self) -> dict[str, str] | None:
        # Not aiohttp's BasicAuth, which it is about to drop.
        if self._proxy is None or self._proxy_authorization is None:
            return None
        return {"proxy-authorization": self._proxy_authorization()}


DESTINATIONS: Final = 64
"""Addresses of one peer that are remembered; it has a handful."""


MEANS_A_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods of which even an empty body's length is told (RFC 9110 §8.6)."""


def _framed(request: httpx.Request, target: bytes) -> bytes:
    """Return the request's octets (RFC 9112 §2); raises ``ValueError`` for broken headers.

    Whoever makes it leaves the length to us, who put it beside the body.
    """
    body = b"".join(cast("httpx.SyncByteStream", request.stream))
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), target)]
    lines += [b"%b: %b" % field for field in request.headers.raw]
    if body or request.method in MEANS_A_BODY:
        lines.append(b"content-length: %d" % len(body))
    head = b"\r\n".join(lines)
    if b"\0" in head or head.splitlines() != lines:
        raise ValueError("a header holds a line break")
    return b"%b\r\n\r\n%b" % (head, body)


class _Body(httpx.AsyncByteStream):
    """The body of an answer; its connection is free again when all of it was read."""

    def __init__(
        self, pool: Pool, destination: Destination, wire: Wire, payload: aiohttp.StreamReader
    ) -> None:
        self._pool = pool
        self._destination = destination
        self._wire = wire
        self._payload = payload

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while some := await self._payload.readany():
            yield some

    async def aclose(self) -> None:
        """End; a connection whose answer was not read to its end is closed."""
        if self._payload.at_eof():
            self._pool.give_back(self._destination, self._wire)
        else:
            self._pool.drop(self._wire)
