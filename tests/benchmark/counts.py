"""``python -m tests.benchmark.counts``: how many calls a release takes, and where they are made.

CPU follows them: Python spends its time on calls. Unlike CPU they come out alike on any machine,
however busy: to 1 in 50, for what is done for several requests at once depends on how many there
are. So a change can be judged by them while it is made.
"""

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Final

from tests.benchmark.material import Material
from tests.benchmark.processes import module
from tests.benchmark.rounds import loaded, started, upstream
from tests.benchmark.table import ALL

WARMING: Final = 500
REQUESTS: Final = 1000
PATIENCE: Final = 60.0
"""Seconds that writing what was counted may take."""
ROWS: Final = 40

LIBRARY: Final = re.compile(r".*/(?:site-packages|python3\.\d+)/")
OURS: Final = re.compile(r".*/(?=service/)")


def counted(name: str, directory: Path, *, requests: int = REQUESTS) -> dict[str, float]:
    """Return how many calls one request to a form of the product takes, by the file they are in.

    The calls are those of the event loop's thread, with 64 requests in flight.
    """
    material = Material(directory=directory)
    material.write()
    counts = directory / "counts.json"
    form = ALL[name]

    def command(material: Material, port: int, upstream: int) -> Sequence[str]:
        line = form.command(material, port, upstream)
        return module("tests.benchmark.counting", counts, *line[line.index("serve") :])

    counting = replace(form, command=command)
    with (
        upstream(material, core=None) as gigya,
        started(counting, material, gigya, core=None) as server,
    ):
        loaded(server, material, seconds=PATIENCE, most=WARMING, core=None)
        os.kill(server.pid, signal.SIGUSR1)
        loaded(server, material, seconds=PATIENCE, most=requests, core=None)
        os.kill(server.pid, signal.SIGUSR2)
        made = _written(counts)
    return {file: calls / requests for file, calls in made.items()}


def _written(file: Path) -> dict[str, int]:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            made: dict[str, int] = json.loads(file.read_text("utf-8"))
        except (OSError, json.JSONDecodeError):
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return made


def told(counts: Mapping[str, float], rows: int = ROWS) -> str:
    """Return the calls by file as a table, most first, below their sum."""
    most = sorted(counts.items(), key=itemgetter(1), reverse=True)[:rows]
    lines = [f"{calls:8.1f}  {OURS.sub('', LIBRARY.sub('', file))}" for file, calls in most]
    return "\n".join([f"{sum(counts.values()):8.1f}  calls a request, of which", *lines])


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    products = [name for name in ALL if name.startswith("product")]
    parser.add_argument("form", nargs="?", default="product", choices=products)
    form = parser.parse_args().form
    print(f"Counting the calls of {REQUESTS} requests.", file=sys.stderr)
    with tempfile.TemporaryDirectory() as directory:
        print(told(counted(form, Path(directory))))


if __name__ == "__main__":
    main()
