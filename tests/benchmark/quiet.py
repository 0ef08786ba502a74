"""Whether the machine was ours while a row was measured, and once more where it was not."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.benchmark.processes import OTHERS, SERVER

Row = dict[str, Any]

DISTURBED: Final = 0.1
"""A row is disturbed when others took more than this share of the server's core or the load's."""
TRIES: Final = 3
"""So often a row is measured at most; the quietest is kept, with what others took."""


def noise(row: Mapping[str, Any]) -> float:
    """Return the share of a core that others took, of the core on which they took more."""
    others: float = row.get("others", 0.0)
    beside: float = row.get("others_beside", 0.0)
    return max(others, beside)


@dataclass(slots=True)
class Patience:
    """How many seconds a run may yet spend on measuring disturbed rows once more."""

    seconds: float = 0.0
    tell: Callable[[str], None] = lambda _: None

    def quietest(self, measure: Callable[[], Row]) -> Row:
        """Return the row that ``measure`` gives, the quietest of several where others disturb."""
        rows: list[Row] = []
        while True:
            began = time.monotonic()
            rows.append(measure())
            took = time.monotonic() - began
            if noise(rows[-1]) <= DISTURBED or len(rows) == TRIES or took > self.seconds:
                kept = min(rows, key=noise)
                return {**kept, "tries": len(rows)}
            self.seconds -= took
            self.tell(f"{described(rows[-1])}: once more, {self.seconds:.0f} s left for that")


def described(row: Mapping[str, Any]) -> str:
    """Return who else was there, in words."""
    others, beside = (100 * row.get(name, 0.0) for name in ("others", "others_beside"))
    return f"others took {others:.0f} % of core {SERVER} and {beside:.0f} % of core {OTHERS}"
