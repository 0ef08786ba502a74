"""The life of the process: both listeners and the signals, from the first port to the last close.

SIGTERM or SIGINT: readiness fails and the API is served for ``delay`` seconds more, each answer
closing its connection; then nothing new is accepted and what has begun has ``drain`` seconds; then
the closers run, in order, and the process exits 0. A second signal skips what is left of that: open
requests are cancelled, the closers run all the same, and it exits 1. A third kills.
"""

import asyncio
import ctypes
import gc
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, NoReturn

from service.listener import Address, Listener

DRAINED: Final = 0
CUT_SHORT: Final = 1

CLOSING: Final = 5.0
"""Seconds that each closer has."""

YOUNG: Final = 20_000
"""Objects, made and not yet gone, after which cycles among them are looked for."""

PR_SET_DUMPABLE: Final = 4
"""prctl(2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the process listens."""

    api: Address
    management: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """How the process ends; seconds."""

    delay: float = 5.0
    drain: float = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the life of the process calls in the rest of it.

    ``started`` when both listeners are up; ``draining`` when readiness must fail; ``refusing`` when
    what begins from then on must be refused; ``reload`` at each SIGHUP; ``closers`` in order at the
    end; ``failed`` with the name of what went wrong there.
    """

    started: Callable[[Addresses], None] = lambda _: None
    draining: Callable[[], None] = lambda: None
    refusing: Callable[[], None] = lambda: None
    reload: Callable[[], None] = lambda: None
    closers: Sequence[Callable[[], Awaitable[None]]] = ()
    failed: Callable[[str], None] = lambda _: None


class Server:
    """Runs both listeners until it is told to stop; made and used inside one event loop."""

    def __init__(
        self,
        api: Listener,
        management: Listener,
        *,
        shutdown: Shutdown | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self._api = api
        self._management = management
        self._shutdown = shutdown or Shutdown()
        self._hooks = hooks or Hooks()
        self._up: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    async def started(self) -> Addresses:
        """Wait until both listeners are up; raises ``OSError`` if one cannot be."""
        return await asyncio.shield(self._up)

    def stop(self) -> None:
        """Begin the end; called again, make it short. What SIGTERM and SIGINT do."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def run(self, *, signals: bool = True) -> int:
        """Serve until stopped, and return the exit status.

        Raises ``OSError`` when an address cannot be had; the closers have run then, too. With
        ``signals`` it must run in the main thread; SIGHUP is ignored afterwards.
        """
        if signals:
            self._install()
        try:
            await self._open()
            await self._stopping.wait()
            await self._wind_down()
        finally:
            await self._api.cut()
            await self._close()
            await self._management.cut()
            if signals:
                self._uninstall()
        return CUT_SHORT if self._hurry.is_set() else DRAINED

    async def _open(self) -> None:
        try:
            management = await _opened(self._management)
            addresses = Addresses(api=await _opened(self._api), management=management)
        except OSError as error:
            self._up.set_exception(error)
            self._up.exception()  # whoever asks gets it; nobody need ask
            raise
        self._up.set_result(addresses)
        self._hooks.started(addresses)

    async def _wind_down(self) -> None:
        self._hooks.draining()
        self._api.retire()
        await self._unless_hurried(self._hurry.wait(), self._shutdown.delay)
        self._hooks.refusing()
        drain = self._api.drain(self._shutdown.drain)
        if not await self._unless_hurried(drain, None):
            self._hooks.failed("drain")

    async def _unless_hurried(self, work: Coroutine[Any, Any, bool], limit: float | None) -> bool:
        """Return what ``work`` returns; false after ``limit`` seconds or when hurried."""
        task = asyncio.create_task(work)
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({task, hurry}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if task.done():
            return task.result()
        task.cancel()
        return False

    async def _close(self) -> None:
        for closer in self._hooks.closers:
            try:
                async with asyncio.timeout(CLOSING):
                    await closer()
            except Exception as error:  # noqa: BLE001  # the others must run all the same
                self._hooks.failed(type(error).__name__)

    def _install(self) -> None:
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self._on_ending)
        # Not the loop's: between its handler and none, the default would end the process.
        reload = self._hooks.reload
        signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(reload))

    def _on_ending(self) -> None:
        self.stop()
        if self._hurry.is_set():
            self._uninstall()  # a third one kills

    def _uninstall(self) -> None:
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(ending)


def run_process(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run ``main`` in a new event loop, uvloop's where it is installed, and return its result.

    Until a ``Server`` takes the signals, SIGTERM ends the process with status 0: as process 1 of a
    container it would otherwise not be heard.
    """
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(main())
    finally:
        signal.signal(signal.SIGTERM, before)


def settle_memory() -> None:
    """Have the collector of cycles look at requests only, and seldom.

    Called when everything that lives as long as the process is made. A request leaves hardly any
    cycle; at Python's thresholds the collector would take a tenth of the time of each.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)


def forbid_dumps() -> None:
    """Keep secrets out of core files and of other processes' hands (core(5), prctl(2)).

    No core dump; on Linux no ptrace and no reading of ``/proc/<pid>/mem`` by the same user.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


async def _opened(listener: Listener) -> Address:
    asked, why = listener.asked, ""
    try:
        return await listener.open()
    except OSError as error:
        told = error.strerror or type(error).__name__
        why = told.partition(" (")[0]  # Python adds the address to some
    raise OSError(f"the {listener.hall.name} listener cannot have {asked}: {why}")


def raise_descriptors() -> int:
    """Let the process have as many descriptors as it may, and return how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS has a limit of its own below an infinite one
        return soft
    return hard


def _leave(_: int, __: FrameType | None) -> NoReturn:
    raise SystemExit(DRAINED)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  # absent where there is no CPython
    except ImportError:
        return None
    return uvloop.new_event_loop
