"""The chain: each record carries a keyed hash over its own bytes and its predecessor's hash.

A line is ``{"seq":N,"chain":"…",<body>,"hash":"<key id>:<64 hex>"}``. The hash is HMAC-SHA256 over
the predecessor's ``hash`` and the line's bytes without its last member, so every byte counts.
"""

import re
from typing import Final, NamedTuple

from service.audit.fingerprints import AuditKey
from service.values import value

CHAIN_BYTES: Final = 8
"""Random octets that name a chain."""

_START: Final = re.compile(
    rb'\{"seq":([1-9][0-9]{0,18}),"chain":"([0-9a-f]{16})","kind":"([a-z-]{1,32})"[,}]'
)
_END: Final = re.compile(rb',"hash":"(([0-9a-f]{8}):([0-9a-f]{64}))"\}')
_END_LENGTH: Final = len(',"hash":""}') + 8 + 1 + 64
_HEAD: Final = re.compile(r"(0|[1-9][0-9]{0,18}):((?:[0-9a-f]{8}:)?[0-9a-f]{64})")


@value(kw_only=False)
class Head:
    """Where a chain stands: the last record's number and hash."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Return the head in ``SEQ:HASH``; raises ``ValueError``."""
        found = _HEAD.fullmatch(text)
        if found is None:
            raise ValueError("a head is SEQ:HASH, as exported")
        return cls(int(found[1]), found[2])


START: Final = Head(0, "")
"""Before the first record."""


class Link(NamedTuple):
    """A line of the stream, taken apart but not believed."""

    sequence: int
    chain: str
    kind: str
    hash: str
    key_id: str
    digest: str
    signed: bytes

    @property
    def head(self) -> Head:
        """The head after this record, if it is genuine."""
        return Head(self.sequence, self.hash)

    def follows(self, previous: str, key: AuditKey) -> bool:
        """Whether the hash is right after a record whose hash is ``previous``."""
        return key.vouches(previous.encode(), self.signed, self.digest)


def link(
    sequence: int, previous: bytes, chain: bytes, body: bytes, key: AuditKey
) -> tuple[bytes, bytes]:
    """Return the line for ``body`` (a JSON object), and its hash.

    ``sequence`` is its number in the chain, ``previous`` the hash of the record before it.
    """
    signed = b'{"seq":%d,"chain":"%b",%b' % (sequence, chain, body[1:])
    digest = f"{key.id}:{key.link(previous, signed)}".encode()
    return b'%b,"hash":"%b"}\n' % (signed[:-1], digest), digest


def take_apart(line: bytes) -> Link | None:
    """Return what ``line`` (without its newline) claims, or ``None`` if it is no record."""
    start, end = _START.match(line), _END.fullmatch(line, max(0, len(line) - _END_LENGTH))
    if start is None or end is None:
        return None
    sequence, chain, kind = start.groups()
    digest, key_id, mac = end.groups()
    return Link(
        int(sequence),
        chain.decode(),
        kind.decode(),
        digest.decode(),
        key_id.decode(),
        mac.decode(),
        line[:-_END_LENGTH] + b"}",
    )
