"""What a request names: by its site's own mapping where the caller reaches the site."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from service.errors import InvalidRequest, UnknownProvider
from service.model import CallerName, Field, ProviderName, SiteName, TokenRequest
from service.policy import Policy
from service.providers import BASE, Catalogue, Row, Source, resolve

Named = tuple[Row, tuple[Field, ...] | None]
"""A provider and, where some were asked for, Gigya's names of the fields."""

Resolved = tuple[SiteName, Row, tuple[Field, ...] | None]
"""``Named``, after the site where that is meant."""

Asked = tuple[CallerName, str | None, str, tuple[str, ...] | None]
"""Caller; and site, provider and fields as it wrote them."""

MOST_RESOLVED: Final = 4096
"""Requests whose names are remembered under one policy."""

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


class Names:
    """What requests name, whatever their site: remembered for as long as the policy is the same.

    Only where the caller reaches the site: names that it may make up at others are not kept.
    """

    __slots__ = ("_catalogues", "_policy", "_resolved")

    def __init__(self, catalogues: Mapping[SiteName, Catalogue]) -> None:
        self._catalogues = catalogues
        self._policy: Policy | None = None
        self._resolved: dict[Asked, Resolved] = {}

    def of(self, policy: Policy, caller: CallerName, request: TokenRequest) -> Resolved:
        """Return the site that ``request`` means, and what ``named`` says of the rest.

        Raises what ``Policy.site_for`` and ``named`` raise.
        """
        if policy is not self._policy:
            self._policy, self._resolved = policy, {}
        asked = (caller, request.site, request.provider, request.fields)
        return self._resolved.get(asked) or self._resolve(policy, asked)

    def _resolve(self, policy: Policy, asked: Asked) -> Resolved:
        caller, wanted, provider, fields = asked
        site = policy.site_for(caller, wanted)
        row, found = named(
            policy, self._catalogues, caller=caller, site=site, provider=provider, fields=fields
        )
        resolved = site, row, found
        if policy.reaches(caller, site):
            if len(self._resolved) >= MOST_RESOLVED:  # there are many ways to write a list of names
                self._resolved.clear()
            self._resolved[asked] = resolved
        return resolved
