"""What a Gigya holds: sites with their keys, users, and the users' sessions with providers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from service.simulator import signing
from service.simulator.expiries import ExpiryForm
from service.simulator.signing import ProviderUidForm

GET_SESSION_INFO: Final = "socialize.getSessionInfo"
GET_TOKEN: Final = "socialize.getToken"  # noqa: S105  # a method's name
DATA_CENTERS: Final = (
    "us1.gigya.com",
    "eu1.gigya.com",
    "eu2.gigya.com",
    "au1.gigya.com",
    "ru1.gigya.com",
    "global.gigya.com",
    "cn1.sapcdm.cn",
    "cn1.gigya-api.cn",
)
SEALED_BY_ENCRYPT_ALL: Final = frozenset(
    {
        "authToken",
        "tokenSecret",
        "tokenExpiration",
        "tokenExpirationUTC",
        "sessionHandle",
        "sessionExpiration",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A user's session with one provider; times are UNIX seconds, an empty text is no value.

    ``renewed_every`` seconds the expiry moves on by itself, as if the provider had renewed it.
    """

    auth_token: str = field(repr=False)
    provider_uid: str = field(repr=False)
    token_secret: str = field(default="", repr=False)
    token_expires_at: float | None = None
    renewed_every: float | None = None
    session_handle: str = field(default="", repr=False)
    session_expires_at: float | None = None
    is_expired: bool = False
    """Gigya answers 403009 for it."""

    def token_expiry(self, now: float) -> float | None:
        """Return when the token ends, seen at ``now``."""
        end, step = self.token_expires_at, self.renewed_every
        if end is None or step is None or now < end:
            return end
        return end + ((now - end) // step + 1) * step


Users = Mapping[str, Mapping[str, Connection]]
"""UID -> provider -> connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserKey:
    """A user or application key; several secrets and public keys are active while one rotates."""

    user_key: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    public_keys: tuple[RSAPublicKey, ...] = field(default=(), repr=False)
    may: frozenset[str] = frozenset({GET_SESSION_INFO, GET_TOKEN})
    """The methods that it has the right to call; any other is 403007."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One API key and how its Gigya behaves: every switch that facts.md leaves open is here."""

    api_key: str
    data_center: str = "us1.gigya.com"
    partner_secrets: tuple[str, ...] = field(repr=False)
    """Base64, newest first; each of them authenticates (where that is allowed at all)."""
    sealing_secret: str | None = field(default=None, repr=False)
    """Which one seals and signs UIDs; ``None`` is the newest."""
    partner_secret_authenticates: bool = False
    """SAP has refused it since 31 Jan 2023, plain, signed or behind OAuth 2: 403010."""
    user_keys: Mapping[str, UserKey] = field(default_factory=dict)
    users: Users = field(default_factory=dict)
    applications: frozenset[str] | None = None
    """Providers that the site has an application for, ``None`` for all; others are 500031."""
    unsupported: frozenset[str] = frozenset()
    """Providers that Gigya knows and has no session info for: 400096."""
    unknown_uid: int = 403005
    """What an unknown UID gets: 403005 or 404003."""
    clock_window: float = 120.0
    """Seconds that a timestamp or ``iat`` may be off, either way; the real one is not known."""
    calls_per_second: int | None = None
    """Above it 403048."""
    concurrent_per_uid: int = 5
    """Above it 409030."""
    token_life: int | None = 3600
    """Seconds of an OAuth 2 access token; ``None``: no ``expires_in``, it never expires."""
    ignores: frozenset[str] = frozenset()
    """Parameters of the method that this Gigya does not know: dropped, in ``ignoredParams``."""
    encrypts_by_default: bool | None = None
    """What holds without ``encrypt``; ``None``: encrypted over HTTP alone, as documented."""
    encrypt_all: frozenset[str] = SEALED_BY_ENCRYPT_ALL
    """The fields that ``encryptAll`` seals."""
    provider_uid_form: ProviderUidForm = ProviderUidForm.SESSION_INFO
    expiry_field: str = "tokenExpirationUTC"
    """Or ``tokenExpiration``, the older name."""
    expiry_form: ExpiryForm = ExpiryForm.DATE_TIME
    empty_fields: bool = False
    """What the provider does not need is present and empty instead of absent."""

    @property
    def sealing(self) -> str:
        """The secret that seals fields and signs UIDs now."""
        return self.sealing_secret or self.partner_secrets[0]

    def sign_uid(self, uid: str, timestamp: str) -> str:
        """Return the ``UIDSignature`` that the browser of ``uid`` is given at ``timestamp``."""
        return signing.sign_uid(uid, timestamp, self.sealing)


class World:
    """All sites, and the data center that this Gigya is; changes hold from the next call on."""

    def __init__(self, *sites: Site, data_center: str = "us1.gigya.com") -> None:
        self.data_center = data_center
        self.sites = {site.api_key: site for site in sites}

    def change(self, api_key: str, **changes: Any) -> Site:
        """Replace the named attributes of a site; returns the site as it is now."""
        self.sites[api_key] = replace(self.sites[api_key], **changes)
        return self.sites[api_key]

    def connect(self, api_key: str, uid: str, provider: str, connection: Connection) -> None:
        """Give ``uid`` a session with ``provider``, in place of any it had."""
        users = self.sites[api_key].users
        self.change(api_key, users={**users, uid: {**users.get(uid, {}), provider: connection}})

    def disconnect(self, api_key: str, uid: str, provider: str) -> None:
        """Take the session of ``uid`` with ``provider`` away; the user stays."""
        users = self.sites[api_key].users
        left = {name: each for name, each in users[uid].items() if name != provider}
        self.change(api_key, users={**users, uid: left})
