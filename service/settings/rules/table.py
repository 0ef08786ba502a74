"""Every rule."""

from typing import Final

from service.settings.rules import authentication, callers, grants, identities, service, sites
from service.settings.rules.remarks import Rule

RULES: Final[tuple[Rule, ...]] = (
    sites.sites,
    authentication.names,
    authentication.static_tokens,
    authentication.issuers,
    authentication.verifiers,
    authentication.tokens,
    authentication.certificates,
    callers.names,
    callers.limits,
    identities.identities,
    identities.unused_tokens,
    identities.collisions,
    grants.grants,
    grants.moot_proofs,
    grants.idle_sites,
    service.ports,
    service.budgets,
    service.proxy,
    service.keys,
    service.sinks,
)
