"""How many different users there were in about the last hour, in little memory and with no names.

HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007) over 64-bit digests; standard error 3.3 %.
"""

import math
from typing import Final

SLICE: Final = 600.0
"""Seconds of one slice of time."""
SLICES: Final = 6
"""So many make the window: five whole slices and the one that goes on, 50 to 60 minutes."""

_BITS: Final = 10
_REGISTERS: Final = 1 << _BITS
_REST: Final = 64 - _BITS
_MASK: Final = (1 << _REST) - 1
_ALPHA: Final = 0.7213 / (1 + 1.079 / _REGISTERS)
_FEW: Final = 2.5 * _REGISTERS
"""Below it, counting the registers that are empty is more exact."""


class Census:
    """Digests that were noted lately: a kilobyte for each slice in which there were any."""

    __slots__ = ("_registers", "_slices", "_until")

    def __init__(self) -> None:
        self._slices: list[tuple[int, bytearray] | None] = [None] * SLICES
        self._registers = bytearray()
        """Those of the slice that goes on, until ``_until``: none has begun."""
        self._until = -math.inf

    def note(self, digest: bytes, now: float) -> None:
        """Count one digest (8 octets, evenly spread).

        ``now`` is in seconds of any one clock, which does not go back.
        """
        if now >= self._until:
            self._begin(int(now // SLICE))
        registers, word = self._registers, int.from_bytes(digest)
        place, rank = word >> _REST, _REST + 1 - (word & _MASK).bit_length()
        if rank > registers[place]:  # noqa: PLR1730  # each request would call ``max``
            registers[place] = rank

    def _begin(self, number: int) -> None:
        """Begin a slice; what is in its place is an hour old, and no longer counts."""
        self._registers, self._until = bytearray(_REGISTERS), (number + 1) * SLICE
        self._slices[number % SLICES] = number, self._registers

    def estimate(self, now: float) -> int:
        """Return how many different digests there were; to be called from any thread."""
        oldest = int(now // SLICE) - SLICES
        lately = [kept for each in self._slices if each and each[0] > oldest and (kept := each[1])]
        if not lately:
            return 0
        return _estimate(bytes(map(max, *lately)) if len(lately) > 1 else bytes(lately[0]))


def _estimate(registers: bytes) -> int:
    raw = _ALPHA * _REGISTERS**2 / math.fsum(2.0**-rank for rank in registers)
    empty = registers.count(0)
    if raw <= _FEW and empty:
        return round(_REGISTERS * math.log(_REGISTERS / empty))
    return round(raw)
