"""JSON (RFC 8259) as a security border reads it: one meaning, or none."""

import json
import math
from typing import Any, Final, NoReturn

DEEPEST: Final = 32
"""Levels of nesting; far more than any document here has."""

_WHITE_SPACE: Final = " \t\n\r"


class NotStrictJson(ValueError):
    """The bytes are not one JSON document with one meaning; says why, quoting nothing."""


def loads(octets: bytes) -> Any:
    """Return the document in ``octets`` (UTF-8, no byte order mark).

    Refuses what parsers disagree about: duplicate members, NaN and infinities, lone surrogates,
    numbers too long to convert, and nesting deeper than ``DEEPEST``.
    Raises ``NotStrictJson``, which neither holds nor chains the input.
    """
    problem: str
    try:
        text = octets.decode("utf-8").strip(_WHITE_SPACE)
        document, end = _DECODER.raw_decode(text)
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except NotStrictJson as error:
        problem = str(error)
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError:
        problem = "it is not JSON"
    else:
        if end == len(text):
            # Half a surrogate can only have been escaped, and depth takes brackets: most texts have
            # neither, and going through a document costs twice as much as decoding it.
            if "\\u" in text or text.count("{") + text.count("[") > DEEPEST:
                _check(document, DEEPEST)
            return document
        problem = "it is not JSON"
    raise NotStrictJson(problem)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("a member occurs twice")
    return members


def _no_constant(_: str) -> NoReturn:
    raise NotStrictJson("NaN and infinities are not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in {math.inf, -math.inf}:
        raise NotStrictJson("a number is out of range")
    return number


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_finite
)


def _check(value: Any, levels: int) -> None:
    if levels == 0:
        raise NotStrictJson("it is nested too deeply")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_text(name)
            _check(member, levels - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, levels - 1)


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise NotStrictJson("a string holds half of a surrogate pair")
