"""The small shapes that sections are made of: names, durations, addresses, files, instants."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

T = TypeVar("T")

OURS: Final = "settings"
"""The type of errors whose message is ours and quotes nothing."""


class Section(BaseModel):
    """One mapping of the file: frozen, no unknown keys, and every YAML type meant as written."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )


_HOST: Final = r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)"
_PORT: Final = (
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
)
_PATH: Final = r"(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"

LONGEST_PATH: Final = 4096
"""Octets of a path on Linux. Said apart: counted in the pattern it takes 1.6 MB of memory a use."""

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
PROVIDER: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
MEMBER: Final = r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$"
FILE: Final = r"^[^\x00-\x1f\x7f]+$"
LINE: Final = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]{0,510}[^\x00-\x20\x7f])?$"
HOST: Final = r"^([0-9A-Fa-f:]*:[0-9A-Fa-f:]+|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)$"
HTTPS_URL: Final = f"^https://{_HOST}{_PORT}{_PATH}$"
ORIGIN: Final = f"^https?://{_HOST}{_PORT}/?$"
API_KEY: Final = r"^[2-9]_[A-Za-z0-9_-]{1,200}$"
USER_KEY: Final = r"^[A-Za-z0-9._~+/=-]{1,200}$"
DIGEST: Final = r"^[0-9a-f]{64}$"
TRUST_DOMAIN: Final = r"^[a-z0-9][a-z0-9._-]{0,254}$"
ZONE: Final = r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$"
INSTANT: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})$"
)

SENTENCES: Final[Mapping[str, str]] = {
    NAME: "must be 1 to 63 letters, digits, '-' or '_', and begin with a letter or digit",
    PROVIDER: "must be a provider's name: letters, digits, '.', '-' or '_'",
    MEMBER: "must be a member's name: letters, digits, '_', '.' or '-'",
    FILE: "must be the path of a file",
    LINE: "must be one line of text without white space around it",
    HOST: "must be an IP address or a host name",
    HTTPS_URL: "must be an https:// address without user, password, query or fragment",
    ORIGIN: "must be http://host:port or https://host:port without user, password, path or query",
    API_KEY: "must have the shape of an API key: a digit, '_', then letters, digits, '-' or '_'",
    USER_KEY: "must have the shape of a user or application key",
    DIGEST: "must be the 64 lower-case hexadecimal digits of a SHA-256",
    TRUST_DOMAIN: "must be a SPIFFE trust domain: lower-case letters, digits, '.', '-' or '_'",
    ZONE: "must be the name of an IANA time zone, such as Europe/Berlin",
}
"""What a text that does not match is told: the pattern says it to machines, this to people."""

Name = Annotated[str, Field(pattern=NAME)]
ProviderText = Annotated[str, Field(pattern=PROVIDER)]
Member = Annotated[str, Field(pattern=MEMBER)]
File = Annotated[str, Field(pattern=FILE, max_length=LONGEST_PATH)]
Line = Annotated[str, Field(pattern=LINE)]
Host = Annotated[str, Field(pattern=HOST)]
HttpsUrl = Annotated[str, Field(pattern=HTTPS_URL)]
Origin = Annotated[str, Field(pattern=ORIGIN)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
"""A wait that must end: more than nothing, at most an hour."""
Period = Annotated[float, Field(ge=0, le=3600)]
"""A time that may be nothing: at most an hour."""
Count = Annotated[int, Field(ge=1, le=1_000_000)]

Many = Annotated[tuple[T, ...], Field(strict=False)]
"""A list that may be empty (YAML has lists, frozen data has tuples)."""
Some = Annotated[tuple[T, ...], Field(strict=False, min_length=1)]
"""A list of at least one."""


def _instant(value: object) -> datetime:
    if not isinstance(value, str) or re.fullmatch(INSTANT, value) is None:
        raise PydanticCustomError(
            OURS, "must be a time with its zone, such as 2027-01-31T00:00:00Z"
        )
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        problem = "names a day or time that does not exist"
    raise PydanticCustomError(OURS, problem)


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": INSTANT}),
]
"""A moment with its zone, written as RFC 3339 says."""


def tag_of(key: str) -> Callable[[Any], str | None]:
    """Return what tells the shapes of a union apart: the text under ``key``, marked with ``=``.

    The mark keeps the tag out of the paths that people read.
    """

    def tag(value: Any) -> str | None:
        chosen = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return f"={chosen}" if isinstance(chosen, str) else None

    return tag


def one_of(*keys: str) -> dict[str, Any]:
    """Return the JSON Schema of a mapping in which exactly one of ``keys`` is set, not null."""
    return {"oneOf": [_only(key, keys) for key in keys]}


def _only(key: str, keys: tuple[str, ...]) -> dict[str, Any]:
    others: dict[str, Any] = {other: {"type": "null"} for other in keys if other != key}
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}, **others}}
