"""What a request presents, and what comes of it when it proves something."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from service.callers.refusals import Refusal
from service.callers.tokens import Token, take_apart
from service.errors import Unauthenticated
from service.model import Identity
from service.secret import MASK
from service.values import value

LARGEST: Final = 16 * 1024
"""Octets of a bearer token."""

TOKEN68: Final = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")
"""RFC 9110, section 11.2."""

USUAL: Final = re.compile(rb"Bearer (" + TOKEN68.pattern + rb")")
"""An Authorization header as nearly everybody writes it."""


@value(kw_only=False, eq=False)
class Presented:
    """What came with a request: its Authorization headers, and the peer's certificate in DER.

    ``is_distrusted`` says of the certificate that its authority is no longer trusted; ``peer`` is
    what counts as one where it came from.
    """

    authorization: Sequence[bytes] = field(default=(), repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    is_distrusted: bool = False
    peer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Whom a credential proved to be calling, and until when it does."""

    identity: Identity
    namespace: str | None = None
    pod: str | None = None
    expires_at: datetime | None = None


class Bearer:
    """A bearer token: its digest can be kept, the token itself lives as long as its request."""

    __slots__ = ("_text", "_token", "digest")

    def __init__(self, text: str) -> None:
        self._text = text
        self._token: Token | Refusal | None = None
        self.digest = hashlib.sha256(text.encode("ascii")).digest()

    @property
    def token(self) -> Token | Refusal:
        """What it says as a JWS, unverified, or why it is none."""
        if self._token is None:
            self._token = take_apart(self._text)
        return self._token

    def reveal(self) -> str:
        """Return the token itself; every call of this is one of the named doors out."""
        return self._text

    def __repr__(self) -> str:
        return f"Bearer({MASK})"


@value(kw_only=False, eq=False)
class Credentials:
    """What was presented, read: at most one of each kind; and by whom, as ``Presented`` says."""

    bearer: Bearer | None = None
    certificate: bytes | None = field(default=None, repr=False)
    peer: str = ""


def read(presented: Presented) -> Credentials:
    """Read what was presented; raises ``Unauthenticated`` if there is nothing or it is unclear."""
    if presented.is_distrusted:
        raise Unauthenticated(Refusal.CERTIFICATE_DISTRUSTED)
    authorization, certificate = presented.authorization, presented.certificate
    if len(authorization) > 1:
        raise Unauthenticated(Refusal.SEVERAL_HEADERS)
    bearer = _bearer(authorization[0]) if authorization else None
    if bearer is None and certificate is None:
        raise Unauthenticated(Refusal.NO_CREDENTIAL)
    return Credentials(bearer, certificate, presented.peer)


def _bearer(header: bytes) -> Bearer:
    usual = USUAL.fullmatch(header)
    text = _token(header) if usual is None or len(header) > LARGEST else usual[1]
    return Bearer(text.decode("ascii"))


def _token(header: bytes) -> bytes:
    """Return the token of any Authorization header; raises ``Unauthenticated``."""
    scheme, _, rest = header.strip(b" \t").partition(b" ")
    if not scheme.isalpha():
        raise Unauthenticated(Refusal.HEADER_MALFORMED)
    if scheme.lower() != b"bearer":
        raise Unauthenticated(Refusal.SCHEME_UNSUPPORTED)
    text = rest.lstrip(b" ")
    if not text:
        raise Unauthenticated(Refusal.BEARER_EMPTY)
    if len(text) > LARGEST:
        raise Unauthenticated(Refusal.BEARER_TOO_LARGE)
    if TOKEN68.fullmatch(text) is None:
        raise Unauthenticated(Refusal.HEADER_MALFORMED)
    return text
