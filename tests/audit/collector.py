"""A collector of records on a unix socket, which can go away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

PATIENCE: Final = 20.0
"""Seconds in which a record must come."""

Heard = Callable[[str], Awaitable[None]]


@asynccontextmanager
async def collector(path: Path) -> AsyncIterator[Heard]:
    """Listen on a socket; what is yielded waits until an audit id was heard."""
    text, writers = bytearray(), []
    more = asyncio.Condition()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while octets := await reader.read(1 << 16):
            async with more:
                text.extend(octets)
                more.notify_all()

    async def heard(audit_id: str) -> None:
        async with asyncio.timeout(PATIENCE), more:
            await more.wait_for(lambda: audit_id.encode() in text)

    server = await asyncio.start_unix_server(listen, path)
    try:
        yield heard
    finally:
        server.close()
        for writer in writers:
            writer.close()
        clear(path)


def clear(path: Path) -> None:
    """Make room for the next collector: newer Pythons take the socket away themselves."""
    path.unlink(missing_ok=True)
