"""The ways to prove ourselves to Gigya: parameters in, form and headers out.

Source: facts.md §3. One way per request, never mixed. A secret travels only in a form, which is
only ever posted over TLS (``sites``).
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from service.gigya import signature
from service.gigya.keys import HmacKey, RsaKey
from service.secret import Secret
from service.values import value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bearer:
    """A JWT per request, signed by the RSA key of a user or application key; the best way."""

    user_key: str
    key: RsaKey


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UserKey:
    """A user or application key and its secret, plain over TLS."""

    user_key: str
    secret: Secret[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UserKeySigned:
    """A user or application key whose secret signs the request and stays here."""

    user_key: str
    key: HmacKey


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signed:
    """The partner secret signs the request; Gigya refuses it since 31 January 2023."""

    key: HmacKey


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartnerSecret:
    """The partner secret, plain over TLS; Gigya refuses it since 31 January 2023."""

    secret: Secret[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OAuth2:
    """A token of ``socialize.getToken``, had for a user key, or for the API key where it is None.

    Without a user key the secret is the partner secret.
    """

    user_key: str | None = None
    secret: Secret[str]


Credentials = Bearer | UserKey | UserKeySigned | Signed | PartnerSecret | OAuth2


@value(kw_only=False)
class Authenticated:
    """What to post: the whole form, encoded as it was signed, and headers; both hold secrets."""

    form: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)


@value(kw_only=False, eq=False)
class Call:
    """What a way may use.

    ``now`` is UNIX seconds at Gigya; ``nonce`` must be new for each request, a retry included;
    ``access_token`` is what ``OAuth2`` presents.
    """

    params: Mapping[str, str] = field(repr=False)
    url: str
    api_key: str
    now: float
    nonce: str
    access_token: Secret[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way: how the configuration calls it, its credentials, and what it adds to a call."""

    name: str
    credentials: type[Any]
    apply: Callable[[Any, Call], Authenticated]


RESERVED: Final = frozenset(
    {"apiKey", "userKey", "secret", "sig", "nonce", "timestamp", "oauth_token"}
)
"""Parameters that belong to authentication alone."""


def authenticate(credentials: Credentials, call: Call) -> Authenticated:
    """Return the form and headers with which the parameters of ``call`` are posted to its URL.

    Raises ``ValueError`` for parameters that belong to authentication, and for ``OAuth2`` without
    a token.
    """
    if not RESERVED.isdisjoint(call.params):
        raise ValueError("a parameter belongs to authentication")
    return _BY_CREDENTIALS[type(credentials)].apply(credentials, call)


def token_request(credentials: OAuth2, params: Mapping[str, str], *, api_key: str) -> Authenticated:
    """Return the form and headers that ask ``socialize.getToken`` for an access token."""
    form = {**params, "grant_type": "client_credentials"}
    secret = credentials.secret.reveal()
    if credentials.user_key is None:
        basic = base64.b64encode(f"{api_key}:{secret}".encode()).decode("ascii")
        return _unsigned(form, {"Authorization": f"Basic {basic}"})
    form |= {"client_id": api_key, "userKey": credentials.user_key, "secret": secret}
    return _unsigned(form, {})


def uses_partner_secret(credentials: Credentials) -> bool:
    """Whether Gigya would be shown or signed to with the partner secret, dead since 2023."""
    if isinstance(credentials, OAuth2):
        return credentials.user_key is None
    return isinstance(credentials, Signed | PartnerSecret)


def _bearer(credentials: Bearer, call: Call) -> Authenticated:
    header = {"alg": "RS256", "typ": "JWT", "kid": credentials.user_key}
    claims = {"iat": int(call.now), "jti": call.nonce}
    signed = f"{_base64url(_json(header))}.{_base64url(_json(claims))}"
    token = f"{signed}.{_base64url(credentials.key.sign(signed.encode('ascii')))}"
    params = {**call.params, "apiKey": call.api_key}
    return _unsigned(params, {"Authorization": f"Bearer {token}"})


def _user_key(credentials: UserKey, call: Call) -> Authenticated:
    user_key, secret = credentials.user_key, credentials.secret.reveal()
    return _posted(call, apiKey=call.api_key, userKey=user_key, secret=secret)


def _partner_secret(credentials: PartnerSecret, call: Call) -> Authenticated:
    return _posted(call, apiKey=call.api_key, secret=credentials.secret.reveal())


def _user_key_signed(credentials: UserKeySigned, call: Call) -> Authenticated:
    return _signature(credentials.key, call, {"userKey": credentials.user_key})


def _signed(credentials: Signed, call: Call) -> Authenticated:
    return _signature(credentials.key, call, {})


def _signature(key: HmacKey, call: Call, added: Mapping[str, str]) -> Authenticated:
    params = {
        **call.params,
        **added,
        "apiKey": call.api_key,
        "timestamp": str(int(call.now)),
        "nonce": call.nonce,
    }
    form = signature.encoded_form(params)
    sig = key.sign(signature.base_string("POST", call.url, form))
    return Authenticated(f"{form}&sig={signature.encoded(sig)}", {})


def _oauth2(_: OAuth2, call: Call) -> Authenticated:
    # The SDKs send the token as a parameter, and then no API key: the token knows its site.
    if call.access_token is None:
        raise ValueError("OAuth 2 needs an access token")
    return _posted(call, oauth_token=call.access_token.reveal())


def _posted(call: Call, **added: str) -> Authenticated:
    return _unsigned({**call.params, **added}, {})


def _unsigned(params: Mapping[str, str], headers: dict[str, str]) -> Authenticated:
    return Authenticated(signature.encoded_form(params), headers)


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


WAYS: Final[Mapping[str, Way]] = MappingProxyType(
    {
        way.name: way
        for way in (
            Way(name="bearer", credentials=Bearer, apply=_bearer),
            Way(name="user_key", credentials=UserKey, apply=_user_key),
            Way(name="user_key_signed", credentials=UserKeySigned, apply=_user_key_signed),
            Way(name="signed", credentials=Signed, apply=_signed),
            Way(name="partner_secret", credentials=PartnerSecret, apply=_partner_secret),
            Way(name="oauth2", credentials=OAuth2, apply=_oauth2),
        )
    }
)
_BY_CREDENTIALS: Final = {way.credentials: way for way in WAYS.values()}
