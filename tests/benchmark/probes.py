"""What else is measured of the product: load shapes, memory, start, growth of cost, the audit."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from tests.benchmark.material import Material
from tests.benchmark.processes import (
    ROOT,
    SERVER,
    asked,
    cpu,
    free_port,
    memory,
    module,
    pinned,
    wait_for,
)
from tests.benchmark.rounds import Started, loaded, say, started, upstream
from tests.benchmark.table import ALL, LeftOut

Rows = list[dict[str, Any]]
DELAY: Final = 0.05
"""Seconds that Gigya takes in open-loop load."""
RATES: Final = (200, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of each is done; seconds of one load, and numbers of requests."""

    rounds: int
    seconds: float
    memory: tuple[int, int]
    megabytes: int


def in_flight(material: Material, size: Size) -> Rows:
    """Compare 64 with 512 requests in flight."""
    rows = []
    with upstream(material) as gigya, started(ALL["product"], material, gigya) as server:
        loaded(server, material, connections=512, seconds=1)
        for number in range(1, size.rounds + 1):
            for connections in (64, 512):
                row = loaded(server, material, connections=connections, seconds=size.seconds)
                rows.append({"round": number, **row})
    return rows


def open_loop(material: Material, size: Size) -> Rows:
    """Compare forms with the direct call at fixed rates, Gigya taking 50 ms."""
    rows = []
    with ExitStack() as stack:
        gigya = stack.enter_context(upstream(material, delay=DELAY))
        servers = {}
        for name in ("product", "textbook", "go", "nginx"):
            try:
                servers[name] = stack.enter_context(started(ALL[name], material, gigya))
            except LeftOut as why:
                say(f"LEFT OUT: {name}: {why}")
        for number in range(1, size.rounds + 1):
            for rate in RATES:
                for name in ("direct", *servers):
                    if (name, rate) == ("textbook", 1000):
                        continue  # it collapses at 200 already
                    row = _opened(servers.get(name), material, gigya, rate, size.seconds)
                    say(f"open loop, {rate}/s: {name:9} p50 {row['p50_ms']:.2f} ms")
                    rows.append({"round": number, "form": name, "rate": rate, **row})
    return rows


def _opened(
    server: Started | None, material: Material, gigya: int, rate: int, seconds: float
) -> dict[str, Any]:
    port = gigya if server is None else server.port
    requests = "direct.json" if server is None else server.form.requests
    options = ["--ca-file", material["ca.pem"]] if server is None else []
    return asked(
        "tests.benchmark.open_loop",
        *(port, material[requests], "--rate", rate, "--seconds", max(4.0, seconds), *options),
    )


def growth(material: Material, size: Size) -> Rows:
    """Return resident memory after so many requests."""
    rows, done = [], 0
    with upstream(material) as gigya, started(ALL["product"], material, gigya) as server:
        rows.append({"requests": 0, "megabytes": memory(server.pid)})
        for target in size.memory:
            loaded(server, material, seconds=3600, most=target - done)
            done = target
            rows.append({"requests": done, "megabytes": memory(server.pid)})
            say(f"memory after {done} requests: {rows[-1]['megabytes']:.1f} MB")
    return rows


def burst(material: Material, size: Size) -> Rows:
    """Return CPU at concurrency 1 before and after a burst of 256."""
    rows = []
    with upstream(material) as gigya, started(ALL["product"], material, gigya) as server:
        loaded(server, material, connections=64, seconds=1)
        for number in range(1, size.rounds + 1):
            # A fresh way out for each round: what a burst leaves behind is what is looked for.
            before = loaded(server, material, connections=1, seconds=size.seconds)
            loaded(server, material, connections=256, seconds=1)
            after = loaded(server, material, connections=1, seconds=size.seconds)
            rows += [
                {"round": number, "when": "before", **before},
                {"round": number, "when": "after", **after},
            ]
    return rows


def replicas(material: Material, size: Size) -> Rows:
    """Compare two processes with one, the load divided between them; both cores are in use."""
    rows = []
    with ExitStack() as stack:
        gigya = stack.enter_context(upstream(material))
        one = stack.enter_context(started(ALL["product"], material, gigya, core=SERVER))
        two = stack.enter_context(started(ALL["product"], material, gigya, core=SERVER))
        for each in (one, two):
            loaded(each, material, seconds=1)
        for number in range(1, size.rounds + 1):
            rows.append(
                {"round": number, "processes": 1, **loaded(one, material, seconds=size.seconds)}
            )
            rows.append({"round": number, "processes": 2, **_both(one, two, material, size)})
    return rows


def _both(one: Started, two: Started, material: Material, size: Size) -> dict[str, Any]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # only here

    with ThreadPoolExecutor(2) as pool:
        halves = list(
            pool.map(
                lambda server: loaded(server, material, connections=32, seconds=size.seconds),
                (one, two),
            )
        )
    answered = sum(half["answered"] for half in halves)
    used = sum(half["cpu_us"] * half["answered"] for half in halves)
    return {
        "answered": answered,
        "failed": sum(half["failed"] for half in halves),
        "a_second": sum(half["a_second"] for half in halves),
        "cpu_us": round(used / max(1, answered), 1),
    }


def start(material: Material, size: Size) -> Rows:
    """Return seconds from the start of the process to readiness, and the CPU of that."""
    rows = []
    for number in range(1, size.rounds + 1):
        port = free_port()
        command = list(ALL["product"].command(material, port, 1))
        settings = json.loads((material.directory / f"product-{port}.yaml").read_text())
        management = settings["listeners"]["management"]["port"]
        began = time.monotonic()
        process = pinned(SERVER, command)
        try:
            wait_for(management)
            while not _is_ready(management):
                time.sleep(0.005)
            rows.append(
                {
                    "round": number,
                    "seconds": round(time.monotonic() - began, 3),
                    "cpu_seconds": cpu(process.pid),
                }
            )
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


def audit(_: Material, size: Size) -> Rows:
    """Return what reading a gigabyte of the audit costs."""
    line = [sys.executable, "-m", "tests.benchmark.audit_speed", "--records", "1280"]
    line += ["--rounds", "1", "--megabytes", str(size.megabytes)]
    done = subprocess.run(line, stdout=subprocess.PIPE, check=True, cwd=ROOT)  # noqa: S603  # ours
    rows: Rows = json.loads(done.stdout)["reading"]
    return rows


def goodput(_: Material, size: Size) -> Rows:
    """Return what is left at twice the capacity (``tests.resilience.overload``)."""
    del size
    line = module("tests.resilience.overload")
    done = subprocess.run(line, stdout=subprocess.PIPE, check=False, cwd=ROOT)  # noqa: S603  # ours
    return [json.loads(done.stdout)]


PROBES: Final[Mapping[str, Callable[[Material, Size], Rows]]] = {
    "in_flight": in_flight,
    "burst": burst,
    "open_loop": open_loop,
    "replicas": replicas,
    "start": start,
    "memory": growth,
    "audit": audit,
    "goodput": goodput,
}
