"""Where an issuer's key set is fetched from: what its discovery document names, or a URI."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from service.callers.fetching import Fetch, FetchFailed, ReadToken
from service.deadline import Deadline
from service.strict_json import NotStrictJson, loads

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
"""OpenID Connect Discovery 1.0, section 4; Kubernetes serves the same."""

LARGEST: Final = 256 * 1024
"""Octets of a discovery document or key set."""

OK: Final = 200

Source = Callable[[Deadline], Awaitable[bytes]]
"""Returns the key set document; raises ``OSError``."""


def from_uri(fetch: Fetch, jwks_uri: str, *, token: ReadToken | None = None) -> Source:
    """Fetch the document from ``jwks_uri``, which the operator chose (https; any host)."""
    _https(jwks_uri)

    async def load(deadline: Deadline) -> bytes:
        return await _get(fetch, jwks_uri, token, deadline)

    return load


def from_discovery(fetch: Fetch, issuer: str, *, token: ReadToken | None = None) -> Source:
    """Let ``issuer`` (https) say where its keys are: nowhere but on its own host and port."""
    own = _https(issuer)

    async def load(deadline: Deadline) -> bytes:
        document = await _get(fetch, issuer.rstrip("/") + DISCOVERY_PATH, token, deadline)
        jwks_uri = _jwks_uri(document, issuer, own)
        return await _get(fetch, jwks_uri, token, deadline)

    return load


def _jwks_uri(document: bytes, issuer: str, own: SplitResult) -> str:
    found = _members(document)
    if found.get("issuer") != issuer:
        raise FetchFailed("the discovery document names another issuer")
    jwks_uri = found.get("jwks_uri")
    if not isinstance(jwks_uri, str) or not _is_at_home(jwks_uri, own):
        raise FetchFailed("the keys are not on the issuer's own host")
    return jwks_uri


def _is_at_home(jwks_uri: str, own: SplitResult) -> bool:
    try:
        there = _https(jwks_uri)
    except ValueError:
        return False
    return (there.hostname, there.port or 443) == (own.hostname, own.port or 443)


def _https(url: str) -> SplitResult:
    parts = urlsplit(url)
    is_plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not is_plain or parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an https URL")
    if parts.query or parts.fragment or (parts.port or 443) < 1:
        raise ValueError("not a plain https URL")
    return parts


async def _get(fetch: Fetch, url: str, token: ReadToken | None, deadline: Deadline) -> bytes:
    headers = {"accept": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token()}"
    status, _, body = await fetch(url, headers, None, deadline)
    if status != OK:
        raise FetchFailed(f"the answer has status {status}")
    if len(body) > LARGEST:
        raise FetchFailed("the answer is too large")
    return body


def _members(document: bytes) -> dict[str, Any]:
    found: Any = None
    with suppress(NotStrictJson):
        found = loads(document)
    if not isinstance(found, dict):
        raise FetchFailed("the discovery document is not a JSON object")
    return found
