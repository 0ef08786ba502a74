"""The members of a token request: one table, from which reading and documentation both come."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from service.model import UidSignature

LONGEST_UID: Final = 512
LONGEST_NAME: Final = 100
LONGEST_CID: Final = 100
LONGEST_SIGNATURE: Final = 200
LONGEST_CONTEXT: Final = 4096
MOST_FIELDS: Final = 32
MOST_SECONDS: Final = 31_536_000

Schema = dict[str, Any]


class Unfit(ValueError):
    """A value is not what its member takes; says what it must be, and never what it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member: ``read`` returns what the value means or raises ``Unfit``."""

    name: str
    is_required: bool = False
    read: Callable[[Any], Any]
    schema: Schema
    text: str


NOT_CONTROL: Final = r"[^\u0000-\u001f\u007f-\u009f]"
"""Whatever is not of Unicode's category Cc."""


def _text(longest: int) -> tuple[Callable[[Any], str], Schema]:
    fits = re.compile(f"{NOT_CONTROL}{{1,{longest}}}").fullmatch

    def read(value: Any) -> str:
        if not isinstance(value, str) or fits(value) is None:
            raise Unfit(f"must be a text of 1 to {longest} characters, none a control character")
        return value

    pattern = f"^{NOT_CONTROL}*$"
    return read, {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern}


def _seconds() -> tuple[Callable[[Any], int], Schema]:
    def read(value: Any) -> int:
        if type(value) is not int or not 0 <= value <= MOST_SECONDS:  # a bool is an int to Python
            raise Unfit(f"must be a whole number of seconds from 0 to {MOST_SECONDS}")
        return value

    return read, {"type": "integer", "minimum": 0, "maximum": MOST_SECONDS}


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit("must be true or false")
    return value


def _names(value: Any) -> tuple[str, ...]:
    fits = isinstance(value, list) and 0 < len(value) <= MOST_FIELDS
    if not fits or not all(isinstance(n, str) and 0 < len(n) <= LONGEST_NAME for n in value):
        raise Unfit(f"must be a list of 1 to {MOST_FIELDS} names")
    if len(set(value)) != len(value):
        raise Unfit("must not name anything twice")
    return tuple(value)


def _context(value: Any) -> Any:
    encoded = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    if len(encoded) > LONGEST_CONTEXT:
        raise Unfit(f"must be at most {LONGEST_CONTEXT} bytes of JSON in UTF-8")
    return value


_read_timestamp, _TIMESTAMP = _text(32)
_read_signature, _SIGNATURE = _text(LONGEST_SIGNATURE)


def _uid_signature(value: Any) -> UidSignature:
    if not isinstance(value, dict) or value.keys() != {"timestamp", "signature"}:
        raise Unfit("must be an object of timestamp and signature, both texts")
    try:
        return UidSignature(
            timestamp=_read_timestamp(value["timestamp"]),
            signature=_read_signature(value["signature"]),
        )
    except Unfit as error:
        problem = f"has a timestamp or signature that {error}"
    raise Unfit(problem)


def _members() -> tuple[Member, ...]:
    read_uid, uid = _text(LONGEST_UID)
    read_name, name = _text(LONGEST_NAME)
    read_cid, cid = _text(LONGEST_CID)
    read_seconds, seconds = _seconds()
    return (
        Member(
            name="uid",
            is_required=True,
            read=read_uid,
            schema=uid,
            text="The user's Gigya UID.",
        ),
        Member(
            name="provider",
            is_required=True,
            read=read_name,
            schema=name,
            text="Canonical name or documented alias of the provider; case is exact.",
        ),
        Member(
            name="site",
            read=read_name,
            schema=name,
            text="The site's configured name; may be left out where exactly one is granted.",
        ),
        Member(
            name="fields",
            read=_names,
            schema={
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_FIELDS,
                "uniqueItems": True,
                "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME},
            },
            text=(
                "What is wanted, as names that any column of the mapping gives that provider, or "
                "Gigya's own. Left out: all that is granted."
            ),
        ),
        Member(
            name="min_ttl",
            read=read_seconds,
            schema={**seconds, "default": 0},
            text="Seconds that the token must still live.",
        ),
        Member(
            name="max_age",
            read=read_seconds,
            schema=seconds,
            text="Oldest acceptable cached answer in seconds; 0 asks Gigya.",
        ),
        Member(
            name="cid",
            read=read_cid,
            schema=cid,
            text="Gigya's context id, for its reports.",
        ),
        Member(
            name="context",
            read=_context,
            schema={},
            text=(
                f"Any JSON up to {LONGEST_CONTEXT} bytes, handed back unchanged; never sent to "
                "Gigya."
            ),
        ),
        Member(
            name="verify_provider_uid",
            read=_flag,
            schema={"type": "boolean", "default": False},
            text="Check Gigya's signature of the provider UID.",
        ),
        Member(
            name="uid_signature",
            read=_uid_signature,
            schema={
                "type": "object",
                "additionalProperties": False,
                "required": ["timestamp", "signature"],
                "properties": {"timestamp": _TIMESTAMP, "signature": _SIGNATURE},
            },
            text=(
                "What Gigya gave the user's browser; needed where the grant asks for proof that "
                "the user is present."
            ),
        ),
    )


MEMBERS: Final = _members()
