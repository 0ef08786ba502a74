"""What was decided lately: bounded in number and in time."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from service.deadline import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FOREVER: Final = float("inf")


class Memory(Generic[K, V]):
    """Keeps at most ``entries`` values, each for its own time; the least used goes first."""

    __slots__ = ("_clock", "_entries", "_kept")

    def __init__(self, *, entries: int, clock: Clock) -> None:
        self._entries = entries
        self._clock = clock
        self._kept: OrderedDict[K, tuple[V, float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Return what is kept for ``key`` and still holds, by both clocks."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        value, until, wall_until = kept
        if self._clock.monotonic() >= until or self._clock.wall() >= wall_until:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return value

    def put(self, key: K, value: V, *, until: float, wall_until: float = FOREVER) -> None:
        """Keep ``value`` before ``until`` (monotonic) and ``wall_until`` (UNIX), in seconds."""
        self._kept[key] = value, until, wall_until
        self._kept.move_to_end(key)
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)
