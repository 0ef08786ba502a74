"""The README's tables, made from the tables of the code: ``python -m tests.readme_tables``."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from service.api.answer_members import ANSWER_MEMBERS
from service.api.members import MEMBERS
from service.api.problems import PROBLEMS
from service.provider_rows import FACEBOOK, FAMILIES, NAMED, OAUTH1, OAUTH2, ROWS, FieldNames
from tests import readme_settings

COLUMNS: Final[Mapping[FieldNames | None, str]] = {
    FACEBOOK: "Facebook",
    OAUTH1: "OAuth 1",
    OAUTH2: "OAuth 2",
    None: "none",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown; a first line of dashes separates the head."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def columns() -> str:
    """Return the three columns of names."""
    names = {family: column.by_field() for family, column in FAMILIES.items()}
    rows = [[f"`{f}`", *(_code(names[family].get(f)) for family in FAMILIES)] for f in NAMED]
    return table(["Gigya field", *(f"`{family}`" for family in FAMILIES)], rows)


def mapping() -> str:
    """Return a row for each provider."""
    rows = [
        [
            f"`{row.name}`",
            ", ".join(f"`{alias}`" for alias in row.aliases) or "-",
            COLUMNS[row.names],
            row.source.value,
            row.evidence,
        ]
        for row in ROWS
    ]
    return table(["provider", "aliases", "column", "source", "where from"], rows)


def problems() -> str:
    """Return a row for each problem."""
    rows = [
        [
            str(row.status.value),
            f"`{kind.code}`",
            row.title,
            "yes" if row.is_retryable else "no",
            row.caller,
            row.operator,
        ]
        for kind, row in sorted(PROBLEMS.items(), key=lambda item: item[1].status.value)
    ]
    head = ["status", "code", "title", "retry", "what the caller does", "what the operator does"]
    return table(head, rows)


def request_members() -> str:
    """Return a row for each member of a token request."""
    rows = [
        [
            f"`{member.name}`",
            "required" if member.is_required else "optional",
            _form(member.schema),
            member.text,
        ]
        for member in MEMBERS
    ]
    return table(["member", "", "form", "meaning"], rows)


def answer_members() -> str:
    """Return a row for each member of the answer."""
    rows = [
        [f"`{member.name}`", "always" if member.is_always else "where it applies", member.text]
        for member in ANSWER_MEMBERS
    ]
    return table(["member", "", "meaning"], rows)


def _code(name: str | None) -> str:
    return "-" if name is None else f"`{name}`"


def _form(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "string":
        return f"text, 1 to {schema['maxLength']} characters, no control characters"
    if kind == "integer":
        return f"whole number, {schema['minimum']} to {schema['maximum']}"
    if kind == "array":
        return f"list of {schema['minItems']} to {schema['maxItems']} different names"
    if kind == "object":
        return "object of " + " and ".join(f"`{name}`" for name in schema["required"])
    return {"boolean": "`true` or `false`", None: "any JSON"}[kind]


def settings() -> str:
    """Return a row for each setting."""
    return table(["setting", "form", "default", "meaning"], readme_settings.settings())


def metrics() -> str:
    """Return a row for each metric."""
    return table(["metric", "kind", "labels", "what it tells"], readme_settings.metrics())


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "columns": columns,
    "mapping": mapping,
    "problems": problems,
    "request members": request_members,
    "answer members": answer_members,
    "settings": settings,
    "metrics": metrics,
}

if __name__ == "__main__":
    for name, make in TABLES.items():
        sys.stdout.write(f"<!-- {name} -->\n{make()}\n\n")
