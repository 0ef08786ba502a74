"""What a caller may have: caller x site x provider x field, compiled at load, denied by default."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from re import Pattern
from typing import Final

from service.denials import DENIALS, refusal
from service.errors import InvalidRequest, Missing
from service.grants import (
    CallerRules,
    Grant,
    IdentityRule,
    PolicyFault,
    describe_grant,
    policy_faults,
)
from service.model import FOLLOWS, CallerName, Field, Identity, ProviderName, SiteName
from service.providers import with_followers
from service.subject_patterns import compile_pattern

__all__ = [
    "DENIALS",
    "CallerRules",
    "Decide",
    "Decision",
    "Grant",
    "IdentityRule",
    "Policy",
    "PolicyFault",
    "Question",
    "decide",
    "describe_grant",
    "policy_faults",
    "refusal",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What policy says: ``allowed`` is empty exactly where something is ``missing``.

    ``rule`` names the grants that decided, ``crm-sync/grants[0]`` or ``crm-sync/grants[0,2]``.
    ``reason`` is a slug. ``needs_user_proof``: the decision rests on the proof, or wants it.
    ``would_allow`` is what ``candidate_grants`` would allow of what is allowed now, ``None`` where
    there are none, or nothing is allowed.
    """

    allowed: frozenset[Field] = frozenset()
    rule: str | None = None
    missing: Missing | None = None
    reason: str = "granted"
    would_allow: frozenset[Field] | None = None
    needs_user_proof: bool = False

    def would_deny(self, released: Iterable[Field]) -> bool | None:
        """Whether ``candidate_grants`` would refuse or release less than ``released``."""
        if self.would_allow is None:
            return None
        return not self.would_allow or not with_followers(self.would_allow).issuperset(released)


Placed = Sequence[tuple[int, Grant]]
"""Grants with their places in the file."""

Question = tuple[CallerName, str, str, tuple[Field, ...] | None, bool]
"""Caller, site, provider, what was asked, and whether the user was proved to be there."""

NOWHERE: Final[frozenset[SiteName]] = frozenset()

MOST_DECISIONS: Final = 4096
"""Decisions that one policy remembers."""


class Policy:
    """The compiled rows of ``callers``; raises ``PolicyFault`` where identities are ambiguous.

    It never changes: new rules are a new policy, which remembers nothing of the old one.
    """

    __slots__ = (
        "_candidates",
        "_decided",
        "_exact",
        "_grants",
        "_only_site",
        "_patterns",
        "_sites",
        "callers",
        "edition",
    )

    def __init__(self, rules: Iterable[CallerRules] = ()) -> None:
        rows = tuple(rules)
        if faults := policy_faults(rows):
            raise PolicyFault(faults)
        self.callers: Final[Mapping[CallerName, CallerRules]] = {row.name: row for row in rows}
        self.edition: Final = object()
        """Whatever remembers what this policy says remembers this with it, and not the policy."""
        self._grants: Final = {row.name: _by_site(row.grants) for row in rows}
        self._sites: Final = {
            row.name: frozenset(self._grants[row.name]) for row in rows if not row.is_blocked
        }
        self._only_site: Final = {
            name: next(iter(sites)) for name, sites in self._sites.items() if len(sites) == 1
        }
        self._candidates: Final = {row.name: _by_site(row.candidate_grants) for row in rows}
        self._decided: Final[dict[Question, Decision]] = {}
        self._exact: Final[dict[tuple[str, str], CallerName]] = {}
        self._patterns: Final[dict[str, list[tuple[Pattern[str], CallerName]]]] = defaultdict(list)
        for row in rows:
            for rule in row.identities:
                self._add(rule, row.name)

    def _add(self, rule: IdentityRule, caller: CallerName) -> None:
        if rule.is_pattern:
            compiled = compile_pattern(rule.subject, rule.separator)
            self._patterns[rule.via].append((compiled, caller))
        else:
            self._exact[rule.via, rule.subject] = caller

    def caller_of(self, identity: Identity) -> CallerName | None:
        """Return whom a proved identity belongs to; an exact subject goes before a pattern."""
        via, subject = identity.via, identity.subject
        exact = self._exact.get((via, subject))
        if exact is not None:
            return exact
        for pattern, name in self._patterns.get(via, ()):
            if pattern.fullmatch(subject):
                return name
        return None

    def sites_of(self, caller: CallerName) -> frozenset[SiteName]:
        """Return the sites that some grant of the caller names; a blocked one has none."""
        return self._sites.get(caller, NOWHERE)

    def site_for(self, caller: CallerName, asked: str | None) -> SiteName:
        """Return the site that a request means.

        Raises ``InvalidRequest`` where it must be named; a site nobody knows is left to ``decide``.
        """
        if asked is not None:
            return SiteName(asked)
        only = self._only_site.get(caller)
        if only is not None:
            return only
        if self.sites_of(caller):
            raise InvalidRequest("site is missing, and more than one is granted.")
        return SiteName("")

    def grants_of(self, caller: CallerName) -> tuple[Grant, ...]:
        """Return what the caller may ask for: nothing where it is unknown or blocked."""
        rules = self.callers.get(caller)
        return () if rules is None or rules.is_blocked else rules.grants

    def granted_to_anyone(self, site: SiteName, provider: ProviderName) -> frozenset[Field]:
        """Return the fields of that provider at that site that some caller may have."""
        grants = (grant for caller in self.callers for grant in self.grants_of(caller))
        return frozenset().union(
            *(g.fields for g in grants if g.site == site and g.covers(provider))
        )

    def reaches(self, caller: CallerName, site: str) -> bool:
        """Whether some grant of the caller names the site."""
        return site in self._sites.get(caller, NOWHERE)

    def decision(self, question: Question) -> Decision:
        """Return what ``decide`` says; it says the same of the same question for ever."""
        decision = self._decided.get(question)
        if decision is None:
            decision = _decision(self, *question)
            if len(self._decided) >= MOST_DECISIONS:  # callers may make up sites
                self._decided.clear()
            self._decided[question] = decision
        return decision

    def at(self, caller: CallerName, site: str) -> tuple[Placed, Placed]:
        """Return the grants and the candidate grants of the caller at that site."""
        name = SiteName(site)
        return self._grants[caller].get(name, ()), self._candidates[caller].get(name, ())


Decide = Callable[[Policy, Question], Decision]
"""``Policy.decision``, or what is wrapped around it."""


def _by_site(grants: Sequence[Grant]) -> Mapping[SiteName, Placed]:
    """Return each site's grants; those that need no proof of the user go first.

    So a decision rests on proof only where it must.
    """
    placed = sorted(enumerate(grants), key=lambda pair: pair[1].needs_user_proof)
    return {row.site: tuple(pair for pair in placed if pair[1].site == row.site) for row in grants}


def decide(
    policy: Policy,
    *,
    caller: CallerName,
    site: str,
    provider: str,
    fields: Iterable[Field] | None,
    has_user_proof: bool,
) -> Decision:
    """Return what policy says to one request; everything not granted is denied.

    ``provider`` is canonical; ``fields`` is what was asked, all of which must be granted, or
    ``None`` for everything that is. A grant that needs proof of the user counts only with it.
    """
    asked = None if fields is None else tuple(fields)
    return policy.decision((caller, site, provider, asked, has_user_proof))


def _decision(
    policy: Policy,
    caller: CallerName,
    site: str,
    provider: str,
    asked: tuple[Field, ...] | None,
    has_user_proof: bool,  # noqa: FBT001  # the last part of a question
) -> Decision:
    rules = policy.callers.get(caller)
    if rules is None:
        return Decision(missing=Missing.SITE, reason="unknown-caller")
    if rules.is_blocked:
        return Decision(missing=Missing.BLOCKED, reason="missing-blocked")
    weigh = partial(
        _weigh,
        caller=caller,
        provider=provider,
        asked=asked,
        has_user_proof=has_user_proof,
    )
    grants, candidates = policy.at(caller, site)
    decision = weigh(grants)
    if decision.missing is not None or not rules.candidate_grants:
        return decision
    return replace(decision, would_allow=weigh(candidates).allowed)


def _weigh(
    here: Placed,
    *,
    caller: str,
    provider: str,
    asked: tuple[Field, ...] | None,
    has_user_proof: bool,
) -> Decision:
    if not here:
        return _denied(Missing.SITE)
    covering = [(at, grant) for at, grant in here if grant.covers(provider)]
    if not covering:
        return _denied(Missing.PROVIDER)
    open_, locked = _givers(covering, has_user_proof=has_user_proof)
    wanted = tuple(open_ or locked) if asked is None else asked
    sources = [FOLLOWS.get(field, field) for field in wanted]
    if not sources or any(field not in open_ and field not in locked for field in sources):
        return _denied(Missing.FIELD)
    used = {open_.get(field, locked.get(field, 0)) for field in sources}
    rule = f"{caller}/grants[{','.join(map(str, sorted(used)))}]"
    if any(field not in open_ for field in sources):
        return _denied(Missing.USER_PROOF, rule=rule, needs_user_proof=True)
    rests = any(grant.needs_user_proof for at, grant in covering if at in used)
    return Decision(allowed=frozenset(wanted), rule=rule, needs_user_proof=rests)


def _givers(covering: Placed, *, has_user_proof: bool) -> tuple[dict[Field, int], dict[Field, int]]:
    """Return which grant gives each field, and which would if there were proof of the user."""
    open_: dict[Field, int] = {}
    locked: dict[Field, int] = {}
    for at, grant in covering:
        givers = locked if grant.needs_user_proof and not has_user_proof else open_
        for field in grant.fields:
            givers.setdefault(field, at)
    return open_, locked


def _denied(
    missing: Missing, *, rule: str | None = None, needs_user_proof: bool = False
) -> Decision:
    return Decision(
        missing=missing, reason=f"missing-{missing}", rule=rule, needs_user_proof=needs_user_proof
    )
