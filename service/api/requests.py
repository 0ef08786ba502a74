"""The body of a token request: bytes that may hold anything -> ``TokenRequest``, or why not."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from service.api.members import MEMBERS, Unfit
from service.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from service.model import TokenRequest
from service.strict_json import NotStrictJson, loads

LARGEST_BODY: Final = 16_384
"""Bytes."""

_READERS: Final = {member.name: member.read for member in MEMBERS}
_KNOWN: Final = _READERS.keys()
_REQUIRED: Final = frozenset(member.name for member in MEMBERS if member.is_required)
_read_uid, _read_provider = _READERS["uid"], _READERS["provider"]


def require_json(content_types: Sequence[bytes]) -> None:
    """Refuse a body that is not declared as JSON in UTF-8, whatever it holds.

    ``content_types`` are the values of all Content-Type headers (RFC 9110, section 8.3).
    Raises ``UnsupportedMediaType``.
    """
    if content_types == [b"application/json"]:  # as nearly everybody writes it
        return
    if len(content_types) != 1 or not _is_json(content_types[0]):
        raise UnsupportedMediaType(
            "The body must be application/json, in UTF-8, and say so in one Content-Type header."
        )


def _is_json(content_type: bytes) -> bool:
    parts = [part.strip().lower() for part in content_type.decode("latin-1").split(";")]
    return parts[0] == "application/json" and parts[1:] in _PARAMETERS


_PARAMETERS: Final[tuple[list[str], ...]] = ([], ["charset=utf-8"], ['charset="utf-8"'])


def parse(body: bytes) -> TokenRequest:
    """Return the request in ``body``, well-formed and undecided.

    Raises ``RequestTooLarge``, and ``InvalidRequest`` with everything that is wrong in one sentence
    each, none of which quotes what was sent. What kind of body it is ``require_json`` has said.
    """
    if len(body) > LARGEST_BODY:
        raise RequestTooLarge(f"The body is over {LARGEST_BODY} bytes.")
    members = _document(body)
    try:
        if members.keys() == _REQUIRED:  # and nothing else, as in nearly every request
            return TokenRequest(_read_uid(members["uid"]), _read_provider(members["provider"]))
        if _REQUIRED <= members.keys() <= _KNOWN:
            return _read(members)
    except Unfit:
        pass  # it is told with all else that is wrong
    raise InvalidRequest(" ".join(_faults(members)))


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = loads(body)
    except NotStrictJson as error:
        problem = f"The body is not JSON as this service takes it: {error}."
    else:
        if isinstance(document, dict):
            return document
        problem = "The body is not a JSON object."
    if not body:
        problem = "The body is empty."
    raise InvalidRequest(problem, reason="not-a-json-object")


def _read(members: Mapping[str, Any]) -> TokenRequest:
    values = {name: _READERS[name](value) for name, value in members.items()}
    return TokenRequest(**values, has_context="context" in members)


def _faults(members: Mapping[str, Any]) -> list[str]:
    """Return all that is wrong with the members."""
    wrong = [f"{m.name} is missing." for m in MEMBERS if m.is_required and m.name not in members]
    unknown = len(members.keys() - _KNOWN)
    if unknown:
        wrong.append(f"Members not known here: {unknown}. Known: {', '.join(_KNOWN)}.")
    for name in (name for name in _KNOWN if name in members):
        try:
            _READERS[name](members[name])
        except Unfit as error:
            wrong.append(f"{name} {error}.")
    return wrong
