"""The ways in which callers may prove who they are."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from service.settings.shapes import (
    DIGEST,
    OURS,
    TRUST_DOMAIN,
    File,
    HttpsUrl,
    Instant,
    Line,
    Name,
    Seconds,
    Section,
    Some,
    one_of,
    tag_of,
)
from service.subject_patterns import SLASH

Algorithm = Literal[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
]
"""Signatures with a private key only: no HMAC, and never none."""


class StaticToken(Section):
    """One bearer token, known by its digest alone."""

    subject: Line
    """The identity that it proves."""
    sha256: Annotated[str, Field(pattern=DIGEST)]
    """Digest of the token; `token new` makes both."""
    expires: Instant
    """When it stops being accepted."""


class Static(Section):
    """Bearer tokens of our own making."""

    name: Name
    """What identities and records call this way."""
    method: Literal["static"]
    """This way."""
    tokens: Some[StaticToken]
    """Those that are accepted."""


def _only_true(value: bool | None) -> bool | None:  # noqa: FBT001  # pydantic calls it
    if value is False:
        raise PydanticCustomError(OURS, "must be true, or left out where another key says it")
    return value


def _claim(value: Any) -> Any:
    if not isinstance(value, (str, int)):
        raise PydanticCustomError(OURS, "must be text, a whole number, true or false")
    return value


Claim = Annotated[str | int | bool, BeforeValidator(_claim)]
"""What a claim must be, exactly."""


class KeySource(Section):
    """Where an issuer's public keys come from: exactly one of the three."""

    model_config = ConfigDict(json_schema_extra=one_of("discovery", "jwks_uri", "file"))

    discovery: Annotated[
        bool | None, AfterValidator(_only_true), Field(json_schema_extra={"enum": [True, None]})
    ] = None
    """From the issuer's discovery document."""
    jwks_uri: HttpsUrl | None = None
    """From this address."""
    file: File | None = None
    """From this file: a JSON Web Key Set."""


class Jwt(Section):
    """Tokens of a Kubernetes cluster or any OpenID Connect issuer, verified here."""

    name: Name
    """What identities and records call this way."""
    method: Literal["jwt"]
    """This way."""
    kind: Literal["service_account", "oidc"]
    """service_account: the subject is namespace/name."""
    issuer: HttpsUrl
    """Exactly as the token's iss."""
    audiences: Some[Line]
    """One of them must be among the token's aud."""
    algorithms: Some[Algorithm] = ("RS256",)
    """Signatures that are accepted."""
    keys: KeySource
    """Where its public keys come from."""
    subject_claim: Line = "sub"
    """Claim that is the subject; a service account's is always sub."""
    required_claims: Mapping[Line, Claim] = {}
    """Claims that must be there with exactly this value."""
    leeway: Annotated[float, Field(ge=0, le=300)] = 30
    """Seconds by which the issuer's clock may differ."""
    ca_file: File | None = None
    """PEM: who signed the certificate of the issuer's address."""
    token_file: File | None = None
    """Our own service-account token, where the issuer shows its keys to nobody else."""
    max_token_life: Annotated[float, Field(ge=60, le=31_536_000)] | None = None
    """Seconds from iat to exp beyond which a token is refused."""
    keys_refresh: Annotated[float, Field(ge=10, le=86_400)] = 300
    """Seconds after which keys are fetched again."""
    keys_max_staleness: Annotated[float, Field(ge=10, le=2_592_000)] = 86_400
    """Seconds that keys are believed while the issuer is away."""


class TokenReview(Section):
    """Kubernetes service-account tokens, asked about at the API server."""

    name: Name
    """What identities and records call this way."""
    method: Literal["token_review"]
    """This way."""
    issuer: HttpsUrl
    """Exactly as the token's iss."""
    audience: Line
    """Ours: it must be among the token's aud and in the review's answer."""
    api_server: HttpsUrl = "https://kubernetes.default.svc"
    """Where the API server listens."""
    ca_file: File
    """PEM: who signed its certificate."""
    token_file: File
    """Our own service-account token, read again as it is renewed."""
    cache: Annotated[float, Field(ge=0, le=300)] = 10
    """Seconds that an answer is believed: the longest life of a revoked token here."""
    timeout: Seconds = 3
    """Seconds that the API server has."""


class MutualTls(Section):
    """The client certificate of the connection."""

    name: Name
    """What identities and records call this way."""
    method: Literal["mutual_tls"]
    """This way."""
    identity: Literal["spiffe", "dns", "subject"] = "spiffe"
    """Where in the certificate the subject stands: URI SAN, DNS SAN, or its subject."""
    trust_domain: Annotated[str, Field(pattern=TRUST_DOMAIN)] | None = None
    """SPIFFE trust domain outside of which certificates are refused."""


Authentication = Annotated[
    Annotated[Static, Tag("=static")]
    | Annotated[Jwt, Tag("=jwt")]
    | Annotated[TokenReview, Tag("=token_review")]
    | Annotated[MutualTls, Tag("=mutual_tls")],
    Discriminator(tag_of("method")),
]


def separator_of(way: Authentication | None) -> str:
    """Return what no ``*`` crosses in patterns of the way's subjects."""
    return "." if isinstance(way, MutualTls) and way.identity == "dns" else SLASH
