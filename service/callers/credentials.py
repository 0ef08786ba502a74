"""What a request presents, and what comes of it when it proves something."""

import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final, Protocol

from service.callers.refusals import Refusal
from service.callers.tokens import Token, take_apart
from service.errors import Unauthenticated
from service.model import Caller, CallerName, Identity
from service.secret import MASK
from service.values import value

LARGEST: Final = 16 * 1024
"""Octets of a bearer token."""

TOKEN68: Final = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")
"""RFC 9110, section 11.2."""


class Directory(Protocol):
    """Who has which identity; ``policy.Policy`` is one. It never changes."""

    @property
    def edition(self) -> object:
        """What tells it from every other, and is all that may be kept of it."""

    def caller_of(self, identity: Identity) -> CallerName | None:
        """Return the caller of exactly this identity."""


@dataclass(slots=True, kw_only=True)
class Proof:
    """Whom a credential proved to be calling, and until when it does.

    Some are kept for the requests that follow, and with them who that was by which edition.
    """

    identity: Identity
    namespace: str | None = None
    pod: str | None = None
    expires_at: datetime | None = None
    _found: tuple[object, Caller] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def caller(self, directory: Directory) -> Caller:
        """Return whose the identity is; raises ``Unauthenticated`` if it is nobody's."""
        found = self._found
        if found is None or found[0] is not directory.edition:
            found = self._found = directory.edition, self._look_up(directory)
        return found[1]

    def _look_up(self, directory: Directory) -> Caller:
        name = directory.caller_of(self.identity)
        if name is None:
            raise Unauthenticated(Refusal.IDENTITY_UNKNOWN, identity=self.identity)
        return Caller(
            name, self.identity, self.namespace or None, self.pod or None, self.expires_at
        )


Judgement = Proof | Awaitable[Proof]
"""A proof that is at hand, or what is one when it has been awaited, unless it raises instead."""


class Bearer:
    """A bearer token: its digest can be kept, the token itself lives as long as its request.

    ``octets`` may be anything. Whatever is done with them but to look the digest up raises
    ``Unauthenticated`` unless they are a token68: what was proved a moment ago is known to be one.
    """

    __slots__ = ("_octets", "_token", "digest")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._token: Token | Refusal | None = None
        self.digest = sha256(octets).digest()

    @property
    def token(self) -> Token | Refusal:
        """What it says as a JWS, unverified, or why it is none."""
        if self._token is None:
            self._token = take_apart(self.reveal())
        return self._token

    def reveal(self) -> str:
        """Return the token itself; every call of this is one of the named doors out."""
        self.require_token68()
        return self._octets.decode("ascii")

    def require_token68(self) -> None:
        """Raise ``Unauthenticated`` for what no bearer token can be."""
        if TOKEN68.fullmatch(self._octets) is None:
            raise Unauthenticated(Refusal.HEADER_MALFORMED)

    def __repr__(self) -> str:
        return f"Bearer({MASK})"


@value(kw_only=False, eq=False)
class Credentials:
    """What a request presents, read: at most one of each kind.

    The certificate is in DER; ``peer`` is what counts as one where they came from.
    """

    bearer: Bearer | None = None
    certificate: bytes | None = field(default=None, repr=False)
    peer: str = ""


def read(
    authorization: Sequence[bytes],
    certificate: bytes | None = None,
    *,
    is_distrusted: bool = False,
    peer: str = "",
) -> Credentials:
    """Read all Authorization headers of a request, and the certificate of its connection.

    ``is_distrusted`` says of the certificate that its authority is no longer trusted. Raises
    ``Unauthenticated`` if there is nothing or it is unclear.
    """
    if is_distrusted:
        raise Unauthenticated(Refusal.CERTIFICATE_DISTRUSTED)
    bearer = None
    if authorization:
        if len(authorization) > 1:
            raise Unauthenticated(Refusal.SEVERAL_HEADERS)
        bearer = Bearer(_token(authorization[0]))
    elif certificate is None:
        raise Unauthenticated(Refusal.NO_CREDENTIAL)
    return Credentials(bearer, certificate, peer)


def _token(header: bytes) -> bytes:
    """Return what stands for a token in a header; raises ``Unauthenticated``."""
    if header[:7] == b"Bearer ":  # as nearly everybody writes it
        text = header[7:].rstrip(b" \t").lstrip(b" ")
    else:
        text = _after_scheme(header.strip(b" \t"))
    if not text:
        raise Unauthenticated(Refusal.BEARER_EMPTY)
    if len(text) > LARGEST:
        raise Unauthenticated(Refusal.BEARER_TOO_LARGE)
    return text


def _after_scheme(header: bytes) -> bytes:
    """Return what follows the scheme; raises ``Unauthenticated`` where that is another."""
    scheme, _, rest = header.partition(b" ")
    if scheme.lower() != b"bearer":
        is_scheme = scheme.isalpha()
        raise Unauthenticated(Refusal.SCHEME_UNSUPPORTED if is_scheme else Refusal.HEADER_MALFORMED)
    return rest.lstrip(b" ")
