"""What grants name: sites, providers and fields that there are."""

from collections.abc import Iterator

from service.catalogue import BASE
from service.errors import UnknownProvider
from service.settings.callers import Grant
from service.settings.findings import Path
from service.settings.messages import suggestion
from service.settings.rules.remarks import Judged, Remark, advice, fault, items, repeated
from service.settings.rules.sites import canonical
from service.settings.sites import Site


def grants(judged: Judged) -> Iterator[Remark]:
    """Judge each grant by itself."""
    for path, grant in _rows(judged):
        if grant.site not in judged.sites:
            told = "names no site" + suggestion(grant.site, judged.sites)
            yield fault((*path, "site"), told)
        site = judged.settings.sites.get(grant.site)
        if site is not None:
            yield from _providers((*path, "providers"), grant, site)
            yield from _proof((*path, "user_proof"), grant, site)
        for place, first in repeated(items((*path, "fields"), grant.fields)):
            yield fault(place, "is the same as {}", named=first)


def _providers(path: Path, grant: Grant, site: Site) -> Iterator[Remark]:
    if isinstance(grant.providers, str):
        return
    for place, first in repeated(items(path, grant.providers)):
        yield fault(place, "is the same as {}", named=first)
    overrides: Path = ("sites", grant.site, "providers")
    for at, name in enumerate(grant.providers):
        told = _provider(name, site)
        if told is not None:
            yield fault((*path, at), told, (*path[:-1], "site"), overrides)


def _provider(name: str, site: Site) -> str | None:
    """Return what is wrong with a provider's name, if anything is."""
    row = canonical(name)
    if row is not None and row != name:
        return f"is an alias; write {row}"
    if name in site.providers or (row is not None and _is_mapped(name, site)):
        return None
    if row is not None:
        return "has no mapping, documented or inferred; give it one under the site's providers"
    known = {*(each.name for each in BASE.rows), *site.providers}
    return "is no provider of this site" + suggestion(name.lower(), known)


def _is_mapped(name: str, site: Site) -> bool:
    if any(canonical(other) == name for other in site.providers):
        return True
    try:
        BASE.row(name)
    except UnknownProvider:
        return False
    return True


def _proof(path: Path, grant: Grant, site: Site) -> Iterator[Remark]:
    if grant.user_proof == "uid_signature" and not site.partner_secret_files:
        secrets: Path = ("sites", grant.site, "partner_secret_files")
        told = "needs {}: the partner secret verifies the signature"
        yield fault(path, told, (*path[:-1], "site"), named=secrets)


def moot_proofs(judged: Judged) -> Iterator[Remark]:
    """Tell of a grant that another one makes moot."""
    for at, caller in enumerate(judged.settings.callers):
        open_ = [(to, row) for to, row in enumerate(caller.grants) if row.user_proof == "none"]
        for to, grant in enumerate(caller.grants):
            other = next(
                (n for n, row in open_ if grant is not row and _is_within(grant, row)), None
            )
            if other is None:
                continue
            path: Path = ("callers", at, "grants", to)
            told = "gives nothing that {} does not give"
            if grant.user_proof != "none":
                told = "asks for proof of the user, and {} gives the same without"
            yield advice(path, told, path, named=(*path[:-1], other))


def _is_within(one: Grant, other: Grant) -> bool:
    """Whether all that ``one`` gives, ``other`` gives too."""
    if one.site != other.site or not set(one.fields) <= set(other.fields):
        return False
    if isinstance(one.providers, str) or isinstance(other.providers, str):
        return other.providers == "all"
    return set(one.providers) <= set(other.providers)


def idle_sites(judged: Judged) -> Iterator[Remark]:
    """Tell of a site that nobody is granted."""
    used = {grant.site for caller in judged.settings.callers for grant in caller.grants}
    for name in judged.settings.sites:
        if name not in used:
            yield advice(("sites", name), "is granted to no caller", ("callers",))


def _rows(judged: Judged) -> Iterator[tuple[Path, Grant]]:
    for at, caller in enumerate(judged.settings.callers):
        for key, rows in (("grants", caller.grants), ("candidate_grants", caller.candidate_grants)):
            for to, row in enumerate(rows):
                yield ("callers", at, key, to), row
