"""The configuration's JSON Schema, made from its shapes: for editors, charts and reviewers."""

from typing import Any, Final

from service.settings.schema import VERSION, Settings

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
IDENTIFIER: Final = f"urn:gigya-credential-proxy:configuration:{VERSION}"


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12); it knows shapes, not rules between them."""
    return {
        "$schema": DIALECT,
        "$id": IDENTIFIER,
        **_closed(Settings.model_json_schema()),
        "title": "gigya-credential-proxy configuration",
    }


def _closed(node: Any) -> Any:
    """Return ``node`` without generated titles, and with every mapping's keys bounded."""
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: _members(value) if key in {"properties", "$defs"} else _closed(value)
        for key, value in node.items()
        if key != "title"
    }
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    return kept


def _members(members: dict[str, Any]) -> dict[str, Any]:
    return {name: _closed(member) for name, member in members.items()}
