"""Patterns of subjects: anchored at both ends, and ``*`` never crosses a separator."""

import re
from typing import Final

WILDCARD: Final = "*"
SLASH: Final = "/"
"""What stands between the parts of most subjects."""


def compile_pattern(pattern: str, separator: str = SLASH) -> re.Pattern[str]:
    """Return the expression to ``fullmatch`` a subject with.

    Each ``*`` takes the shortest run that lets the next literal match and gives nothing back, so
    that a hostile subject cannot make matching slow.
    """
    first, *rest = pattern.split(WILDCARD)
    within = f"[^{re.escape(separator)}]*"
    middle = "".join(f"(?>{within}?{re.escape(literal)})" for literal in rest[:-1])
    last = f"{within}{re.escape(rest[-1])}" if rest else ""
    return re.compile(re.escape(first) + middle + last)


def overlap(one: str, other: str, separator: str = SLASH) -> bool:
    """Whether some subject matches both patterns; segments meet pairwise or not at all."""
    pairs = one.split(separator), other.split(separator)
    return len(pairs[0]) == len(pairs[1]) and all(map(_segments_meet, *pairs))


def _segments_meet(one: str, other: str) -> bool:
    meets: dict[tuple[int, int], bool] = {}
    for at in range(len(one), -1, -1):
        for to in range(len(other), -1, -1):
            meets[at, to] = _rests_meet(one[at : at + 1], other[to : to + 1], at, to, meets)
    return meets[0, 0]


def _rests_meet(
    left: str, right: str, at: int, to: int, meets: dict[tuple[int, int], bool]
) -> bool:
    """Whether the rests of two segments meet, given all shorter ones; ``""`` is the end."""
    if WILDCARD not in (left, right):
        return left == right and (not left or meets[at + 1, to + 1])
    return (bool(left) and meets[at + 1, to]) or (bool(right) and meets[at, to + 1])
