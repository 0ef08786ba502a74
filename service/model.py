"""The nouns of a release: who asks, for what, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import inf
from typing import Any, Final, NamedTuple, NewType, Protocol

from service.secret import Secret
from service.values import value

CallerName = NewType("CallerName", str)
SiteName = NewType("SiteName", str)
ProviderName = NewType("ProviderName", str)
Uid = NewType("Uid", str)

PEER_CERTIFICATE: Final = "service.peer_certificate"
"""Key of the ASGI scope under which the listener puts the peer's verified certificate (DER)."""
PEER_DISTRUSTED: Final = "service.peer_distrusted"
"""Key under which it puts ``True`` if no authority is left that would verify it now."""

AT_ONCE: Final = "service.at_once"
"""Key of the ASGI scope under which a listener puts an ``AtOnce``."""

ON_GONE: Final = "service.on_gone"
"""Key of the ASGI scope's ``state`` under which an application puts what the listener is to call
when the peer has gone: a message that nobody waits for would come to nobody."""


class AtOnce(Protocol):
    """What a listener does in one step beside ``receive`` and ``send``, where it can."""

    def whole_body(self) -> bytes | None:
        """Return the request's body, or ``None`` where ``receive`` has more to tell."""

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """Send an answer, and return whether it is sent; if not, ``send`` has more to do.

        ``lines`` are its headers, which say the length of ``body``, each with its end (RFC 9112).
        """


class Field(StrEnum):
    """The fields of Gigya's session info that a grant can name, under Gigya's names."""

    AUTH_TOKEN = "authToken"  # noqa: S105  # a field's name
    TOKEN_SECRET = "tokenSecret"  # noqa: S105  # a field's name
    TOKEN_EXPIRATION = "tokenExpiration"  # noqa: S105  # a field's name
    SESSION_HANDLE = "sessionHandle"
    SESSION_EXPIRATION = "sessionExpiration"
    PROVIDER_UID = "providerUID"


GRANTABLE: Final = (
    Field.AUTH_TOKEN,
    Field.TOKEN_SECRET,
    Field.SESSION_HANDLE,
    Field.PROVIDER_UID,
)
"""What a grant may list; the two expiries follow the field whose life they tell."""

FOLLOWS: Final[Mapping[Field, Field]] = {
    Field.TOKEN_EXPIRATION: Field.AUTH_TOKEN,
    Field.SESSION_EXPIRATION: Field.SESSION_HANDLE,
}


@value()
class Identity:
    """What a credential proved: the authentication's name and the subject it vouches for."""

    via: str
    subject: str


@value(kw_only=False)
class Caller:
    """An internal workload that asks us, as its credential proved it."""

    name: CallerName
    identity: Identity
    namespace: str | None = None
    pod: str | None = None
    credential_expires_at: datetime | None = None
    told: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What the audit writes of it, from the first time on: many requests are of one proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UidSignature:
    """Gigya's signature of a UID, as the user's browser received it (``timestamp_UID``)."""

    timestamp: str
    signature: str = field(repr=False)


@value(kw_only=False)
class TokenRequest:
    """A well-formed request for provider tokens; nothing in it has been decided yet.

    ``provider`` and ``fields`` are as asked: names are resolved by ``providers``.
    ``min_ttl`` and ``max_age`` are seconds.
    """

    uid: Uid = field(repr=False)
    provider: str
    site: str | None = None
    fields: tuple[str, ...] | None = None
    min_ttl: int = 0
    max_age: int | None = None
    cid: str | None = field(default=None, repr=False)
    context: Any = field(default=None, repr=False)
    has_context: bool = False
    verify_provider_uid: bool = False
    uid_signature: UidSignature | None = None


class SessionQuery(NamedTuple):
    """Which session to get from Gigya: everything that makes two calls the same call.

    A tuple, since it is a key: each request looks it up four times and more.
    """

    site: SiteName
    provider: ProviderName
    uid: Uid
    cid: str | None = None
    sign_ids: bool = False

    def __repr__(self) -> str:
        """Show no user."""
        return f"SessionQuery({self.site!r}, {self.provider!r}, sign_ids={self.sign_ids})"


@value(kw_only=False)
class Exchange:
    """What the audit keeps of our calls to Gigya for one request, good or bad.

    ``asked_at`` is UNIX seconds at which the last of them began.
    """

    error_code: int | None = None
    call_id: str | None = None
    attempts: int = 0
    milliseconds: float = 0.0
    cached: bool = False
    key_slot: int | None = None
    asked_at: float | None = field(default=None, compare=False)
    told: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What the audit writes of it, from the first time on: many are answered from one call."""

    def opened_by(self, slot: int) -> "Exchange":
        """Return it with the slot of the key that opened the reply."""
        calls, took = self.attempts, self.milliseconds
        return Exchange(
            self.error_code, self.call_id, calls, took, self.cached, slot, self.asked_at
        )


@value(kw_only=False, eq=False)
class Session:
    """A provider session, decrypted: Gigya's fields under our names.

    An absent or empty field of the reply is ``None``. Expiries are aware datetimes in UTC.
    ``fetched_at`` is UNIX seconds at which Gigya was asked: it may have changed as soon as it had
    answered. ``provider_uid_verified`` is ``None`` where no signature was
    asked.
    """

    fetched_at: float
    exchange: Exchange
    auth_token: Secret[str]
    token_secret: Secret[str] | None = None
    token_expires_at: datetime | None = None
    session_handle: Secret[str] | None = None
    session_expires_at: datetime | None = None
    provider_uid: Secret[str] | None = None
    provider_uid_verified: bool | None = None
    user: Secret[str] | None = None
    """Whose it is: a UID."""
    told: "tuple[object, ProviderTokens] | None" = field(default=None, init=False, repr=False)
    """What was last made of it, after what that depends on: a kept session is asked for again."""


@value(kw_only=False, eq=False)
class ProviderTokens:
    """A session under the provider's names, filtered for one caller: the same at any time.

    ``tokens`` holds secrets and, for an expiry, when it is; ``released`` are Gigya's names of what
    it holds, ``withheld`` and ``withheld_names`` what the reply held and policy refused. The
    expiries are of what was released, in UTC. By ``token_ends`` and ``handle_ends`` what is
    released must be out; they are UNIX seconds, as what ``tokens`` holds, and infinite where no end
    is known.
    """

    tokens: Mapping[str, Secret[str] | float]
    released: tuple[Field, ...]
    withheld: tuple[Field, ...]
    withheld_names: tuple[str, ...]
    provider_uid: Secret[str] | None = None
    expires_at: datetime | None = None
    session_expires_at: datetime | None = None
    token_ends: float = inf
    handle_ends: float = inf
    alias: tuple[object, Mapping[str, str]] | None = field(default=None, init=False, repr=False)
    """Who calls its secrets what, as ``Secret.alias`` says of one."""
