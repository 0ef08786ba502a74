"""What waits for a sink: releases and what is owed for them go first, the rest fills up."""

from collections import deque
from itertools import chain
from typing import Final

from service.audit.flight import Item

BATCH: Final = 256
"""Orders in one write at most."""
FILL: Final = 32
"""Of these, records that nobody waits for: a release that comes next waits for their write."""


class Lanes:
    """Two queues, in each of which first come is first written."""

    __slots__ = ("_first", "_rest", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        """How many items there are."""
        self._first: deque[Item] = deque()
        self._rest: deque[Item] = deque()

    def add(self, item: Item) -> None:
        """Queue ``item``, which fills up, behind all that waits."""
        self._rest.append(item)
        self.waiting += 1

    def add_first(self, item: Item) -> None:
        """Queue ``item``, which must not wait long, before all that fills up."""
        self._first.append(item)
        self.waiting += 1

    def take(self) -> list[Item]:
        """Take out the next batch."""
        items = _taken(self._first, BATCH)
        items += _taken(self._rest, min(FILL, BATCH - len(items)))
        self.waiting -= len(items)
        return items

    def clear(self) -> list[Item]:
        """Take out everything."""
        items = list(chain(self._first, self._rest))
        self._first.clear()
        self._rest.clear()
        self.waiting = 0
        return items


def _taken(queue: deque[Item], most: int) -> list[Item]:
    if len(queue) <= most:
        everything = list(queue)
        queue.clear()
        return everything
    return [queue.popleft() for _ in range(most)]
