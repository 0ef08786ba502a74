"""The README's table of every key, made from the schema: ``python -m tests.settings.reference``."""

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from service.settings.published import json_schema

SCHEMA: Final = json_schema()
HEAD: Final = ("key", "default", "form", "meaning")
AS_BEFORE: Final = ("previous", "candidate_grants")
"""Keys whose sections stand in the table already: as `current`, as `grants`."""

Row = tuple[str, str, str, str]


def reference() -> str:
    """Return a row in Markdown for each key, in the order of the file."""
    rows = [HEAD, ("---",) * 4, *_rows(SCHEMA, "")]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def _rows(section: dict[str, Any], path: str) -> Iterator[Row]:
    required = section.get("required", ())
    for key, member in section.get("properties", {}).items():
        place = f"{path}.{key}" if path else key
        if "const" in member and key == "method":
            continue  # it stands in the path
        default = "required" if key in required else _default(member)
        yield f"`{place}`", default, _form(member), str(member["description"]).replace("\n", " ")
        if key not in AS_BEFORE:
            for inner, where in _sections(member, place):
                yield from _rows(inner, where)


def _default(member: dict[str, Any]) -> str:
    default = member.get("default")
    if default is None:
        return "none"
    if not default and isinstance(default, (dict, list)):
        return "empty"
    if isinstance(default, dict):
        return "see below"
    if isinstance(default, list) and isinstance(default[0], dict):
        return "one, to standard output"
    return f"`{json.dumps(default)}`".replace('"', "")


def _sections(member: dict[str, Any], path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the sections below a key, each with the path of its keys."""
    shape = _shape(member)
    if "items" in shape:
        yield from _sections(shape["items"], f"{path}[]")
    for named in shape.get("patternProperties", {}).values():
        yield from _sections(named, f"{path}.<name>")
    for one in shape.get("oneOf", ()):
        if "$ref" in one:
            yield from _sections(one, path)
    if shape.get("type") == "object" and "properties" in shape:
        method = shape["properties"].get("method", {}).get("const")
        yield shape, f"{path} ({method})" if method else path


def _shape(member: dict[str, Any]) -> dict[str, Any]:
    """Return what a member is, references followed and null left out."""
    if "$ref" in member:
        name = str(member["$ref"]).rpartition("/")[2]
        return dict(SCHEMA["$defs"][name])
    for one in member.get("anyOf", ()):
        if one.get("type") != "null":
            return _shape(one)
    return member


def _form(member: dict[str, Any]) -> str:
    shape = _shape(member)
    if "const" in shape:
        return f"`{shape['const']}`"
    if "enum" in shape:
        return ", ".join(f"`{json.dumps(word)}`".replace('"', "") for word in shape["enum"] if word)
    if "items" in shape:
        return f"list of {_form(shape['items'])}"
    if shape.get("type") in {"integer", "number"}:
        return _range(shape)
    words = {"string": "text", "boolean": "`true` or `false`", "object": "mapping"}
    return words.get(str(shape.get("type")), "see below")


def _range(shape: dict[str, Any]) -> str:
    low, high = shape.get("minimum", shape.get("exclusiveMinimum")), shape["maximum"]
    above = "more than " if "exclusiveMinimum" in shape else ""
    kind = "whole number, " if shape["type"] == "integer" else ""
    return f"{kind}{above}{low} to {high}"


if __name__ == "__main__":
    sys.stdout.write(f"{reference()}\n")
