"""What else is measured of the product: its memory, its start, its audit, what is left of it."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from tests.benchmark.material import Material
from tests.benchmark.processes import (
    BOTH,
    SERVER,
    Failed,
    asked,
    cpu,
    free_port,
    memory,
    pinned,
    tail,
    wait_for,
)
from tests.benchmark.rounds import loaded, say, started, upstream
from tests.benchmark.shapes import Rows, burst, in_flight, open_loop, replicas
from tests.benchmark.size import Size
from tests.benchmark.table import ALL

AUDITED: Final = 1_280
"""Releases that are committed to measure a record."""


def growth(material: Material, size: Size) -> Rows:
    """Return resident memory after so many requests for ``USERS``, and after as many strangers."""
    rows: Rows = []
    for number in range(1, size.rounds + 1):
        try:
            for row in _grown(material, size):
                rows.append({"round": number, **row})
                say(f"round {number}: after {row['requests']} requests {row['megabytes']:.1f} MB")
        except Failed as why:  # the rows before it stand
            say(f"FAILED: {why}")
            rows.append({"round": number, "form": "product", "failure": str(why)})
    return rows


USERS: Final = 1_000
"""Users that are asked for in turn: what grows with requests then is no memory of users."""


def _grown(material: Material, size: Size) -> Iterator[dict[str, float]]:
    with upstream(material) as gigya, started(ALL["product"], material, gigya) as server:
        ask = partial(loaded, server, material, seconds=3600)
        for done, target in pairwise((0, 0, *size.memory)):
            if target > done:
                ask(most=target - done, first_user=0, users=USERS)
            yield {"requests": target, "megabytes": memory(server.pid)}
        strangers = size.memory[0]
        ask(most=strangers, first_user=USERS)
        total = target + strangers
        yield {"requests": total, "strangers": strangers, "megabytes": memory(server.pid)}


def start(material: Material, size: Size) -> Rows:
    """Return seconds from the start of the process to readiness, and the CPU of that."""
    rows: Rows = []
    log = material.directory / "start.log"
    for number in range(1, size.rounds + 1):
        port = free_port()
        command = list(ALL["product"].command(material, port, 1))
        settings = json.loads((material.directory / f"product-{port}.yaml").read_text())
        management = settings["listeners"]["management"]["port"]
        began = time.monotonic()
        process = pinned(SERVER, command, log)
        try:
            wait_for(management, process)
            while not _is_ready(management):
                time.sleep(0.005)
            seconds = round(time.monotonic() - began, 3)
            rows.append({"round": number, "seconds": seconds, "cpu_seconds": cpu(process.pid)})
        except OSError:
            raise Failed(f"the product does not start; {tail(log)}") from None
        finally:
            process.terminate()
            process.wait()
    return rows


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def audit(material: Material, size: Size) -> Rows:
    """Return what a record costs, by durability, and what reading a gigabyte of records costs."""
    options = ("--directory", material.directory, "--records", AUDITED, "--rounds", size.rounds)
    found = asked(
        "tests.benchmark.audit_speed", *options, "--megabytes", size.megabytes, tells=True
    )
    return [*found["records"], *found["reading"]]


def goodput(_: Material, size: Size) -> Rows:
    """Return what is left at twice the capacity (``tests.resilience.overload``), of one run."""
    del size
    say("goodput: takes two minutes")
    return [asked("tests.resilience.overload", core=BOTH)]


PROBES: Final[Mapping[str, Callable[[Material, Size], Rows]]] = MappingProxyType(
    {
        "in_flight": in_flight,
        "burst": burst,
        "open_loop": open_loop,
        "replicas": replicas,
        "start": start,
        "memory": growth,
        "audit": audit,
        "goodput": goodput,
    }
)
