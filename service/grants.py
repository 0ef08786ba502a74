"""The rows of ``callers``: who a caller is, what it is granted, and what contradicts itself."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.model import GRANTABLE, CallerName, Field, ProviderName, SiteName
from service.subject_patterns import SLASH, overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRule:
    """Which identities are a caller: one authentication, and a subject or (``*``) a pattern.

    No ``*`` crosses the ``separator``, which is one for all rules of an authentication.
    """

    via: str
    subject: str
    is_pattern: bool = False
    separator: str = SLASH


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What may be released at one site; ``providers`` are canonical, ``None`` means all."""

    site: SiteName
    providers: frozenset[ProviderName] | None
    fields: frozenset[Field]
    needs_user_proof: bool = False

    def covers(self, provider: str) -> bool:
        """Whether it speaks of that provider."""
        return self.providers is None or provider in self.providers


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerRules:
    """One row of ``callers``; ``is_blocked`` where one of its limits is 0."""

    name: CallerName
    identities: tuple[IdentityRule, ...] = ()
    grants: tuple[Grant, ...] = ()
    candidate_grants: tuple[Grant, ...] = ()
    is_blocked: bool = False


class PolicyFault(ValueError):
    """The rows of ``callers`` contradict themselves; ``faults`` are (path, message) pairs."""

    def __init__(self, faults: Iterable[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{path}: {message}" for path, message in self.faults))


def policy_faults(rows: Sequence[CallerRules]) -> list[tuple[str, str]]:
    """Return every contradiction as (path, message): names, identities, fields of grants."""
    return [*_name_faults(rows), *_identity_faults(rows), *_grant_faults(rows)]


def _name_faults(rows: Sequence[CallerRules]) -> Iterator[tuple[str, str]]:
    names = [row.name for row in rows]
    for at, name in enumerate(names):
        if name in names[:at]:
            yield f"callers[{at}].name", f"is also that of callers[{names.index(name)}]"


def _identity_faults(rows: Sequence[CallerRules]) -> Iterator[tuple[str, str]]:
    """Find identities of two callers; only an exact subject may stand inside a pattern."""
    seen: list[tuple[int, str, IdentityRule]] = []
    for at, row in enumerate(rows):
        for to, rule in enumerate(row.identities):
            path = f"callers[{at}].identities[{to}]"
            yield from (
                (path, f"can be the same identity as {other}")
                for owner, other, earlier in seen
                if owner != at and _collide(rule, earlier)
            )
            seen.append((at, path, rule))


def _collide(one: IdentityRule, other: IdentityRule) -> bool:
    if one.via != other.via or one.is_pattern is not other.is_pattern:
        return False
    if not one.is_pattern:
        return one.subject == other.subject
    return overlap(one.subject, other.subject, one.separator)


def _grant_faults(rows: Sequence[CallerRules]) -> Iterator[tuple[str, str]]:
    for at, row in enumerate(rows):
        for key, grants in (("grants", row.grants), ("candidate_grants", row.candidate_grants)):
            for to, grant in enumerate(grants):
                if not grant.fields or not grant.fields <= frozenset(GRANTABLE):
                    path = f"callers[{at}].{key}[{to}].fields"
                    yield path, f"must be some of {', '.join(GRANTABLE)}"


def describe_grant(grant: Grant) -> dict[str, Any]:
    """Return the grant as ``GET /v1/grants`` shows it, in JSON values."""
    return {
        "site": grant.site,
        "providers": "all" if grant.providers is None else sorted(grant.providers),
        "fields": [field.value for field in GRANTABLE if field in grant.fields],
        "user_proof": "uid_signature" if grant.needs_user_proof else "none",
    }
