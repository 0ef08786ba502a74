"""Callers: who they are, what they may have, how much of it."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from service.settings.shapes import Line, Many, Name, ProviderText, Section, Some, one_of

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
    """The subject with `*` for any characters but `/`; the whole subject must match."""


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
    """Requests that are worked on at the same time."""
    distinct_users: DistinctUsers | None = None
    """Different users in a time."""


class Grant(Section):
    """What is given out: fields of providers of one site."""

    site: Name
    """Name under `sites`."""
    providers: Literal["all"] | Some[ProviderText]
    """Canonical names, or all."""
    fields: Some[Literal["authToken", "tokenSecret", "sessionHandle", "providerUID"]]
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
