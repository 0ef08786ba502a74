"""The mapping as one site has it: the table's rows, with the site's own in their place."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from service.errors import UnknownProvider
from service.model import Field, ProviderName
from service.provider_rows import FAMILIES, NAMED, ROWS, FieldNames, Naming, Row, Source


class Catalogue:
    """The mapping as one site has it: the table, with the site's overrides in place.

    ``overrides`` gives a column to a row (by name or alias), to a SAML or OIDC name of the site's
    own, or to a provider that this table does not know yet.
    Raises ``ValueError`` for Facebook, which is always Facebook.
    """

    __slots__ = ("_by_name", "rows")

    def __init__(self, overrides: Mapping[str, FieldNames] | None = None) -> None:
        rows = {name: row for row in ROWS for name in (row.name, *row.aliases)}
        for name, names in (overrides or {}).items():
            row = _overridden(rows.get(name), name, names)
            rows |= dict.fromkeys((row.name, *row.aliases), row)
        self._by_name: Final = rows
        self.rows: Final = tuple(row for name, row in rows.items() if name == row.name)

    def canonical(self, name: str) -> ProviderName:
        """Return the name that a row is known by, mapped or not; what has no row keeps its own."""
        row = self._by_name.get(name)
        return ProviderName(name) if row is None else row.name

    def row(self, name: str) -> Row:
        """Return the row of a canonical name or an alias; case is exact.

        Raises ``UnknownProvider`` also where a row has no mapping: its names would be guesses.
        """
        row = self._by_name.get(name)
        if row is None:
            raise UnknownProvider("No row of the mapping has this provider; case is exact.")
        if row.names is None:
            raise UnknownProvider(
                "This provider has no mapping, documented or inferred; the site's configuration "
                "can give it one.",
                reason="unmapped-provider",
            )
        return row


def _overridden(row: Row | None, name: str, names: FieldNames) -> Row:
    if row is not None and row.is_fixed and row.source is not Source.CONFIGURED:
        raise ValueError("Facebook's names cannot be overridden")
    configured: dict[str, Any] = {
        "names": names,
        "is_fixed": True,
        "source": Source.CONFIGURED,
        "evidence": "the site's configuration",
    }
    return replace(row, **configured) if row else Row(name=ProviderName(name), **configured)


def field_names(value: str | Mapping[str, str]) -> FieldNames:
    """Return the column that a configuration's ``names`` stands for.

    A family (``oauth1``, ``oauth2``, ``facebook``), or names by Gigya field with ``authToken``.
    Raises ``ValueError`` that quotes nothing.
    """
    if isinstance(value, str):
        if value not in FAMILIES:
            raise ValueError(f"is none of {', '.join(FAMILIES)}")
        return FAMILIES[value]
    if not set(value) <= set(NAMED):
        raise ValueError(f"has a field that is none of {', '.join(NAMED)}")
    if Field.AUTH_TOKEN not in value:
        raise ValueError("does not name authToken")
    if "" in value.values() or len(set(value.values())) != len(value):
        raise ValueError("has a name that is empty or stands twice")
    return FieldNames(*(value.get(field) for field in NAMED))  # type: ignore[arg-type]  # authToken is there


BASE: Final = Catalogue()
"""The table as it stands, without any site's overrides."""


def describe(row: Row) -> dict[str, Any]:
    """Return the row in JSON values; what does not apply is absent."""
    shown: dict[str, Any] = {
        "provider": row.name,
        "aliases": list(row.aliases),
        "source": row.source.value,
        "evidence": row.evidence,
    }
    if row.names is not None:
        shown["names"] = _written(row.names)
        shown["decided_by"] = "row" if row.is_fixed else "reply"
    return shown


def describe_catalogue(catalogue: Catalogue) -> dict[str, Any]:
    """Return the mapping as ``GET /v1/providers`` shows it."""
    return {
        "columns": {family: _written(names) for family, names in FAMILIES.items()},
        "providers": [describe(row) for row in catalogue.rows],
    }


def describe_site(catalogue: Catalogue, naming: Naming) -> dict[str, Any]:
    """Return how the mapping differs at a site: who decides about names, and rows of its own."""
    own = [row for row in catalogue.rows if row.source is Source.CONFIGURED]
    return {"naming": naming.value, "providers": list(map(describe, own))}


def _written(names: FieldNames) -> dict[str, str]:
    return {field.value: name for field, name in names.by_field().items()}
