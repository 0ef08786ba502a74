"""Counts of what is not told one by one: the audit's answer to a flood."""

from typing import Final

ROWS: Final = 64
"""Different labels in one aggregate; what is over is counted as "other"."""

Label = tuple[str, ...]
"""An outcome and a reason, and the caller where there is one."""


class Tally:
    """Counts by label since the first of them."""

    __slots__ = ("_counts", "since")

    def __init__(self) -> None:
        self._counts: dict[Label, int] = {}
        self.since = 0.0
        """UNIX seconds of the first count."""

    def add(self, label: Label, now: float) -> None:
        """Count one; ``now`` is UNIX seconds."""
        if not self._counts:
            self.since = now
        if label not in self._counts and len(self._counts) >= ROWS:
            label = ("other", "other")
        self._counts[label] = self._counts.get(label, 0) + 1

    def take(self) -> dict[Label, int]:
        """Return the counts and begin again."""
        counts, self._counts = self._counts, {}
        return counts

    def __len__(self) -> int:
        return len(self._counts)
