"""What a request names: by its site's own mapping where the caller reaches the site."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from service.errors import InvalidRequest, UnknownProvider
from service.model import CallerName, Field, ProviderName, SiteName
from service.policy import Policy
from service.providers import BASE, Catalogue, Row, Source, resolve

Named = tuple[Row, tuple[Field, ...] | None]
"""A provider and, where some were asked for, Gigya's names of the fields."""

UNTOLD: Final = Row(
    name=ProviderName(""), names=None, source=Source.UNMAPPED, evidence="not this caller's to know"
)
"""A provider that is one at most where the caller has no business; policy refuses it."""


def named(
    policy: Policy,
    catalogues: Mapping[SiteName, Catalogue],
    *,
    caller: CallerName,
    site: SiteName,
    provider: str,
    fields: Sequence[str] | None,
) -> Named:
    """Return what ``provider`` and ``fields`` name at ``site``.

    Raises ``UnknownProvider`` and ``InvalidRequest`` where they are no names there. A site that
    the caller does not reach may have any names, which are nobody's business but its callers':
    then nothing is raised, so that policy says what is missing, be it ``site`` or ``blocked``.
    """
    catalogue = catalogues.get(site)
    if catalogue is not None and policy.reaches(caller, site):
        row = catalogue.row(provider)
        return row, None if fields is None else resolve(row, fields)
    return _for_the_record(provider, fields)


def _for_the_record(provider: str, fields: Sequence[str] | None) -> Named:
    """Return as much as the table knows of names that policy refuses whatever they are."""
    row, found = UNTOLD, None
    with suppress(UnknownProvider, InvalidRequest):
        row = BASE.row(provider)
        found = None if fields is None else resolve(row, fields)
    return row, found
