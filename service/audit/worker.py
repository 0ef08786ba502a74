"""Where a sink's blocking work runs: one thread, so that nothing it waits for stops the loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

Job = Callable[[], None]


class Worker(Protocol):
    """Runs jobs one after another, elsewhere."""

    def submit(self, job: Job, done: Job) -> None:
        """Run ``job``, then ``done`` on the event loop."""

    def stop(self) -> None:
        """Take no more jobs; do not wait for one that hangs."""


class ThreadWorker:
    """A daemon thread: one that hangs in a write does not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Job, Callable[[], object]] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def submit(self, job: Job, done: Job) -> None:
        """Run ``job`` in the thread, then ``done`` on the loop that is running now."""
        if self._thread is None:
            self._thread = Thread(target=self._work, name=f"audit-{self._name}", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        self._jobs.put((job, lambda: loop.call_soon_threadsafe(done)))

    def stop(self) -> None:
        """End the thread after the jobs it has."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (task := self._jobs.get()) is not None:
            job, tell = task
            job()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                tell()
