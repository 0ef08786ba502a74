"""Pydantic's errors in our own words: by the error's type, never by its input."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from service.settings.findings import Fault, Path
from service.settings.shapes import OURS, SENTENCES

MISSING: Final = "is missing"
UNKNOWN: Final = "is not a known key"

_MAPPING: Final = "must be a mapping (key: value)"
_LIST: Final = "must be a list"
_WHOLE: Final = "must be a whole number"
_TAGGED: Final = ("union_tag_invalid", "union_tag_not_found")

Limits = Mapping[str, Any]

_MESSAGES: Final[Mapping[str, Callable[[Limits], str]]] = {
    "missing": lambda _: MISSING,
    "extra_forbidden": lambda _: UNKNOWN,
    "string_type": lambda _: "must be text; put quotes around what looks like something else",
    "int_type": lambda _: _WHOLE,
    "int_from_float": lambda _: _WHOLE,
    "float_type": lambda _: "must be a number",
    "finite_number": lambda _: "must be a finite number",
    "bool_type": lambda _: "must be true or false",
    "model_type": lambda _: _MAPPING,
    "dict_type": lambda _: _MAPPING,
    "tuple_type": lambda _: _LIST,
    "literal_error": lambda limits: f"must be {limits['expected']}",
    "greater_than": lambda limits: f"must be more than {_plain(limits['gt'])}",
    "greater_than_equal": lambda limits: f"must be {_plain(limits['ge'])} or more",
    "less_than_equal": lambda limits: f"must be {_plain(limits['le'])} or less",
    "too_short": lambda limits: f"must have {limits['min_length']} or more",
    "string_too_long": lambda limits: f"must have {limits['max_length']} characters or fewer",
    "string_pattern_mismatch": lambda limits: SENTENCES[limits["pattern"]],
    "union_tag_invalid": lambda limits: f"must be {_choices(limits['expected_tags'])}",
    "union_tag_not_found": lambda _: MISSING,
}
"""By pydantic's type of error; limits come from the shapes and are ours, not the file's."""


def _otherwise(_: Limits) -> str:
    return "is not what it must be"  # a type of error that a newer pydantic has


def faults_of(error: ValidationError, data: Any, shape: type[BaseModel]) -> list[Fault]:
    """Return what is wrong with ``data`` as a ``shape``; paths are those of ``data``."""
    return [
        fault
        for detail in error.errors(include_input=False, include_url=False)
        if not _is_echo(detail, data)
        for fault in _faults(str(detail["type"]), detail, data, shape)
    ]


def _is_echo(detail: Any, data: Any) -> bool:
    """Whether a list is called short only because pydantic left its faulty items out."""
    if detail["type"] != "too_short":
        return False
    written = _at(data, _path(detail["loc"], data))
    return bool(len(written) >= detail["ctx"]["min_length"])


def _faults(kind: str, detail: Any, data: Any, shape: type[BaseModel]) -> Iterator[Fault]:
    path = _path(detail["loc"], data)
    message = (
        str(detail["msg"])
        if kind == OURS
        else _MESSAGES.get(kind, _otherwise)(detail.get("ctx", {}))
    )
    if kind == "extra_forbidden":
        message += suggestion(str(path[-1]), _keys_at(shape, detail["loc"][:-1]))
    if kind in _TAGGED and isinstance(_at(data, path), dict):
        path = (*path, "method")
    elif kind in _TAGGED:
        message = _MAPPING
    yield Fault(path=path, message=message)


def _plain(number: float) -> str:
    return f"{number:.15g}"


def _choices(tags: str) -> str:
    words = re.findall(r"'=([^']+)'", tags)
    return f"{', '.join(repr(word) for word in words[:-1])} or {words[-1]!r}"


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return ``; did you mean …?`` for the known word that is closest, or nothing."""
    close = difflib.get_close_matches(given, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""


def _path(location: tuple[int | str, ...], data: Any) -> Path:
    """Return ``location`` without pydantic's marks: tags of unions, and ``[key]``."""
    path: Path = ()
    for part in location:
        if _is_mark(part, _at(data, path)):
            continue
        path = (*path, part)
    return path


def _is_mark(part: int | str, node: Any) -> bool:
    if not isinstance(part, str) or (isinstance(node, dict) and part in node):
        return False
    return part.startswith("=") or part == "[key]"


def _at(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _keys_at(shape: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that a mapping may have at pydantic's ``location`` within ``shape``."""
    shapes = [shape]
    for part in location:
        if isinstance(part, str) and part.startswith("="):
            shapes = [each for each in shapes if _has_tag(each, part[1:])]
        elif any(part in each.model_fields for each in shapes):
            fields = [each.model_fields[str(part)] for each in shapes if part in each.model_fields]
            shapes = [inner for field in fields for inner in _shapes_in(field.annotation)]
    return [key for each in shapes for key in each.model_fields]


def _has_tag(shape: type[BaseModel], tag: str) -> bool:
    method = shape.model_fields.get("method")
    return method is None or tag in get_args(method.annotation)


def _shapes_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _shapes_in(part)
