"""The records that the audit writes about itself."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.audit.chain import START, Head
from service.audit.record import Entry, canonical, timestamp
from service.audit.surroundings import Surroundings
from service.audit.tally import Label
from service.floods import Aggregate

VERSION: Final = 1
"""Of the record's form; verify knows this one and all before it."""

OPEN: Final = "open"
CHECKPOINT: Final = "checkpoint"
ROTATE: Final = "rotate"
CLOSE: Final = "close"
GAP: Final = "gap"
AGGREGATE: Final = "aggregate"
WITHDRAWN: Final = "release-withdrawn"
TLS_REFUSED: Final = "tls-refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What an opening record continues, why, after which cut octets, and where in its file.

    ``at`` is the number of octets before it in its file, ``None`` where there is no file.
    ``is_elsewhere``: the cut octets went to an earlier connection, whose reader may have kept them.
    """

    previous: Head
    why: str
    torn: bytes = b""
    at: int | None = None
    is_elsewhere: bool = False


def opening(around: Surroundings, beginning: Beginning) -> bytes:
    """Return the first record of a file, a connection or a run: where it continues, and who."""
    previous = beginning.previous
    members = {
        "version": VERSION,
        "boot": around.boot,
        "why": beginning.why,
        "previous": None if previous == START else str(previous),
        "torn": tear(beginning.torn, is_elsewhere=beginning.is_elsewhere),
        "at": beginning.at,
        "build": around.build,
        "configuration": around.config_hash.value,
    }
    return _body(OPEN, around, members)


def checkpoint(around: Surroundings, why: str, torn: bytes = b"") -> bytes:
    """Return a sign of life: between two of them nothing is missing."""
    return _body(CHECKPOINT, around, {"boot": around.boot, "why": why, "torn": tear(torn)})


def rotation(around: Surroundings, why: str, to: str) -> bytes:
    """Return the last record of a file that is put aside as ``to``."""
    return _body(ROTATE, around, {"boot": around.boot, "why": why, "to": to})


def closing(around: Surroundings) -> bytes:
    """Return the last record of a run that ended in order."""
    return _body(CLOSE, around, {"boot": around.boot})


def gap(around: Surroundings, span: tuple[int, int], since: float, why: str, torn: bytes) -> bytes:
    """Return the record that stands for what a sink missed while it was ejected.

    ``span`` are the sequence numbers of the first and last missed, ``since`` is UNIX seconds.
    """
    members = {
        "from": span[0],
        "to": span[1],
        "since": timestamp(since),
        "why": why,
        "torn": tear(torn),
    }
    return _body(GAP, around, members)


def withdrawal(around: Surroundings, audit_id: str, reason: str) -> bytes:
    """Return the record that takes a release back: it was recorded, and did not happen."""
    return _body(WITHDRAWN, around, {"audit_id": audit_id, "reason": reason})


def tls_refusal(around: Surroundings, peer: str | None, reason: str) -> bytes:
    """Return the record of a handshake that came to nothing: no request came of it."""
    return _body(TLS_REFUSED, around, {"peer": peer, "reason": reason})


def aggregate(
    around: Surroundings,
    counts: Mapping[Label, int],
    since: float,
    peers: Sequence[Aggregate] = (),
) -> bytes:
    """Return the record that counts what it does not tell one by one; ``since`` UNIX seconds."""
    members = {
        "since": timestamp(since),
        "counts": [_counted(label, n) for label, n in sorted(counts.items())],
        "peers": [_peer(peer) for peer in peers] or None,
    }
    return _body(AGGREGATE, around, members)


def _counted(label: Label, count: int) -> dict[str, Any]:
    return dict(zip(("outcome", "reason", "caller"), label, strict=False)) | {"count": count}


def _peer(counted: Aggregate) -> dict[str, Any]:
    members = {
        "peer": counted.peer,
        "count": counted.count,
        "since": timestamp(counted.since),
        "until": timestamp(counted.until),
    }
    return {name: value for name, value in members.items() if value is not None}


def bare(around: Surroundings, entry: Entry) -> bytes:
    """Return a request's record with nothing in it that could fail again."""
    members = {
        "audit_id": entry.audit_id,
        "received_at": timestamp(entry.opened_at),
        "outcome": entry.outcome,
        "reason": entry.reason,
        "status": entry.status,
        "milliseconds": round((around.clock.monotonic() - entry.started) * 1000, 3),
    }
    return _body("request", around, members)


def tear(torn: bytes, *, is_elsewhere: bool = False) -> dict[str, Any] | None:
    """Return how a record tells of a line that was cut by a failure before it."""
    if not torn:
        return None
    told = {"octets": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
    return told | {"elsewhere": True} if is_elsewhere else told


def _body(kind: str, around: Surroundings, members: Mapping[str, Any]) -> bytes:
    start = {"kind": kind, "time": timestamp(around.clock.wall())}
    return canonical(start | {n: v for n, v in members.items() if v is not None})
