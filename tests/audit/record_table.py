"""The README's tables of the audit record, made from its schema."""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, Final

SCHEMA: Final = json.loads((files("service.audit") / "record.schema.json").read_text("utf-8"))
KINDS: Final = (
    "open",
    "checkpoint",
    "gap",
    "rotate",
    "close",
    "release-withdrawn",
    "tls-refused",
    "aggregate",
)
ALL: Final = {"seq", "chain", "kind", "time", "hash"}


def record_fields() -> str:
    """Return a row for each member of a request's record."""
    head = ["| member | always | what it says |", "| --- | --- | --- |"]
    return "\n".join([*head, *_rows("request")])


def record_kinds() -> str:
    """Return a row for each kind of record that the audit writes about itself."""
    head = ["| kind | what it says | members of its own |", "| --- | --- | --- |"]
    return "\n".join([*head, *(_kind(kind) for kind in KINDS)])


def _rows(kind: str) -> Iterator[str]:
    definition = _definition(kind)
    for name, member in definition["properties"].items():
        always = "yes" if name in definition["required"] else ""
        yield f"| `{name}` | {always} | {_said(name, member)} |"


def _kind(kind: str) -> str:
    definition = _definition(kind)
    own = ", ".join(f"`{n}`" for n in definition["properties"] if n not in ALL)
    return f"| `{kind}` | {definition['description']} | {own} |"


def _definition(kind: str) -> Any:
    return next(
        d
        for d in SCHEMA["$defs"].values()
        if d.get("properties", {}).get("kind", {}).get("const") == kind
    )


def _said(name: str, member: Mapping[str, Any]) -> str:
    target = SCHEMA["$defs"].get(member.get("$ref", "").rpartition("/")[2], {})
    said = member.get("description") or target.get("description") or member.get("const")
    return str(said or name.replace("_", " "))
