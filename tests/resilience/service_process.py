"""``serve`` in a process of its own, which tells its size on standard output at each SIGUSR1.

Run by ``place``: ``python -m tests.resilience.service_process CONFIG``.
"""

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from service.app import Parts
from service.cli.serve import serve
from service.logs import Log
from service.metrics import Metrics
from service.server import Addresses, run_process
from service.settings.load import Loaded, load
from service.wiring.world import World


def tell(**facts: object) -> None:
    """Print one line."""
    os.write(1, json.dumps(facts).encode() + b"\n")


def size() -> None:
    """Print what could leak: octets of memory, as it stands and trimmed, tasks, descriptors."""
    as_it_stands = resident()
    gc.collect()
    with suppress(AttributeError):  # musl has none
        ctypes.CDLL(None).malloc_trim(0)
    tell(
        untrimmed=as_it_stands,
        octets=resident(),
        tasks=len(asyncio.all_tasks()),
        descriptors=len(list(Path("/proc/self/fd").iterdir())) - 1,
    )


def resident() -> int:
    """Return the octets of memory that the process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def loaded_from(config: Path) -> Loaded:
    """Return the settings in a file."""
    read = World().read
    now = datetime.now(UTC)
    return load(read(config), read_file=lambda file: read(Path(file)), now=now)


async def main(loaded: Loaded, config: Path) -> int:
    """Serve; everything but the size is what ``serve --config`` does."""
    log = Log(sys.stderr, level=loaded.settings.logging.level, form="json")
    log.take_over()
    parts = Parts(settings=loaded.settings, world=World(), log=log, metrics=Metrics())
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, size)

    def ready(addresses: Addresses) -> None:
        tell(api=addresses.api.port, management=addresses.management.port)

    return await serve(parts, config, ready=ready)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    sys.exit(run_process(lambda: main(loaded_from(file), file)))
