"""The audit alone: what a record costs, disk against os durability, and reading by the gigabyte.

``python -m tests.benchmark.audit_speed`` takes about a minute; progress goes to standard error.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvloop

from service.audit.assembly import SinkOptions, assemble
from service.audit.chain import link
from service.audit.fingerprints import new_key
from service.audit.record import canonical, describe
from service.audit.surroundings import Surroundings, Unobserved
from service.deadline import Clock
from service.live import Live
from service.model import Exchange
from tests.audit.fakes import KEY, KEYS, about_to_release
from tests.virtual_time import EPOCH

AT_ONCE: Final = (1, 64, 512)
DURABILITIES: Final = ("os", "disk")


async def records(directory: Path, durability: str, at_once: int, count: int) -> dict[str, float]:
    """Release ``count`` times, ``at_once`` at a time; return microseconds."""
    around = Surroundings(
        keys=Live(KEYS),
        clock=Clock(wall=time.time, monotonic=time.monotonic),
        random=os.urandom,
        build="benchmark",
        boot=os.urandom(8).hex(),
        config_hash=Live("c0ffee"),
    )
    options = SinkOptions(
        name="file",
        type="file",
        path=str(directory / f"{durability}-{at_once}.jsonl"),
        deadline=10,
        disk_deadline=10,
        durability="disk" if durability == "disk" else "os",
    )
    journal = assemble([options], around, observer=Unobserved(), accept="any")
    await journal.start()
    waits: list[float] = []

    async def release() -> None:
        for _ in range(count // at_once):
            entry = about_to_release(journal.open(route="/v1/provider-tokens", method="POST"))
            entry.exchange = Exchange(error_code=0, call_id="c" * 32, attempts=1)
            begun = time.perf_counter()
            await entry.commit()
            waits.append(time.perf_counter() - begun)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(release() for _ in range(at_once)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await journal.close()
    waits.sort()
    return {
        "cpu_us": cpu / len(waits) * 1e6,
        "wall_us": wall / len(waits) * 1e6,
        "p50_us": waits[len(waits) // 2] * 1e6,
        "p99_us": waits[int(len(waits) * 0.99)] * 1e6,
    }


def rounds(directory: Path, count: int, times: int) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield each measurement, the forms interleaved."""
    for number in range(times):
        for at_once in AT_ONCE:
            for durability in DURABILITIES:
                say(f"round {number + 1} of {times}: {durability}, {at_once} at once")
                size = count if at_once > 1 else count // 10
                yield durability, at_once, uvloop.run(records(directory, durability, at_once, size))


def medians(measured: list[tuple[str, int, dict[str, float]]]) -> list[dict[str, Any]]:
    """Return one row for each form."""
    rows = []
    for at_once in AT_ONCE:
        for durability in DURABILITIES:
            mine = [row for d, a, row in measured if (d, a) == (durability, at_once)]
            middle = {name: statistics.median(row[name] for row in mine) for name in mine[0]}
            rows.append({"durability": durability, "at_once": at_once, **middle})
    return rows


def write_log(path: Path, octets: int) -> None:
    """Write a genuine chain of that size."""
    around = Surroundings(
        keys=Live(KEYS),
        clock=Clock(wall=lambda: EPOCH, monotonic=lambda: 0.0),
        random=os.urandom,
        build="benchmark",
        boot="0" * 16,
        config_hash=Live("c0ffee"),
    )
    journal = assemble([], around, observer=Unobserved(), accept="any")
    entry = about_to_release(journal.open(route="/v1/provider-tokens", method="POST"))
    entry.exchange = Exchange(error_code=0, call_id="c" * 32, attempts=1)
    body = canonical(describe(entry, KEY, now=EPOCH, monotonic=0.1))
    chain, sequence, key = b"0" * 16, 1, KEYS.newest
    line, digest = link(sequence, b"", chain, b'{"kind":"open","why":"start"}', key)
    with path.open("wb") as file:
        while file.tell() < octets:
            file.write(line)
            sequence += 1
            line, digest = link(sequence, digest, chain, body, key)


READER: Final = """
import argparse, re, sys, time
from pathlib import Path
from service.cli import audit
parser = argparse.ArgumentParser()
audit.add_parser(parser.add_subparsers())
args = parser.parse_args(sys.argv[1:])
begun = time.process_time()
args.run(args)
peak = re.search("VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]
print(time.process_time() - begun, peak, file=sys.stderr)
"""


def reading(directory: Path, command: str, megabytes: int) -> dict[str, Any]:
    """Return CPU seconds per GB and the most memory in MB."""
    log, key = directory / f"{megabytes}.jsonl", directory / "key"
    key.write_bytes(new_key(lambda count: bytes(range(count))))
    if not log.exists():
        write_log(log, megabytes * 1_000_000)
    say(f"{command} over {megabytes} MB")
    options = ["audit", command, "--key-file", str(key), str(log)]
    done = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-c", READER, *options],
        input=b"no-such-token\n",
        capture_output=True,
        check=True,
    )
    seconds, kilobytes = done.stderr.split()[-2:]  # the command may have said something
    size = log.stat().st_size / 1e9
    return {
        "command": command,
        "megabytes": megabytes,
        "cpu_seconds_per_gb": float(seconds) / size,
        "peak_memory_mb": int(kilobytes) / 1024,
    }


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, file=sys.stderr)  # progress


def main() -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=12_800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 250])
    parser.add_argument("--directory", type=Path, help="where the files are; a real disk")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.directory) as name:
        directory = Path(name)
        rows = medians(list(rounds(directory, args.records, args.rounds)))
        sizes = [(c, m) for m in args.megabytes for c in ("verify", "who-got")]
        read = [reading(directory, command, megabytes) for command, megabytes in sizes]
    wall = {(row["durability"], row["at_once"]): row["wall_us"] for row in rows}
    result = {
        "records": rows,
        "disk_throughput_of_os": {n: wall["os", n] / wall["disk", n] for n in AT_ONCE},
        "reading": read,
    }
    print(json.dumps(result, indent=1))  # the result


if __name__ == "__main__":
    main()
