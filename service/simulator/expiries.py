"""The forms in which an expiry has been seen, or might be (facts.md §1.5)."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final


class ExpiryForm(StrEnum):
    """How ``tokenExpiration(UTC)`` and ``sessionExpiration`` are written."""

    DATE_TIME = "date_time"  # 2009-06-21 17:00:00, the only documented sample
    ISO = "iso"  # 2009-06-21T17:00:00.000Z
    ISO_OFFSET = "iso_offset"  # 2009-06-21T17:00:00+00:00
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    RELATIVE = "relative"  # whole seconds left
    EMPTY = "empty"
    ZERO = "zero"
    GARBAGE = "garbage"


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


_WRITERS: Final[Mapping[ExpiryForm, Callable[[float, float], str]]] = {
    ExpiryForm.DATE_TIME: lambda at, _: f"{_moment(at):%Y-%m-%d %H:%M:%S}",
    ExpiryForm.ISO: lambda at, _: iso(at),
    ExpiryForm.ISO_OFFSET: lambda at, _: _moment(at).isoformat(timespec="seconds"),
    ExpiryForm.SECONDS: lambda at, _: str(int(at)),
    ExpiryForm.MILLISECONDS: lambda at, _: str(int(at * 1000)),
    ExpiryForm.RELATIVE: lambda at, now: str(int(at - now)),
    ExpiryForm.EMPTY: lambda _at, _now: "",
    ExpiryForm.ZERO: lambda _at, _now: "0",
    ExpiryForm.GARBAGE: lambda _at, _now: "next Tuesday, perhaps",
}


def write(form: ExpiryForm, at: float, now: float) -> str:
    """Return the moment ``at`` in ``form``; both are UNIX seconds."""
    return _WRITERS[form](at, now)


def iso(at: float) -> str:
    """Return ISO 8601 in UTC with milliseconds, as the ``time`` of every reply is."""
    return f"{_moment(at):%Y-%m-%dT%H:%M:%S}.{int(at * 1000) % 1000:03d}Z"
