"""Settings to the objects that decide: catalogues, policy, limits; alike for all who need them."""

from collections.abc import Iterable, Mapping

from service.catalogue import Catalogue, field_names
from service.grants import CallerRules, Grant, IdentityRule
from service.limits import CallerLimits, DistinctUsers
from service.model import CallerName, Field, ProviderName, SiteName
from service.policy import Policy
from service.settings.authentication import separator_of
from service.settings.callers import Caller, IdentityRow
from service.settings.callers import CallerLimits as LimitsRow
from service.settings.callers import Grant as GrantRow
from service.settings.schema import Settings
from service.settings.sites import Site

Catalogues = Mapping[SiteName, Catalogue]


def catalogues_of(settings: Settings) -> Catalogues:
    """Return each site's mapping."""
    return {SiteName(name): _catalogue(site) for name, site in settings.sites.items()}


def _catalogue(site: Site) -> Catalogue:
    rows = {
        name: row.names if isinstance(row.names, str) else row.names.model_dump(exclude_none=True)
        for name, row in site.providers.items()
    }
    return Catalogue({name: field_names(names) for name, names in rows.items()})


def policy_of(settings: Settings) -> Policy:
    """Return the compiled rules of ``callers``; raises ``PolicyFault``."""
    catalogues = catalogues_of(settings)
    separators = {way.name: separator_of(way) for way in settings.authentication}
    return Policy(_rules(caller, catalogues, separators) for caller in settings.callers)


def providers_of(settings: Settings) -> frozenset[ProviderName]:
    """Return every provider that any caller is granted."""
    catalogues = catalogues_of(settings)
    rows = [row for caller in settings.callers for row in caller.grants]
    return frozenset(name for row in rows for name in _granted(row, catalogues))


def _granted(row: GrantRow, catalogues: Catalogues) -> Iterable[ProviderName]:
    catalogue = catalogues.get(SiteName(row.site), Catalogue())
    if row.providers == "all":
        return [each.name for each in catalogue.rows]
    return map(catalogue.canonical, row.providers)


def limits_of(settings: Settings) -> Mapping[CallerName, CallerLimits]:
    """Return each caller's limits; none may take all the room there is for requests."""
    share = max(1, settings.listeners.api.max_in_flight // 2)
    return {CallerName(caller.name): _limits(caller.limits, share) for caller in settings.callers}


def _rules(caller: Caller, catalogues: Catalogues, separators: Mapping[str, str]) -> CallerRules:
    return CallerRules(
        name=CallerName(caller.name),
        identities=tuple(_identity(row, separators) for row in caller.identities),
        grants=tuple(_grant(row, catalogues) for row in caller.grants),
        candidate_grants=tuple(_grant(row, catalogues) for row in caller.candidate_grants),
        is_blocked=_limits(caller.limits).is_blocked,
    )


def _identity(row: IdentityRow, separators: Mapping[str, str]) -> IdentityRule:
    if row.subject is not None:
        return IdentityRule(via=row.via, subject=row.subject)
    return IdentityRule(
        via=row.via,
        subject=row.subject_pattern or "",
        is_pattern=True,
        separator=separators[row.via],
    )


def _grant(row: GrantRow, catalogues: Catalogues) -> Grant:
    catalogue = catalogues.get(SiteName(row.site), Catalogue())
    return Grant(
        site=SiteName(row.site),
        providers=None
        if row.providers == "all"
        else frozenset(map(catalogue.canonical, row.providers)),
        fields=frozenset(map(Field, row.fields)),
        needs_user_proof=row.user_proof == "uid_signature",
    )


def _limits(row: LimitsRow, share: int | None = None) -> CallerLimits:
    users = row.distinct_users
    return CallerLimits(
        rate=row.rate,
        burst=row.burst,
        in_flight=share if row.in_flight is None else row.in_flight,
        distinct_users=None
        if users is None
        else DistinctUsers(count=users.count, window=users.window),
    )
