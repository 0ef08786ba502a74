"""A server in a process of its own, which prints what happens to it; run by ``test_server``.

A request waits for the end to begin, except one for ``/at-once``; one for ``/for-ever`` for longer.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from service.listener import Listener
from service.server import Hooks, Server, Shutdown, forbid_dumps, run_process
from tests.listening import answer

PR_GET_DUMPABLE = 3


def tell(*words: object) -> None:
    """Print a line."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main() -> int:
    """Serve until told to stop, with the delay of the command line."""
    ending = asyncio.Event()
    waits: dict[str, Callable[[], Awaitable[Any]]] = {
        "/at-once": lambda: asyncio.sleep(0),
        "/for-ever": asyncio.Future,
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive
        tell("arrived")
        await waits.get(scope["path"], ending.wait)()
        await answer(send, b"done")

    def draining() -> None:
        tell("draining")
        ending.set()

    async def close() -> None:
        tell("closed")

    def listener(name: str) -> Listener:
        return Listener(app, name=name, host="127.0.0.1", port=0)

    hooks = Hooks(
        started=lambda addresses: tell("started", addresses.api.port),
        draining=draining,
        reload=lambda: tell("reload"),
        closers=[close],
    )
    shutdown = Shutdown(delay=float(sys.argv[1]), drain=3600)
    return await Server(listener("api"), listener("m"), shutdown=shutdown, hooks=hooks).run()


if __name__ == "__main__":
    forbid_dumps()
    tell("dumpable", ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
    status = run_process(main)
    os.kill(os.getpid(), signal.SIGHUP)  # whoever asks for a reload now is late
    sys.exit(status)
