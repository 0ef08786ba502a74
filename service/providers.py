"""Gigya's session fields under the providers' own names, for what one caller may have."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from math import floor
from typing import Final

from service.catalogue import BASE, Catalogue, describe, describe_catalogue, field_names
from service.errors import InvalidRequest, ReauthenticationRequired, TokenExpiring
from service.model import FOLLOWS, Field, ProviderTokens, Session
from service.provider_rows import (
    FACEBOOK,
    NAMED,
    OAUTH1,
    OAUTH2,
    ROWS,
    FieldNames,
    Naming,
    Row,
    Source,
)
from service.secret import Secret

__all__ = [
    "BASE",
    "FACEBOOK",
    "OAUTH1",
    "OAUTH2",
    "ROWS",
    "Catalogue",
    "FieldNames",
    "Naming",
    "Row",
    "Source",
    "describe",
    "describe_catalogue",
    "earliest_expiry",
    "field_names",
    "names_for",
    "provider_tokens",
    "resolve",
    "with_followers",
]

GIGYA_NAMES: Final[Mapping[str, Field]] = {
    **{field.value: field for field in Field},
    "tokenExpirationUTC": Field.TOKEN_EXPIRATION,  # its name in today's REST documentation
}

TOKEN_FIELDS: Final = frozenset({Field.AUTH_TOKEN, Field.TOKEN_SECRET, Field.TOKEN_EXPIRATION})
EVERY_FIELD: Final = frozenset(Field)
SESSION_FIELDS: Final = frozenset({Field.SESSION_HANDLE, Field.SESSION_EXPIRATION})


def names_for(row: Row, naming: Naming, *, has_token_secret: bool) -> FieldNames:
    """Return the column for a reply: fixed, pinned, or by whether it holds a token secret."""
    if row.names is not None and (row.is_fixed or naming is Naming.DOCUMENTED):
        return row.names
    return OAUTH1 if has_token_secret else OAUTH2


def resolve(row: Row, wanted: Sequence[str]) -> tuple[Field, ...]:
    """Return the Gigya fields that ``wanted`` names, each once, in that order.

    A name is one that any column gives this provider, or Gigya's own. Raises ``InvalidRequest``.
    """
    known = {name: field for names in row.columns for field, name in names.by_field().items()}
    known = {**GIGYA_NAMES, **known}
    unknown = [str(at) for at, name in enumerate(wanted) if name not in known]
    if unknown:
        raise InvalidRequest(
            f"fields[{', '.join(unknown)}]: no name of this provider. Known: {', '.join(known)}."
        )
    return tuple(dict.fromkeys(known[name] for name in wanted))


@lru_cache(maxsize=256)  # more than there are sets of fields
def with_followers(fields: frozenset[Field]) -> frozenset[Field]:
    """Return ``fields`` and the expiries that follow them."""
    return fields | {follower for follower, field in FOLLOWS.items() if field in fields}


def provider_tokens(
    row: Row,
    session: Session,
    *,
    allowed: frozenset[Field],
    now: float,
    naming: Naming,
    min_ttl: int = 0,
    asked: frozenset[Field] | None = None,
) -> ProviderTokens:
    """Return ``session`` under the provider's names, holding nothing that is not ``allowed``.

    ``now`` is UNIX seconds, ``min_ttl`` seconds that a released token must still live. What the
    reply held, was asked (``None``: everything) and is not allowed counts as withheld.
    Raises ``ReauthenticationRequired`` and ``TokenExpiring``.
    """
    may = with_followers(allowed)
    wanted = EVERY_FIELD if asked is None else with_followers(asked)
    names = names_for(row, naming, has_token_secret=session.token_secret is not None)
    # Without a handle its expiry tells nothing.
    handle_expires_at = None if session.session_handle is None else session.session_expires_at
    token_left = _seconds_left(session.token_expires_at, now)
    handle_left = _seconds_left(handle_expires_at, now)
    _require_life(may, token_left, handle_left, min_ttl)
    tokens: dict[str, Secret[str] | int] = {}
    released: list[Field] = []
    withheld: list[Field] = []
    withheld_names: list[str] = []
    # The table's order, which is also the order of what is told.
    values = (
        session.auth_token,
        session.token_secret,
        token_left,
        session.session_handle,
        handle_left,
    )
    for field, name, value in zip(NAMED, names, values, strict=True):
        if name is None or value is None:
            continue
        if field in may:
            released.append(field)
            tokens[name] = value
        elif field in wanted:
            withheld.append(field)
            withheld_names.append(name)
    provider_uid = session.provider_uid if Field.PROVIDER_UID in may else None
    if provider_uid is not None:
        released.append(Field.PROVIDER_UID)
    elif session.provider_uid is not None and Field.PROVIDER_UID in wanted:
        withheld.append(Field.PROVIDER_UID)
    return ProviderTokens(
        tokens=tokens,
        released=tuple(released),
        withheld=tuple(withheld),
        withheld_names=tuple(withheld_names),
        provider_uid=provider_uid,
        expires_at=session.token_expires_at if Field.TOKEN_EXPIRATION in may else None,
        session_expires_at=handle_expires_at if Field.SESSION_EXPIRATION in may else None,
    )


def _seconds_left(expires_at: datetime | None, now: float) -> int | None:
    return None if expires_at is None else floor(expires_at.timestamp() - now)


def _require_life(
    may: frozenset[Field], token_left: int | None, handle_left: int | None, min_ttl: int
) -> None:
    """Refuse what would be dead on arrival; less than a whole second left is none."""
    if token_left is not None and token_left < 1 and may & TOKEN_FIELDS:
        raise ReauthenticationRequired(
            "The provider's token has expired; the user must log in again.", reason="token-expired"
        )
    if handle_left is not None and handle_left < 1 and may & SESSION_FIELDS:
        raise ReauthenticationRequired(
            "The provider's session handle has expired; the token can be asked for without it.",
            reason="session-handle-expired",
        )
    if token_left is not None and token_left < min_ttl and may & TOKEN_FIELDS:
        raise TokenExpiring("The provider's token expires sooner than min_ttl.")


def earliest_expiry(session: Session) -> datetime | None:
    """Return the sooner of the two expiries, ``None`` where none is known."""
    known = (session.token_expires_at, session.session_expires_at)
    return min((expiry for expiry in known if expiry is not None), default=None)
