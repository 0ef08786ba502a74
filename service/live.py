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
    """The current value of something that can be reloaded; readers take one snapshot each."""

    __slots__ = ("_snapshot",)

    def __init__(self, value: T) -> None:
        self._snapshot = Snapshot(value, 1)

    @property
    def snapshot(self) -> Snapshot[T]:
        """The value and its generation, read together."""
        return self._snapshot

    @property
    def value(self) -> T:
        """The value alone."""
        return self._snapshot.value

    @property
    def generation(self) -> int:
        """A number that grows by one with each replacement."""
        return self._snapshot.generation

    def replace(self, value: T) -> None:
        """Put ``value`` in place for whoever takes a snapshot from now on."""
        self._snapshot = Snapshot(value, self._snapshot.generation + 1)
