"""The engine below ``outbound``: whom it trusts, which proxy it takes, what it never does."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Final, Protocol

import aiohttp
import httpx
import yarl

from service.live import Live
from service.pool import Destination, Pool
from service.values import value
from service.wire import Wire


@value(kw_only=False, eq=False)
class Preamble:
    """What a request to an address says whatever it is about: how, where to, and who we are."""

    method: str
    address: str
    fields: tuple[tuple[str, str], ...] = field(repr=False)


Fields = Sequence[tuple[bytes, bytes]]
"""Names and values of headers, as they are on the wire."""

Heard = tuple[int, Sequence[str], Fields, bytes | httpx.AsyncByteStream]
"""An answer: its status, how its body is encoded, all headers, and the body, or where it comes.

Most bodies come whole; whoever is told where one comes reads it, and closes that.
"""


class Engine(Protocol):
    """What an ``Outbound`` drives."""

    async def ask(
        self, preamble: Preamble, headers: Mapping[str, str] | None, body: bytes, connect: float
    ) -> Heard:
        """Send a request once, on a connection that is there within ``connect`` seconds.

        ``headers`` are those beside the preamble's. Raises what the libraries below raise.
        """

    async def aclose(self) -> None:
        """Close every connection."""


Transport = Engine | httpx.AsyncBaseTransport
"""What an ``Outbound`` is given: an engine, or in tests and simulations a transport of httpx's."""


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


Trust = Live[ssl.SSLContext]
"""Whom to trust now: a new value is a new set of connections."""


def open_transport(
    *,
    context: ssl.SSLContext | None = None,
    trust: Trust | None = None,
    proxy_url: str | None = None,
    proxy_authorization: Callable[[], str] | None = None,
    connections: int = 128,
    keep_alive: float = 30.0,
) -> Engine:
    """Return the engine for one peer: at most ``connections``, each idle ``keep_alive`` seconds.

    It takes nothing from the environment, keeps no cookies, decodes no body, follows no redirect,
    and sends each request once. It is opened by its first request, in the loop that sends it. With
    ``trust`` instead of ``context``, each request goes over connections that were made with the
    trust of its moment; so it is with ``proxy_authorization``, which only the proxy gets to see.
    """
    return AiohttpEngine(
        lambda: Pool(limit=connections, keep_alive=keep_alive),
        trust=trust or Live(context or tls_context()),
        proxy=None if proxy_url is None else yarl.URL(proxy_url),
        proxy_authorization=proxy_authorization,
    )


class AiohttpEngine:
    """aiohttp's connections and its parser, each request framed by us.

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
        self._destinations: dict[Preamble, Destination] = {}

    async def ask(
        self, preamble: Preamble, headers: Mapping[str, str] | None, body: bytes, connect: float
    ) -> Heard:
        """Send the request once; raises ``Spoiled``, and what aiohttp raises."""
        destination = self._destinations.get(preamble)
        if destination is None or destination.trust is not self._trust.value:
            destination = self._destination(preamble)
        sent = _framed(preamble, destination.head, headers, body)
        pool = self._pool
        if pool is None:
            pool = self._pool = self._open()
        wire = pool.at_hand(destination) or await pool.take(destination, connect)
        try:
            message, payload = await wire.ask(sent)
            status, fields = message.code, message.raw_headers
            encodings = message.headers.getall("content-encoding", ())
            if not payload.is_eof():
                return status, encodings, fields, _Body(pool, destination, wire, payload)
            whole = payload.read_nowait()
        except BaseException:
            pool.drop(wire)
            raise
        pool.give_back(destination, wire)
        return status, encodings, fields, whole

    async def aclose(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            await self._pool.aclose()

    def _destination(self, preamble: Preamble) -> Destination:
        """Find out where ``preamble`` leads by the trust of this moment, and remember it."""
        trust = self._trust.value
        dialled = aiohttp.ClientRequest(
            "POST",
            yarl.URL(preamble.address),
            loop=asyncio.get_running_loop(),
            ssl=trust,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers(),
        )
        made = Destination(
            dialled=dialled,
            key=dialled.connection_key,
            trust=trust,
            head=_head(preamble, dialled.url.raw_path_qs),
        )
        if self._proxy is None:  # behind a proxy, aiohttp writes into what it dials by
            if len(self._destinations) >= DESTINATIONS:
                self._destinations.clear()
            self._destinations[preamble] = made
        return made

    def _proxy_headers(self) -> dict[str, str] | None:
        # Not aiohttp's BasicAuth, which it is about to drop.
        if self._proxy is None or self._proxy_authorization is None:
            return None
        return {"proxy-authorization": self._proxy_authorization()}


DESTINATIONS: Final = 64
"""Preambles for one peer that are remembered; it has a handful."""


MEANS_A_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods of which even an empty body's length is told (RFC 9110 §8.6)."""


def _framed(
    preamble: Preamble, head: bytes, headers: Mapping[str, str] | None, body: bytes
) -> bytes:
    """Return a request's octets (RFC 9112 §2), of which ``head`` was known.

    Raises ``ValueError`` for broken headers. Whoever makes those leaves the length to us, who put
    it beside the body.
    """
    if headers:
        head += _lines(_line(*each) for each in headers.items())
    if body or preamble.method in MEANS_A_BODY:
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
    return head + b"\r\n"


def _head(preamble: Preamble, target: str) -> bytes:
    """Return what each request with ``preamble`` begins with; raises ``ValueError``."""
    request = f"{preamble.method} {target} HTTP/1.1".encode("ascii")
    return _lines([request, *(_line(*each) for each in preamble.fields)])


def _line(name: str, said: str) -> bytes:
    return f"{name}: {said}".encode("ascii")


def _lines(lines: Iterable[bytes]) -> bytes:
    """Return ``lines``, each with its end; raises ``ValueError`` if one holds another."""
    lines = list(lines)
    text = b"\r\n".join(lines)
    if b"\0" in text or text.splitlines() != lines:
        raise ValueError("a header holds a line break")
    return text + b"\r\n"


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
