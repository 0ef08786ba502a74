"""Gigya's session fields under the providers' own names, for what one caller may have."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from math import inf
from typing import Final, NamedTuple

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
    "field_names",
    "names_for",
    "provider_tokens",
    "require_life",
    "resolve",
    "with_followers",
]

GIGYA_NAMES: Final[Mapping[str, Field]] = {
    **{field.value: field for field in Field},
    "tokenExpirationUTC": Field.TOKEN_EXPIRATION,  # its name in today's REST documentation
}

TOKEN_FIELDS: Final = frozenset({Field.AUTH_TOKEN, Field.TOKEN_SECRET, Field.TOKEN_EXPIRATION})
EVERY_FIELD: Final = frozenset(Field)
VALUED: Final = (*NAMED, Field.PROVIDER_UID)
"""The fields of a session in the order in which they are told."""
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
    naming: Naming,
    asked: Collection[Field] | None = None,
) -> ProviderTokens:
    """Return ``session`` under the provider's names, holding nothing that is not ``allowed``.

    What the reply held, was asked (``None``: everything) and is not allowed counts as withheld.
    Whether it lives long enough ``require_life`` says. What was made last is kept with the session.
    """
    about = (row, naming, allowed, asked)
    told = session.told
    if told is None or told[0] != about:
        told = about, _filtered(session, row, naming, allowed, asked)
        session.told = told  # type: ignore[misc]  # remembered with it, and no part of it
    return told[1]


def require_life(tokens: ProviderTokens, *, now: float, min_ttl: int) -> None:
    """Refuse what would be dead on arrival; less than a whole second left is none.

    ``now`` is UNIX seconds, ``min_ttl`` seconds that a released token must still live. Raises
    ``ReauthenticationRequired`` and ``TokenExpiring``.
    """
    token_left, handle_left = tokens.token_ends - now, tokens.handle_ends - now
    if token_left < 1:
        raise ReauthenticationRequired(
            "The provider's token has expired; the user must log in again.", reason="token-expired"
        )
    if handle_left < 1:
        raise ReauthenticationRequired(
            "The provider's session handle has expired; the token can be asked for without it.",
            reason="session-handle-expired",
        )
    if token_left < min_ttl:
        raise TokenExpiring("The provider's token expires sooner than min_ttl.")


def _filtered(
    session: Session,
    row: Row,
    naming: Naming,
    allowed: frozenset[Field],
    asked: Collection[Field] | None,
) -> ProviderTokens:
    """Return what ``provider_tokens`` does, of a session of which nothing is remembered."""
    secret, handle, uid = session.token_secret, session.session_handle, session.provider_uid
    expires = session.token_expires_at
    # Without a session handle its expiry tells of nothing.
    handle_expires = None if handle is None else session.session_expires_at
    ends = None if expires is None else expires.timestamp()
    handle_ends = None if handle_expires is None else handle_expires.timestamp()
    values = session.auth_token, secret, ends, handle, handle_ends, uid
    held = (
        True,
        secret is not None,
        ends is not None,
        handle is not None,
        handle_ends is not None,
        uid is not None,
    )
    names = names_for(row, naming, has_token_secret=secret is not None)
    cut = _cut(names, held, allowed, None if asked is None else frozenset(asked))
    may = cut.may
    return ProviderTokens(
        {name: values[place] for name, place in cut.tokens},  # type: ignore[misc]  # what is held
        cut.released,
        cut.withheld,
        cut.withheld_names,
        uid if Field.PROVIDER_UID in may else None,
        expires if Field.TOKEN_EXPIRATION in may else None,
        handle_expires if Field.SESSION_EXPIRATION in may else None,
        inf if ends is None or not cut.has_token else ends,
        inf if handle_ends is None or not cut.has_handle else handle_ends,
    )


class _Cut(NamedTuple):
    """What comes of the fields that a session holds, whatever their values are.

    ``may`` is what is allowed with the expiries that follow, and has something of the token or of
    the session handle; ``tokens`` are the provider's names of what goes out, each with the place of
    its value in ``VALUED``.
    """

    may: frozenset[Field]
    has_token: bool
    has_handle: bool
    tokens: tuple[tuple[str, int], ...]
    released: tuple[Field, ...]
    withheld: tuple[Field, ...]
    withheld_names: tuple[str, ...]


@lru_cache(maxsize=1024)  # sets of fields under the columns of the mapping; no value is among them
def _cut(
    names: FieldNames,
    held: tuple[bool, ...],
    allowed: frozenset[Field],
    asked: frozenset[Field] | None,
) -> _Cut:
    """Return what comes of the fields of ``VALUED`` that are ``held``, in that order."""
    may = with_followers(allowed)
    wanted = EVERY_FIELD if asked is None else with_followers(asked)
    column = names.by_field()
    there = [
        field
        for field, is_held in zip(VALUED, held, strict=True)
        if is_held and (field in column or field is Field.PROVIDER_UID)
    ]
    released = tuple(field for field in there if field in may)
    withheld = tuple(field for field in there if field not in may and field in wanted)
    return _Cut(
        may=may,
        has_token=not may.isdisjoint(TOKEN_FIELDS),
        has_handle=not may.isdisjoint(SESSION_FIELDS),
        tokens=tuple((column[f], VALUED.index(f)) for f in released if f in column),
        released=released,
        withheld=withheld,
        withheld_names=tuple(column[field] for field in withheld if field in column),
    )
