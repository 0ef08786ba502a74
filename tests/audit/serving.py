"""The real command ``serve`` in a process, for tests that take its streams away or kill it."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.resilience.place import PATIENCE, Place

ROOT: Final = Path(__file__).parents[2]


@asynccontextmanager
async def served(place: Place, config: Path, *, stdout: int = DEVNULL) -> AsyncIterator[Process]:
    """Run ``serve`` at ``place`` for as long as the block lasts, unless it is killed before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "serve", "--config", str(config),
        stdout=stdout, stderr=PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    is_up = asyncio.Event()
    listening = asyncio.ensure_future(_listen(process, place, is_up))
    try:
        async with asyncio.timeout(PATIENCE):
            await is_up.wait()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


async def _listen(process: Process, place: Place, is_up: asyncio.Event) -> None:
    """Learn the ports from the log, and let nothing that is logged stay in the pipe."""
    assert process.stderr is not None
    async for line in process.stderr:
        if b'"listening"' in line:
            said = json.loads(line)
            names = ("api", "management")
            place.ports = {name: int(said[name].rpartition(":")[2]) for name in names}
            is_up.set()
