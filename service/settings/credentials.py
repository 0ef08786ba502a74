"""How a site's requests prove themselves to Gigya (facts.md section 3)."""

from typing import Annotated, Final, Literal

from pydantic import Discriminator, Field, Tag

from service.settings.shapes import USER_KEY, File, Section, tag_of

UserKeyText = Annotated[str, Field(pattern=USER_KEY)]


class Bearer(Section):
    """An RSA-signed token per request: the way Gigya recommends."""

    method: Literal["bearer"]
    """This way."""
    user_key: UserKeyText
    """The user or application key whose public half Gigya holds."""
    key_file: File
    """PEM (PKCS#1 or PKCS#8): its RSA private key, 2048 bits or more, not encrypted."""


class UserKey(Section):
    """A user or application key and its secret, sent as they are over TLS."""

    method: Literal["user_key"]
    """This way."""
    user_key: UserKeyText
    """The user or application key."""
    secret_file: File
    """Base64: the key's own secret."""


class UserKeySigned(Section):
    """A user or application key, its secret only signing."""

    method: Literal["user_key_signed"]
    """This way."""
    user_key: UserKeyText
    """The user or application key."""
    secret_file: File
    """Base64: the key's own secret."""


class Signed(Section):
    """A signature with the partner secret; Gigya refuses it since 31 January 2023."""

    method: Literal["signed"]
    """This way."""
    secret_file: File
    """Base64: the partner secret."""


class PartnerSecret(Section):
    """The partner secret sent as it is; Gigya refuses it since 31 January 2023."""

    method: Literal["partner_secret"]
    """This way."""
    secret_file: File
    """Base64: the partner secret."""


class OAuth2(Section):
    """A token from socialize.getToken, kept until it expires."""

    method: Literal["oauth2"]
    """This way."""
    user_key: UserKeyText | None = None
    """The user or application key; absent: the API key is the client and the secret the partner's,
    which Gigya refuses since 31 January 2023."""
    secret_file: File
    """Base64: the secret of the user key, or of the partner."""
    max_age: Annotated[float, Field(ge=10, le=86_400)] = 3600
    """Seconds after which a token is renewed even if Gigya says that it lives on."""


Credentials = Annotated[
    Annotated[Bearer, Tag("=bearer")]
    | Annotated[UserKey, Tag("=user_key")]
    | Annotated[UserKeySigned, Tag("=user_key_signed")]
    | Annotated[Signed, Tag("=signed")]
    | Annotated[PartnerSecret, Tag("=partner_secret")]
    | Annotated[OAuth2, Tag("=oauth2")],
    Discriminator(tag_of("method")),
]

WITH_PARTNER_SECRET: Final = (Signed, PartnerSecret)
"""Ways that Gigya refuses since 31 January 2023 (facts.md section 2)."""


class SiteAuthentication(Section):
    """The way in use, and the one before it while a key is being rotated."""

    current: Credentials
    """What is tried first."""
    previous: Credentials | None = None
    """What is tried when Gigya rejects the current one."""
