"""A value that is replaced whole while requests go on with the one they took."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """What one request works with: the value and which one it is."""

    value: T
    generation: int


class Live(Generic[T]):
    """The current value of something that can be reloaded; readers take one snapshot each.

    ``replace`` alone may set its attributes; they are no properties, because each request reads
    fifteen of them.
    """

    __slots__ = ("generation", "snapshot", "value")

    def __init__(self, value: T) -> None:
        self._put(Snapshot(value, 1))

    def replace(self, value: T) -> None:
        """Put ``value`` in place for whoever takes a snapshot from now on."""
        self._put(Snapshot(value, self.generation + 1))

    def _put(self, snapshot: Snapshot[T]) -> None:
        self.snapshot = snapshot
        """The value and its generation, read together."""
        self.value = snapshot.value
        """The value alone."""
        self.generation = snapshot.generation
        """A number that grows by one with each replacement."""
