"""What subjects look like: as they are read of certificates and tokens, and as they are granted."""

import re
from typing import Final

LONGEST_SPIFFE_ID: Final = 2048
SPIFFE_ID: Final = re.compile(
    r"spiffe://(?P<trust_domain>[a-z0-9._-]{1,255})(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._-]+)+", re.ASCII
)
"""SPIFFE-ID, section 2: no port, query, fragment, empty or dot segments; a workload has a path."""

HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*",
    re.ASCII,
)
"""In lower case, as names of certificates are read; RFC 1123, section 2.1."""

NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
"""A DNS label (RFC 1123), as Kubernetes wants it."""

OBJECT_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII)
"""A DNS subdomain, as Kubernetes wants it of service accounts and pods."""

CLAIMED: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,510}[\x21-\x7e])?")
"""Printable ASCII, as SPIFFE IDs and client ids are; nothing that looks like another."""

_TYPE: Final = r"(?:CN|L|ST|O|OU|C|STREET|DC|UID|(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+)"
_TEXT: Final = r"""(?![ #])(?:\\[ #])?(?:[^\\"+,;<>\x00]|\\(?:[\\"+,;<>]|00))*(?:\\[ ]|(?<![ ]))"""
_PART: Final = rf"(?P<type>{_TYPE})=(?:#(?:[0-9a-f]{{2}})+|{_TEXT})"
_UNNAMED: Final = _PART.replace("?P<type>", "?:")
_NAME: Final = re.compile(rf"{_UNNAMED}(?:[,+]{_UNNAMED})*")
_IN_TURN: Final = re.compile(rf"(\A|[,+])({_UNNAMED})")


def is_service_account(text: str) -> bool:
    """Whether it is ``namespace/name``."""
    namespace, _, name = text.partition("/")
    return bool(NAMESPACE.fullmatch(namespace) and OBJECT_NAME.fullmatch(name))


def is_spiffe_id(text: str) -> bool:
    """Whether it is the SPIFFE ID of a workload."""
    return len(text) <= LONGEST_SPIFFE_ID and SPIFFE_ID.fullmatch(text) is not None


def is_host_name(text: str) -> bool:
    """Whether it is a host name, in lower case."""
    return HOST_NAME.fullmatch(text) is not None


def is_claimed(text: str) -> bool:
    """Whether a token's subject may be that."""
    return CLAIMED.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether it is a certificate's subject in the one way in which it is read (RFC 4514).

    Most specific part first, no spaces between parts, nothing escaped without need, types that
    have no short name in section 3 by their number, and none of those joined by ``+`` twice.
    """
    return _NAME.fullmatch(text) is not None and not _repeats(text)


def _repeats(name: str) -> bool:
    """Whether parts that are joined, which are a set (X.501), have one twice."""
    joined: set[str] = set()
    for sign, part in _IN_TURN.findall(name):
        if sign != "+":
            joined = set()
        if part in joined:
            return True
        joined.add(part)
    return False


def types_of(name: str) -> list[str]:
    """Return the types of the parts of a name, in the order in which they are written."""
    return [part["type"] for part in re.finditer(_PART, name)]
