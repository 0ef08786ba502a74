"""The README's tables of settings and metrics, made from the schema and from ``metrics``."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from service.metrics import METRICS
from service.settings.published import json_schema

Schema = Mapping[str, Any]

WORDS: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true`, `false`",
    "array": "list",
    "object": "mapping",
}


def settings() -> Iterator[list[str]]:
    """Yield a row for each setting: its path, form, default and meaning."""
    document = json_schema()
    yield from _rows("", document, document["$defs"])


def metrics() -> Iterator[list[str]]:
    """Yield a row for each metric."""
    for row in METRICS:
        labels = ", ".join(f"`{label}`" for label in row.labels) or "-"
        yield [f"`{row.exposed}`", row.kind.value, labels, row.tells]


def _rows(path: str, schema: Schema, definitions: Schema) -> Iterator[list[str]]:
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield [
            f"`{here}`",
            _form(member),
            "required" if name in required else _default(member),
            " ".join(member.get("description", "").split()),
        ]
        yield from _below(here, member, definitions)


def _below(path: str, member: Schema, definitions: Schema) -> Iterator[list[str]]:
    """Yield the rows of what a setting is made of, each way of it under its own name."""
    if (items := member.get("items")) is not None:
        yield from _below(f"{path}[]", items, definitions)
    for name, definition in _parts(member, definitions):
        way = definition.get("properties", {}).get("method", {}).get("const")
        suffix = f" ({way})" if way else ""
        for row in _rows(path, definition, definitions):
            yield [f"{row[0]}{suffix}", *row[1:]] if name else row
    for more in (*member.get("patternProperties", {}).values(), member.get("additionalProperties")):
        if isinstance(more, dict):
            yield from _below(f"{path}.<name>", more, definitions)


def _parts(member: Schema, definitions: Schema) -> Iterator[tuple[str, Schema]]:
    for part in (member, *member.get("anyOf", ()), *member.get("oneOf", ())):
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            yield name, definitions[name]


def _form(member: Schema) -> str:
    if "enum" in member:
        return ", ".join(f"`{value!s}`" for value in member["enum"] if value is not None)
    if "const" in member:
        return f"`{str(member['const']).lower()}`"
    choices = [part for part in member.get("anyOf", ()) if part.get("type") != "null"]
    if choices:
        return " or ".join(dict.fromkeys(_form(part) for part in choices))
    kind = member.get("type", "object")
    return WORDS[kind if isinstance(kind, str) else kind[0]] + _bounds(member)


def _bounds(member: Schema) -> str:
    low = member.get("minimum", member.get("exclusiveMinimum"))
    high = member.get("maximum")
    if low is None or high is None:
        return ""
    above = "above " if "exclusiveMinimum" in member else ""
    return f", {above}{low} to {high}"


def _default(member: Schema) -> str:
    if "default" not in member:
        return "-"
    default = member["default"]
    if isinstance(default, (list, dict)):
        return "-" if not default else "see below"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "-" if default is None else f"`{default}`"
