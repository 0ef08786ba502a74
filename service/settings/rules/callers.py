"""What callers are called, and how much they may use."""

from collections.abc import Iterator

from service.settings.callers import Caller
from service.settings.rules.remarks import Judged, Remark, advice, fault, repeated


def names(judged: Judged) -> Iterator[Remark]:
    """Require that a name is one caller's."""
    rows = ((("callers", at, "name"), row.name) for at, row in enumerate(judged.settings.callers))
    for path, first in repeated(rows):
        yield fault(path, "is the same as {}", named=first)
    if not judged.settings.callers:
        yield advice(("callers",), "is empty: every request is refused")


def limits(judged: Judged) -> Iterator[Remark]:
    """Require a burst with a rate, and tell that 0 blocks."""
    for at, row in enumerate(judged.settings.callers):
        path = ("callers", at, "limits")
        rate, burst = row.limits.rate, row.limits.burst
        if rate and burst is None:
            yield fault(path, "has a rate and needs a burst", (*path, "burst"))
        if rate is None and burst is not None:
            yield fault(path, "has a burst and needs a rate", (*path, "rate"))
        if 0 in _amounts(row):
            yield advice(path, "has a 0, which blocks the caller")


def _amounts(row: Caller) -> tuple[float | None, ...]:
    users = row.limits.distinct_users
    count = None if users is None else users.count
    return (row.limits.rate, row.limits.burst, row.limits.in_flight, count)
