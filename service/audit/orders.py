"""What a sink asks of its writer, and what the writer reports."""

import errno
from dataclasses import dataclass
from typing import Final

from service.audit.chain import Head
from service.audit.media import DISPLACEMENTS, Moved

FAULTS: Final = {
    errno.ENOSPC: "no-space",
    errno.EDQUOT: "no-space",
    errno.EROFS: "read-only",
    errno.EPIPE: "closed",
    errno.ECONNRESET: "closed",
    errno.ECONNREFUSED: "refused",
    errno.ENOENT: "missing",
    errno.EACCES: "forbidden",
    errno.EPERM: "forbidden",
    errno.EAGAIN: "locked",
    errno.ELOOP: "link",
    errno.EIO: "input-output",
    errno.EFBIG: "too-large",
    errno.ETIMEDOUT: "late",
}
"""What went wrong, as observers and gap records name it; anything else is "failed"."""
LATE: Final = "late"
FAILED: Final = "failed"
REASONS: Final = (*sorted({*FAULTS.values(), *DISPLACEMENTS, LATE, FAILED}),)
"""Why a sink can be ejected."""


@dataclass(frozen=True, slots=True)
class Gap:
    """An order to tell of records that were missed since ``since`` (UNIX seconds)."""

    missed: int
    since: float
    why: str


@dataclass(frozen=True, slots=True)
class Turn:
    """An order to begin a new file."""

    why: str


Order = bytes | Gap | Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a batch.

    The first ``landed`` orders are on the medium; all of them are accepted if there is no
    ``fault``, else none. ``noticed`` are the things somebody should look at. ``seconds`` it took.
    """

    landed: int
    head: Head
    fault: str | None
    noticed: tuple[str, ...]
    seconds: float


def broken(head: Head) -> Report:
    """Return the report of a writer that failed in a way it should not."""
    return Report(landed=0, head=head, fault=FAILED, noticed=(), seconds=0.0)


def fault_name(error: OSError) -> str:
    """Return the slug for what went wrong."""
    if isinstance(error, Moved):
        return error.strerror or FAILED
    if isinstance(error, TimeoutError):
        return LATE
    return FAULTS.get(error.errno or 0, FAILED)
