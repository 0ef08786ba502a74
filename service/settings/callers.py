"""Callers: who they are, what they may have, how much of it."""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from service.model import FOLLOWS, GRANTABLE
from service.model import Field as SessionField
from service.settings.shapes import OURS, Line, Many, Name, ProviderText, Section, Some, one_of

Amount = Annotated[int, Field(ge=0, le=10_000_000)]
"""A limit; 0 blocks."""


class IdentityRow(Section):
    """What a caller's credential proves: a way and a subject, or a pattern of subjects."""

    model_config = ConfigDict(json_schema_extra=one_of("subject", "subject_pattern"))

    via: Name
    """Name under `authentication`."""
    subject: Line | None = None
    """The subject, exactly."""
    subject_pattern: Line | None = None
    """The subject with `*` for any characters but `/` (`.` in DNS names); all of it must match."""


class DistinctUsers(Section):
    """How many different users one may ask for in a time."""

    count: Amount
    """Users; 0 blocks."""
    window: Annotated[float, Field(ge=1, le=604_800)]
    """Seconds."""


class CallerLimits(Section):
    """What one caller may use of each replica; null is no limit, 0 blocks."""

    rate: Annotated[float, Field(ge=0, le=1_000_000)] | None = None
    """Requests a second, in the long run."""
    burst: Amount | None = None
    """Requests at once beyond the rate."""
    in_flight: Amount | None = None
    """Requests that are worked on at the same time; absent: half of max_in_flight."""
    distinct_users: DistinctUsers | None = None
    """Different users in a time."""


GRANTED: Final = tuple(field.value for field in GRANTABLE)


def _granted(value: Any) -> Any:
    follows = {field.value: source.value for field, source in FOLLOWS.items()}
    if isinstance(value, str) and value in follows:
        told = "cannot be granted: it follows authToken or sessionHandle, whose life it tells"
        raise PydanticCustomError(OURS, told)
    if value not in GRANTED:
        raise PydanticCustomError(OURS, f"must be {', '.join(GRANTED[:-1])} or {GRANTED[-1]}")
    return SessionField(value)


GrantedField = Annotated[
    SessionField, BeforeValidator(_granted), WithJsonSchema({"enum": list(GRANTED)})
]
"""A field of Gigya's session info that can be granted."""


def _all_or_some(value: Any) -> Any:
    if value != "all" and not isinstance(value, (list, tuple)):
        raise PydanticCustomError(OURS, "must be all, or a list of providers")
    return value


def _form(value: Any) -> str:
    return "=word" if isinstance(value, str) else "=list"


class Grant(Section):
    """What is given out: fields of providers of one site."""

    site: Name
    """Name under `sites`."""
    providers: Annotated[
        Annotated[Literal["all"], Tag("=word")] | Annotated[Some[ProviderText], Tag("=list")],
        Discriminator(_form),
        BeforeValidator(_all_or_some),
    ]
    """Canonical names, or all."""
    fields: Some[GrantedField]
    """Gigya's names; expiries follow their token."""
    user_proof: Literal["none", "uid_signature"] = "none"
    """uid_signature: only while the user is there and vouches (Gigya's UIDSignature)."""


class Caller(Section):
    """An internal workload that may ask."""

    name: Name
    """What records and metrics call it."""
    identities: Some[IdentityRow]
    """What proves that it is this caller."""
    limits: CallerLimits = CallerLimits()
    """What it may use of each replica."""
    grants: Some[Grant]
    """What it may have."""
    candidate_grants: Many[Grant] = ()
    """Report-only: what would be denied under these is recorded; they give nothing."""
