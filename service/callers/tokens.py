"""Compact JWS (RFC 7515, section 7.1) taken apart strictly, before anything is verified."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from service.callers.refusals import Refusal
from service.strict_json import NotStrictJson, loads

JWS_PARTS: Final = 3
JWE_PARTS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Token:
    """A token's header and claims; nothing in them is proved."""

    header: Mapping[str, Any] = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)


def take_apart(text: str) -> Token | Refusal:
    """Return what ``text`` says, or why it is not a JWS with one meaning."""
    parts = text.split(".")
    if len(parts) != JWS_PARTS:
        return Refusal.TOKEN_ENCRYPTED if len(parts) == JWE_PARTS else Refusal.BEARER_UNKNOWN
    header, claims = _object(parts[0]), _object(parts[1])
    if header is None or claims is None or octets(parts[2]) is None:
        return Refusal.TOKEN_MALFORMED
    return Token(header=header, claims=claims)


def octets(part: str) -> bytes | None:
    """Decode base64url without padding; ``None`` unless it is the one way to write the octets."""
    try:
        decoded = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    is_canonical = base64.urlsafe_b64encode(decoded).rstrip(b"=") == part.encode("ascii")
    return decoded if is_canonical else None


def _object(part: str) -> dict[str, Any] | None:
    decoded = octets(part)
    if decoded is None:
        return None
    try:
        document = loads(decoded)
    except NotStrictJson:
        return None
    return document if isinstance(document, dict) else None
