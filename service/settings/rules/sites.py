"""What a site must be beyond its shape."""

from collections.abc import Iterator
from itertools import chain
from zoneinfo import ZoneInfo

from service.catalogue import BASE, Catalogue, field_names
from service.gigya.sites import DATA_CENTERS, BadSimulatorUrl, simulator_origin
from service.settings.credentials import Credentials, OAuth2, PartnerSecret, Signed
from service.settings.findings import Path
from service.settings.messages import suggestion
from service.settings.rules.remarks import Judged, Remark, advice, fault, items, repeated
from service.settings.sites import ProviderOverride, Site

PARTNER_REFUSED = "rests on the partner secret, which Gigya refuses since 31 January 2023"


def sites(judged: Judged) -> Iterator[Remark]:
    """Judge each site by itself, and tell of an API key that stands twice."""
    rules = (_place, _simulator, _secrets, _credentials, _zone, _providers)
    for name, site in judged.settings.sites.items():
        for rule in rules:
            yield from rule(("sites", name), site)
    keys = (
        (("sites", name, "api_key"), site.api_key) for name, site in judged.settings.sites.items()
    )
    for path, first in repeated(keys):
        yield advice(path, "is also that of {}: limits and breaker are apart", named=first[:-1])


def _place(path: Path, site: Site) -> Iterator[Remark]:
    here, there = (*path, "data_center"), (*path, "simulator")
    if site.data_center is None and site.simulator is None:
        yield fault(path, "must have data_center (or simulator)", here, there)
    elif site.data_center is not None and site.simulator is not None:
        yield fault(path, "must have either data_center or simulator, not both")
    if site.data_center is None:
        return
    row = DATA_CENTERS.get(site.data_center)
    if row is None:
        told = suggestion(site.data_center.split(".")[0].lower(), DATA_CENTERS)
        yield fault(here, f"must be one of {', '.join(DATA_CENTERS)}{told}")
    elif row.is_legacy and not site.legacy:
        told = "is no longer in Gigya's list; set legacy: true if the site really lives there"
        yield fault(here, told, (*path, "legacy"))
    elif site.legacy and not row.is_legacy:
        yield advice((*path, "legacy"), "is not needed: the data center is in Gigya's list", here)


def _simulator(path: Path, site: Site) -> Iterator[Remark]:
    if site.simulator is None:
        return
    where = (*path, "simulator", "url")
    problem = None
    try:
        simulator_origin(site.simulator.url)
    except BadSimulatorUrl as error:
        problem = str(error)
    if problem is not None:
        yield fault(where, f"cannot be used: {problem}")
    yield advice((*path, "simulator"), "is not Gigya: for tests and staging only")


def _secrets(path: Path, site: Site) -> Iterator[Remark]:
    files, mode = (*path, "partner_secret_files"), (*path, "encryption", "mode")
    count = len(site.partner_secret_files)
    for place, first in repeated(items(files, site.partner_secret_files)):
        yield fault(place, "is the same file as {}", named=first)
    if site.encryption.mode == "preferred":
        told = "takes replies that Gigya did not seal: anything that ends TLS can read the secrets"
        yield advice(mode, told)
    elif count == 0:
        yield fault(files, "must have 1 or more where encryption.mode is required", files, mode)
    if site.encryption.padding == "ZEROS" and count > 1:
        told = "must not be ZEROS with more than one partner secret: nothing tells a wrong key"
        yield fault((*path, "encryption", "padding"), told, files)


def _credentials(path: Path, site: Site) -> Iterator[Remark]:
    ways = site.authentication
    for key, way in (("current", ways.current), ("previous", ways.previous)):
        if way is not None and _is_partners(way):
            yield advice((*path, "authentication", key), PARTNER_REFUSED)
    if ways.current == ways.previous:
        where = (*path, "authentication", "previous")
        yield fault(where, "is the same as {}", where, named=(*path, "authentication", "current"))


def _is_partners(way: Credentials) -> bool:
    if isinstance(way, OAuth2):
        return way.user_key is None
    return isinstance(way, (Signed, PartnerSecret))


def _zone(path: Path, site: Site) -> Iterator[Remark]:
    try:
        known = site.expiries.time_zone == "UTC" or bool(ZoneInfo(site.expiries.time_zone))
    except (OSError, ValueError, KeyError):
        known = False
    if not known:
        where = (*path, "expiries", "time_zone")
        yield fault(where, "is not a time zone that this system knows (IANA names)")


def _providers(path: Path, site: Site) -> Iterator[Remark]:
    remarks = (_override((*path, "providers", name), row) for name, row in site.providers.items())
    yield from chain.from_iterable(remarks)
    rows = (((*path, "providers", name), canonical(name) or name) for name in site.providers)
    for place, first in repeated(rows):
        yield fault(place, "is an alias of what {} overrides", named=first)


def _override(path: Path, row: ProviderOverride) -> Iterator[Remark]:
    names = row.names if isinstance(row.names, str) else row.names.model_dump(exclude_none=True)
    problem = None
    where: Path = (*path, "names")
    try:
        column = field_names(names)
        where = path
        Catalogue({str(path[-1]): column})
    except ValueError as error:
        problem = str(error)
    if problem is not None:
        yield fault(where, problem)
    name = str(path[-1])
    if canonical(name) is None and not name.startswith(("saml-", "oidc-")):
        yield advice(path, "is a provider that Gigya's documentation does not name")


def canonical(name: str) -> str | None:
    """Return the canonical name of a provider or alias of the table, mapped or not."""
    return next((row.name for row in BASE.rows if name in (row.name, *row.aliases)), None)
