"""A process that releases as fast as it can, to be killed: python -m tests.audit.under_load DIR.

It prints the audit id of each release after its commit has returned, as a caller would have got
its token.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from service.audit.assembly import SinkOptions, assemble
from service.audit.surroundings import Surroundings, Unobserved
from service.deadline import Clock
from service.live import Live
from tests.audit.fakes import KEYS, about_to_release

AT_ONCE = 16


async def main(directory: Path, durability: str) -> None:
    """Release until killed."""
    around = Surroundings(
        keys=Live(KEYS),
        clock=Clock(wall=time.time, monotonic=time.monotonic),
        random=os.urandom,
        build="load",
        boot=os.urandom(8).hex(),
        config_hash=Live("c0ffee"),
    )
    options = SinkOptions(
        name="file",
        type="file",
        path=str(directory / "audit.jsonl"),
        deadline=5.0,
        durability="disk" if durability == "disk" else "os",
        disk_deadline=10.0,
        rotate_bytes=200_000,
    )
    journal = assemble([options], around, observer=Unobserved(), accept="any")
    await journal.start()

    async def release() -> None:
        while True:
            entry = about_to_release(journal.open(route="/v1/provider-tokens"))
            await entry.commit()
            os.write(1, entry.audit_id.encode() + b"\n")

    await asyncio.gather(*(release() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
