"""Several waiters share one call, and none of them can cancel it for the others."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from service.deadline import Deadline

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Flights(Generic[K, V]):
    """The calls under way, by what they are for."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def under_way(self, key: K) -> asyncio.Task[V] | None:
        """Return the call for ``key`` if there is one."""
        return self._tasks.get(key)

    def start(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> asyncio.Task[V]:
        """Begin a call for ``key``, or return the one that is under way."""
        if (task := self._tasks.get(key)) is not None:
            return task
        task = self._tasks[key] = asyncio.create_task(call())
        task.add_done_callback(lambda done: self._landed(key, done))
        return task

    def _landed(self, key: K, task: asyncio.Task[V]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # read, so that a fault nobody waits for is not reported twice


async def landed(task: asyncio.Task[V], deadline: Deadline) -> V:
    """Wait for a shared call as long as ``deadline`` lasts; raises ``TimeoutError`` after it."""
    async with asyncio.timeout(deadline.remaining()):
        return await asyncio.shield(task)
