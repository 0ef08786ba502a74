"""A site: one Gigya API key with its data center, keys and habits."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from service.settings.credentials import SiteAuthentication
from service.settings.shapes import (
    API_KEY,
    OURS,
    ZONE,
    File,
    Many,
    Member,
    Origin,
    ProviderText,
    Section,
    one_of,
)

Window = Annotated[float, Field(ge=1, le=3600)]
"""Seconds by which a signature may be old."""


class Simulator(Section):
    """A Gigya of our own, for tests and staging."""

    url: Origin
    """Where it listens; http only on loopback, because secrets travel there."""
    ca_file: File | None = None
    """PEM: who signed its certificate."""


class Encryption(Section):
    """What Gigya is asked to seal, and whether a reply that is not sealed is taken."""

    mode: Literal["required", "preferred"] = "required"
    """required refuses what comes back plain."""
    scope: Literal["secrets", "all"] = "secrets"
    """secrets seals tokenSecret and sessionHandle, all (encryptAll) every field."""
    padding: Literal["PKCS7", "PKCS5", "ZEROS"] = "PKCS7"
    """ZEROS is lossy and allowed with one partner secret only."""


class Expiries(Section):
    """How the site's expiries are meant where they leave it open."""

    relative: bool = False
    """Digits below 10^9 are seconds from now; false refuses them."""
    time_zone: Annotated[str, Field(pattern=ZONE)] = "UTC"
    """IANA zone of times that name none."""


class ProviderUidSignature(Section):
    """How providerUIDSig is checked; Gigya's pages contradict each other (facts.md section 4)."""

    base_string: Literal["either", "session_info", "identity"] = "either"
    """timestamp_providerUID (session_info) or timestamp_provider_providerUID (identity)."""
    window: Window = 180
    """Seconds by which it may be old."""


class Names(Section):
    """A provider's own names for Gigya's fields; what has none is not answered."""

    authToken: Member  # noqa: N815  # Gigya's name, as grants spell it
    """Name of the access token."""
    tokenSecret: Member | None = None  # noqa: N815  # likewise
    """Name of the OAuth 1 secret."""
    tokenExpiration: Member | None = None  # noqa: N815  # likewise
    """Name of the token's seconds left."""
    sessionHandle: Member | None = None  # noqa: N815  # likewise
    """Name of the refresh token or session handle."""
    sessionExpiration: Member | None = None  # noqa: N815  # likewise
    """Name of the session's seconds left."""


COLUMNS: Final = ("oauth1", "oauth2", "facebook")


def _column_or_names(value: Any) -> Any:
    if not isinstance(value, (dict, Names)) and value not in COLUMNS:
        raise PydanticCustomError(OURS, "must be oauth1, oauth2, facebook, or a mapping of names")
    return value


def _form(value: Any) -> str:
    return "=names" if isinstance(value, (dict, Names)) else "=column"


class ProviderOverride(Section):
    """A row of the mapping for this site: a new provider, or a known one renamed."""

    names: Annotated[
        Annotated[Literal["oauth1", "oauth2", "facebook"], Tag("=column")]
        | Annotated[Names, Tag("=names")],
        Discriminator(_form),
        BeforeValidator(_column_or_names),
    ]
    """A column of the documented table, or the names themselves."""


class Site(Section):
    """One Gigya API key and everything that belongs to it."""

    model_config = ConfigDict(json_schema_extra=one_of("data_center", "simulator"))

    api_key: Annotated[str, Field(pattern=API_KEY)]
    """The site's API key; it is public."""
    data_center: str | None = None
    """Row of the table of data centers; absent only with a simulator."""
    legacy: bool = False
    """Allows the table's older rows."""
    simulator: Simulator | None = None
    """Instead of a data center."""
    partner_secret_files: Many[File] = ()
    """Base64 of 16, 24 or 32 octets each, newest first."""
    authentication: SiteAuthentication
    """How its requests prove themselves to Gigya."""
    encryption: Encryption = Encryption()
    """What Gigya is asked to seal."""
    naming: Literal["reply", "documented"] = "reply"
    """reply: OAuth 1 names where the reply holds a tokenSecret; documented: the table's column."""
    expiries: Expiries = Expiries()
    """How expiries are meant."""
    provider_uid_signature: ProviderUidSignature = ProviderUidSignature()
    """How providerUIDSig is checked."""
    user_proof_window: Window = 180
    """Seconds by which a UIDSignature may be old."""
    providers: Mapping[ProviderText, ProviderOverride] = {}
    """Rows of the mapping that are this site's own, SAML and OIDC names among them."""
