"""Where a sink's blocking work runs: one thread, so that nothing it waits for stops the loop."""

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

from service.audit.orders import Order, Report

Job = Callable[[], None]


class Worker(Protocol):
    """Runs jobs one after another, elsewhere."""

    def submit(self, job: Job, done: Job) -> None:
        """Run ``job``, then ``done`` on the event loop."""

    def stop(self) -> None:
        """Take no more jobs; do not wait for one that hangs."""


class Writer(Protocol):
    """The blocking side of a sink; ``alive_at``: monotonic seconds when it last began a step."""

    alive_at: float

    def inscribe(self, orders: Sequence[Order]) -> Report:
        """Carry out the orders."""

    def close(self) -> None:
        """Close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """The blocking side of a sink and where it runs."""

    writer: Writer
    worker: Worker


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
            try:
                job()
            except Exception:  # noqa: BLE001  # a dead thread would be an ejected sink for ever
                told = threading.ExceptHookArgs((*sys.exc_info(), self._thread))
                threading.excepthook(told)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                tell()
