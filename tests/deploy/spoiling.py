"""Every place and constraint of a schema of values, each with a value that it must refuse.

Walks the schema beside a document that has everything it knows; what it cannot spoil it refuses to
pass over.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Place = tuple[str | int, ...]
Node = Mapping[str, Any]
Bad = Iterator[tuple[Place, Any]]
"""Values to put in a place, each with where below it the fault is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled:
    """A value for a place that breaks one constraint there; ``told`` is where that is told."""

    place: Place
    constraint: str
    value: Any
    told: Place

    def __str__(self) -> str:
        return f"{pointer(self.place)} {self.constraint}"


class NotSpoiled(LookupError):
    """A constraint that nothing here knows how to break, or a place that the document has not."""


BAD_TEXT: Final[Mapping[str, Sequence[str]]] = {
    "^https?://[^/]+": ("deploy/runbooks", "https:///x"),
    "^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$": ["../a", "A", "-a", "", "a" * 53],
    "^(sha256:[0-9a-f]{64})?$": ["sha256:12", "sha512:" + "0" * 64],
    "^[1-9][0-9]?%$": ["0%"],
    "^[^@]+(:[^:/@]+|@sha256:[0-9a-f]{64})$": ["a", "host:5000/a", "a@sha256:12"],
    ":latest$": ["a:latest"],
    "^[0-9]+(ms|s|m)$": ["30", "1h"],
    "^[-._A-Za-z0-9]*$": ["a/b"],
    "^[A-Za-z0-9._-]+$": ["", "a b"],
}
"""Texts that a pattern refuses; for one that stands below ``not``, that it knows."""

BAD_NAMES: Final[Mapping[str, Sequence[str]]] = {
    r"^(checksum/config|kubectl\.kubernetes\.io/default-container)$": [
        "checksum/config",
        "kubectl.kubernetes.io/default-container",
    ],
    r"^app\.kubernetes\.io/(name|instance|component|version|managed-by)$": [
        f"app.kubernetes.io/{each}"
        for each in ("name", "instance", "component", "version", "managed-by")
    ],
    r"^(helm\.sh/chart|gigya-credential-proxy/simulated)$": [
        "helm.sh/chart",
        "gigya-credential-proxy/simulated",
    ],
}
"""Keys that a pattern knows; each is refused."""

EXAMPLES: Final[Mapping[str, Any]] = {
    "object": {},
    "array": [],
    "string": "text",
    "integer": 1,
    "boolean": True,
    "null": None,
}


def _type(node: Node, _: Any) -> Bad:
    allowed = node["type"] if isinstance(node["type"], list) else [node["type"]]
    yield (), next(value for kind, value in EXAMPLES.items() if kind not in {*allowed, "object"})


def _unknown_key(node: Node, found: Any) -> Bad:
    if node["additionalProperties"] is False:
        yield (), {**found, "unknown": 1}
    else:
        (example,) = (value for _, value in _type(node["additionalProperties"], None))
        yield ("key",), {**found, "key": example}


def _required(node: Node, found: Any) -> Bad:
    for key in node["required"]:
        yield (), {name: value for name, value in found.items() if name != key}


def _names(node: Node, found: Any) -> Bad:
    for pattern in node["patternProperties"]:
        yield from (((name,), {**found, name: "x"}) for name in BAD_NAMES[pattern])


def _not(node: Node, found: Any) -> Bad:
    refused = node["not"]
    if "pattern" in refused:
        yield from (((), text) for text in BAD_TEXT[refused["pattern"]])
        return
    for each in refused.get("anyOf", [refused]):
        (key,) = each["required"]
        yield (), {**found, key: {}}


def _one_of(node: Node, found: Any) -> Bad:
    keys = [each["required"][0] for each in node["oneOf"] if "required" in each]
    if keys:
        yield (), {name: value for name, value in found.items() if name not in keys}
        yield (), {**found, **{key: {"driver": "d"} for key in keys}}
    else:
        yield from (((), value) for each in node["oneOf"] for value in _worst(each))


def _worst(node: Node) -> Iterator[Any]:
    for keyword in sorted({"minimum", "pattern"} & set(node)):
        yield from (value for _, value in CONSTRAINTS[keyword](node, None))


def _text(node: Node, _: Any) -> Bad:
    yield from (((), text) for text in BAD_TEXT[node["pattern"]])


CONSTRAINTS: Final[Mapping[str, Callable[[Node, Any], Bad]]] = {
    "type": _type,
    "additionalProperties": _unknown_key,
    "required": _required,
    "patternProperties": _names,
    "not": _not,
    "oneOf": _one_of,
    "pattern": _text,
    "enum": lambda _, __: iter([((), "none-of-these")]),
    "const": lambda node, _: iter([((), not node["const"])]),
    "contains": lambda _, __: iter([((), []), ((), ["OTHER"])]),
    "minimum": lambda node, _: iter([((), node["minimum"] - 1)]),
    "exclusiveMinimum": lambda node, _: iter([((), node["exclusiveMinimum"])]),
    "exclusiveMaximum": lambda node, _: iter([((), node["exclusiveMaximum"])]),
    "maximum": lambda node, _: iter([((), node["maximum"] + 1)]),
    "minLength": lambda _, __: iter([((), "")]),
    "minItems": lambda _, __: iter([((), [])]),
    "minProperties": lambda _, __: iter([((), {})]),
}
"""Keyword -> the values that break it."""

WAYS_DOWN: Final = frozenset({"properties", "items", "$ref"})


def spoil(node: Node, definitions: Node, found: Any, place: Place = ()) -> Iterator[Spoiled]:
    """Yield what breaks each constraint at ``place`` and below it; ``found`` stands there."""
    if "$ref" in node:
        node = {**definitions[node["$ref"].rpartition("/")[2]], **node}
    for keyword in node.keys() - WAYS_DOWN:
        if keyword not in CONSTRAINTS:
            raise NotSpoiled(f"{pointer(place)}: {keyword}")
        for below, value in CONSTRAINTS[keyword](node, found):
            yield Spoiled(place=place, constraint=keyword, value=value, told=(*place, *below))
    for key, below in node.get("properties", {}).items():
        if key not in found:
            raise NotSpoiled(pointer((*place, key)))
        yield from spoil(below, definitions, found[key], (*place, key))
    if "items" in node:
        yield from _items(node["items"], definitions, found, place)


def _items(node: Node, definitions: Node, found: Any, place: Place) -> Iterator[Spoiled]:
    """Spoil the items; between them they must have all that an item may have."""
    if not found:
        raise NotSpoiled(pointer((*place, 0)))
    if "$ref" in node:
        node = definitions[node["$ref"].rpartition("/")[2]]
    keys = node.get("properties", {})
    shown = {key for each in found if isinstance(each, dict) for key in each}
    if missing := keys.keys() - shown:
        raise NotSpoiled(pointer((*place, 0, min(missing))))
    for at, each in enumerate(found):
        known = {key: below for key, below in keys.items() if key in each}
        here = {**node, "properties": known} if keys else node
        yield from spoil(here, definitions, each, (*place, at))


def pointer(place: Place) -> str:
    """Return the JSON pointer of a place, as Helm tells it."""
    return "".join(f"/{str(each).replace('~', '~0').replace('/', '~1')}" for each in place)
