"""The life of an application inside its process: what runs beside requests, and what it may say."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

Beside = Callable[[], Coroutine[Any, Any, None]]
Closer = Callable[[], Awaitable[None]]
PATIENCE: Final = 2.0
"""Seconds that all closers together have; those that hang take nothing of the last one's."""
LAST: Final = 2.5
"""Seconds that the last closer has, the audit's; both are within the server's ``CLOSING``."""

Unseen = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]


class Lifecycle:
    """Starts and ends what runs beside requests, and knows whether requests may come.

    ``warming`` is waited for by readiness; it must end by itself, whatever is away. ``failed`` is
    told of work that died of a bug, ``unseen`` (the event loop and its context) of what failed
    where nobody looks.
    """

    def __init__(
        self,
        *,
        warming: Beside,
        failed: Callable[[BaseException], None] = lambda _: None,
        unseen: Unseen | None = None,
    ) -> None:
        self._warming = warming
        self._failed = failed
        self._unseen = unseen
        self._beside: list[Beside] = []
        self._closers: list[Closer] = []
        self._last: list[Closer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._before: Any = None
        self._is_up = self._is_warm = self._is_draining = False
        self.is_closing = False

    def run_beside(self, *work: Beside) -> None:
        """Have ``work`` run from the start to the end."""
        self._beside += work

    def close(self, *closers: Closer) -> None:
        """Have ``closers`` called at the end, all at once."""
        self._closers += closers

    def close_last(self, closer: Closer) -> None:
        """Have ``closer`` called when the others have ended or had their time."""
        self._last.append(closer)

    def start(self) -> None:
        """Begin what runs beside requests."""
        loop = asyncio.get_running_loop()
        self._before = loop.get_exception_handler()
        loop.set_exception_handler(self._unseen or self._before)
        self._tasks = [asyncio.create_task(work()) for work in (*self._beside, self._warm)]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def aclose(self) -> None:
        """End it, and close what is to be closed; each has its chance, whatever the others do."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await _closed(self._closers, PATIENCE)
        await _closed(self._last, LAST)
        if self._tasks:
            asyncio.get_running_loop().set_exception_handler(self._before)

    def began(self) -> None:
        """Note that both listeners are up."""
        self._is_up = True

    def drain(self) -> None:
        """Fail readiness, and go on serving."""
        self._is_draining = True

    def refuse(self) -> None:
        """Have every new request refused."""
        self.is_closing = True

    def readiness(self) -> Mapping[str, bool]:
        """Return what this process itself needs to serve; no other system has a say."""
        return {
            "listening": self._is_up,
            "keys fetched or late": self._is_warm,
            "taking new requests": not self._is_draining,
        }

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    async def _warm(self) -> None:
        with suppress(Exception):
            await self._warming()
        self._is_warm = True


async def _closed(closers: Sequence[Closer], seconds: float) -> None:
    async def run(close: Closer) -> None:
        with suppress(Exception):
            await close()

    closing = [asyncio.create_task(run(close)) for close in closers]
    if closing:
        _, late = await asyncio.wait(closing, timeout=seconds)
        for task in late:
            task.cancel()  # and not waited for: it may not let itself be cancelled
