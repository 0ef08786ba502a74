"""When a token ends, in every form that Gigya's documents and samples show.

Source: facts.md §1.5. Gigya's values are absolute; a site can say that its values are relative.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from service.secret import Secret

SMALLEST_EPOCH: Final = 10**9
"""Digits below are seconds left, not a moment (which would be before September 2001)."""

SMALLEST_MILLISECONDS: Final = 10**11
"""Digits from here are milliseconds; as seconds they would be beyond the year 5000."""

FIRST_YEAR: Final = 2000
"""Older than Gigya and every token: such a moment is a default value that leaked out."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
_DATE_TIME: Final = re.compile(
    r"(?P<moment>[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?"
    r"(?: ?(?P<zone>Z|UTC|GMT|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9]))?"
)
_UTC_NAMES: Final = frozenset({"Z", "UTC", "GMT"})


class UnreadableExpiry(ValueError):
    """The text is no expiry that we know; holds nothing of it."""

    def __init__(self) -> None:
        super().__init__("an expiry in a form that is not known")


def parse_expiry(
    text: str, *, relative: bool = False, zone: tzinfo = UTC, now: float
) -> datetime | None:
    """Return the moment that ``text`` tells, in UTC; ``None`` where it says that none is known.

    ``zone`` is for date-times without one; ``relative`` allows seconds from ``now`` (UNIX
    seconds). Raises ``UnreadableExpiry``.
    """
    if text in {"", "0"}:
        return None
    try:
        moment = _moment(text, relative=relative, zone=zone, now=now)
    except (ValueError, OverflowError):
        moment = None  # the error may quote the text
    if moment is None or moment.year < FIRST_YEAR:
        raise UnreadableExpiry
    return moment


def expiry_in(
    fields: Mapping[str, Secret[str]],
    name: str,
    *,
    relative: bool = False,
    zone: tzinfo = UTC,
    now: float,
) -> datetime | None:
    """Return the expiry ``name`` of a reply, under today's name (``…UTC``) or the older one.

    Where the name says UTC, the site's zone does not count. Raises ``UnreadableExpiry``.
    """
    moment, in_utc = None, f"{name}UTC"
    if in_utc in fields:
        moment = parse_expiry(fields[in_utc].reveal(), relative=relative, now=now)
    if moment is None and name in fields:
        moment = parse_expiry(fields[name].reveal(), relative=relative, zone=zone, now=now)
    return moment


def _moment(text: str, *, relative: bool, zone: tzinfo, now: float) -> datetime | None:
    if match := _DATE_TIME.fullmatch(text):
        return _from_parts(match["moment"], match["fraction"] or "", match["zone"], zone)
    if _DIGITS.fullmatch(text):
        return _from_number(int(text), relative=relative, now=now)
    return None


def _from_number(number: int, *, relative: bool, now: float) -> datetime | None:
    if number >= SMALLEST_MILLISECONDS:
        return _EPOCH + timedelta(milliseconds=number)
    if number >= SMALLEST_EPOCH:
        return _EPOCH + timedelta(seconds=number)
    return _EPOCH + timedelta(seconds=now + number) if relative else None


def _from_parts(moment: str, fraction: str, zone: str | None, otherwise: tzinfo) -> datetime:
    # Six digits are what a datetime holds; the seventh (.NET's ticks) is cut off, never rounded up.
    in_utc = datetime.fromisoformat(f"{moment}.{fraction:0<6.6}+00:00")
    if zone in _UTC_NAMES:
        return in_utc
    if zone is None:
        return in_utc.replace(tzinfo=otherwise).astimezone(UTC)
    offset = zone.replace(":", "")
    sign = -1 if offset[0] == "-" else 1
    hours, minutes = int(offset[1:3]), int(offset[3:5])
    return in_utc - sign * timedelta(hours=hours, minutes=minutes)
