"""Lines of which a flood would bring as many as it likes: a few are written, the rest counted."""

from collections.abc import Callable
from typing import Final

from service.limits import Bucket, Rate

SPARE: Final = Rate(rate=1.0, burst=20.0)
"""Lines of one kind."""


class Sparing:
    """Says of each line whether it is to be written; ``monotonic`` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._buckets: dict[str, Bucket] = {}
        self._unsaid: dict[str, int] = {}

    def unsaid(self, kind: str) -> int | None:
        """Return how many lines of ``kind`` were left out since the last; None: so is this one."""
        bucket = self._buckets.setdefault(kind, Bucket())
        if bucket.take(SPARE, self._monotonic()) > 0.0:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return None
        return self._unsaid.pop(kind, 0)
