"""The mapping table: what each provider calls the fields of Gigya's session info.

Source: socialize.getSessionInfo, "Session Fields' Mapping", 6 Jan 2015; what it leaves out is
inferred from the provider's protocol and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from service.model import Field, ProviderName

NAMED: Final = (
    Field.AUTH_TOKEN,
    Field.TOKEN_SECRET,
    Field.TOKEN_EXPIRATION,
    Field.SESSION_HANDLE,
    Field.SESSION_EXPIRATION,
)
"""The fields that have a name at a provider, in the order of the documented table."""


class FieldNames(NamedTuple):
    """One column of the table; ``None`` where the provider has no such field."""

    auth_token: str
    token_secret: str | None = None
    token_expiration: str | None = None
    session_handle: str | None = None
    session_expiration: str | None = None

    @lru_cache(maxsize=1024)  # noqa: B019  # columns are few, and values
    def by_field(self) -> Mapping[Field, str]:
        """Return the names that there are."""
        names = {field: name for field, name in zip(NAMED, self, strict=True) if name is not None}
        return MappingProxyType(names)


OAUTH1: Final = FieldNames(
    "oauth_token",
    "oauth_token_secret",
    "oauth_expires_in",
    "oauth_session_handle",
    "oauth_authorization_expires_in",
)
OAUTH2: Final = FieldNames("access_token", None, "expires_in", "refresh_token")
FACEBOOK: Final = FieldNames("access_token", None, "expires")

FAMILIES: Final[Mapping[str, FieldNames]] = {
    "oauth1": OAUTH1,
    "oauth2": OAUTH2,
    "facebook": FACEBOOK,
}


class Source(StrEnum):
    """Where a row's names come from."""

    DOCUMENTED = "documented"
    INFERRED = "inferred"
    CONFIGURED = "configured"
    UNMAPPED = "unmapped"


class Naming(StrEnum):
    """Whether the reply or the table decides about names."""

    REPLY = "reply"
    DOCUMENTED = "documented"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One provider of the mapping.

    ``names`` is the table's column, ``None`` where there is no mapping; ``is_fixed`` says that
    neither the reply nor ``naming`` changes it.
    """

    name: ProviderName
    aliases: tuple[str, ...] = ()
    names: FieldNames | None
    is_fixed: bool = False
    source: Source
    evidence: str

    @property
    def columns(self) -> tuple[FieldNames, ...]:
        """Every column that an answer for this provider may use."""
        if self.names is None:
            return ()
        return (self.names,) if self.is_fixed else (OAUTH1, OAUTH2)


ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "google": ("googleplus",),
    "microsoft": ("messenger",),
    "orangefr": ("orangefrance",),
    "paypaloauth": ("paypal",),
}

_TABLE: Final = "getSessionInfo of 6 Jan 2015, mapping table, column "
_BY_PROTOCOL: Final = "in no mapping table; the provider's protocol is "

_GROUPS: Final[tuple[tuple[FieldNames | None, Source, str, str], ...]] = (
    (FACEBOOK, Source.DOCUMENTED, f"{_TABLE}Facebook", "facebook"),
    (
        OAUTH1,
        Source.DOCUMENTED,
        f"{_TABLE}Twitter",
        "twitter google yahoo hi5 kaixin linkedin skyrock vznet",
    ),
    (
        OAUTH2,
        Source.DOCUMENTED,
        f"{_TABLE}Foursquare",
        "foursquare microsoft mixi qq renren sina vkontakte",
    ),
    (OAUTH1, Source.INFERRED, f"{_BY_PROTOCOL}OAuth 1.0a", "xing myspace orkut"),
    (
        OAUTH2,
        Source.INFERRED,
        f"{_BY_PROTOCOL}OAuth 2.0",
        (
            "odnoklassniki instagram wordpress amazon paypaloauth line wechat yahoojapan apple "
            "kakao naver spiceworks blogger"
        ),
    ),
    (
        None,
        Source.UNMAPPED,
        "OpenID or assertions: no token that a mapping could name",
        "livejournal aol livedoor netlog orangefr",
    ),
)

ROWS: Final[tuple[Row, ...]] = tuple(
    Row(
        name=ProviderName(name),
        aliases=ALIASES.get(name, ()),
        names=names,
        is_fixed=names is FACEBOOK,
        source=source,
        evidence=evidence,
    )
    for names, source, evidence, members in _GROUPS
    for name in members.split()
)
