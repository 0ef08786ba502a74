"""Shapes of load: one at a time and many, a burst, fixed rates, two processes."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from tests.benchmark.material import Material
from tests.benchmark.processes import OTHERS, SERVER, Failed, asked
from tests.benchmark.quiet import noise
from tests.benchmark.rounds import Started, loaded, say, started, upstream, warmed
from tests.benchmark.size import Size
from tests.benchmark.table import ALL, LeftOut

Rows = list[dict[str, Any]]

DELAY: Final = 0.05
"""Seconds that Gigya takes in open-loop load."""
OPENED: Final = ("product", "textbook", "go", "nginx")
COLLAPSED: Final = ("textbook", 1000)
"""Not tried: at 200 a second it is full already."""
AT_ONCE: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {"product": (1, 64, 512), "textbook": (1,), "passthrough": (1,), "go": (1,)}
)
BURST: Final = 256
CROWD: Final = 8
"""Requests at once from which on Gigya takes its time, so that a burst needs a connection each."""
CONTROLLED: Final = ("product", "textbook")
"""The second is known to be slower after a burst: where it is not, the measure is broken."""


def _started(
    stack: ExitStack, names: tuple[str, ...], material: Material, gigya: int
) -> dict[str, Started]:
    servers: dict[str, Started] = {}
    for name in names:
        try:
            servers[name] = stack.enter_context(started(ALL[name], material, gigya))
        except (LeftOut, Failed) as why:
            say(f"LEFT OUT: {name}: {why}")
    return servers


def _row(measure: Callable[[], dict[str, Any]], **about: Any) -> dict[str, Any]:
    """Return what ``measure`` finds; where it fails, that and why. The rest goes on."""
    try:
        return {**about, **measure()}
    except Failed as why:
        say(f"FAILED: {why}")
        return {**about, "failure": str(why)}


def in_flight(material: Material, size: Size) -> Rows:
    """Compare one request in flight with 64 and 512."""
    rows: Rows = []
    with ExitStack() as stack:
        gigya = stack.enter_context(upstream(material))
        servers = _started(stack, tuple(AT_ONCE), material, gigya)
        for name, server in servers.items():
            warmed(server, material, connections=max(AT_ONCE[name]))
        for number in range(1, size.rounds + 1):
            for name, server in servers.items():
                for connections in AT_ONCE[name]:
                    measure = partial(
                        loaded, server, material, connections=connections, seconds=size.seconds
                    )
                    about = {"round": number, "form": name, "in_flight": connections}
                    row = _row(partial(size.patience.quietest, measure), **about)
                    told = f"{row['cpu_us']:.0f} us" if "cpu_us" in row else "failed"
                    say(f"round {number}: {name}, {connections} in flight: {told}")
                    rows.append(row)
    return rows


def burst(material: Material, size: Size) -> Rows:
    """Return CPU at concurrency 1 before and after a burst, in new processes each round.

    Nothing but one request at a time comes before ``before``: a pool or an arena that has once
    grown does not shrink, so that a process has only one burst that shows.
    """
    rows: Rows = []
    for number in range(1, size.rounds + 1):
        for name in CONTROLLED:
            try:
                before, after = _burst(name, material, size)
            except (LeftOut, Failed) as why:
                say(f"FAILED: {name}: {why}")
                rows.append({"round": number, "form": name, "failure": str(why)})
                continue
            say(f"round {number}: {name}: {before['cpu_us']:.0f}, then {after['cpu_us']:.0f} us")
            rows += [
                {"round": number, "when": "before", **before},
                {"round": number, "when": "after", **after},
            ]
    return rows


def _burst(name: str, material: Material, size: Size) -> tuple[dict[str, Any], dict[str, Any]]:
    # A Gigya that answers a burst at once is asked over few connections: the pool would not grow.
    with (
        upstream(material, delay=DELAY, crowd=CROWD) as gigya,
        started(ALL[name], material, gigya) as server,
    ):
        alone = partial(loaded, server, material, connections=1, seconds=size.seconds)
        loaded(server, material, connections=1, seconds=1)
        before = size.patience.quietest(alone)
        loaded(server, material, connections=BURST, seconds=60, most=2 * BURST)
        return before, size.patience.quietest(alone)


def open_loop(material: Material, size: Size) -> Rows:
    """Compare forms with the direct call at fixed rates, Gigya taking 50 ms."""
    rows: Rows = []
    with ExitStack() as stack:
        gigya = stack.enter_context(upstream(material, delay=DELAY))
        servers = {"direct": None, **_started(stack, OPENED, material, gigya)}
        for number in range(1, size.rounds + 1):
            for rate, seconds in size.rates.items():
                for name, server in servers.items():
                    if (name, rate) != COLLAPSED:
                        measure = partial(_opened, server, material, gigya, rate, seconds)
                        about = {"round": number, "form": name, "rate": rate}
                        row = _row(partial(size.patience.quietest, measure), **about)
                        say(f"round {number}: {name}, {_told(row)}")
                        rows.append(row)
    return rows


def _opened(
    server: Started | None, material: Material, gigya: int, rate: int, seconds: float
) -> dict[str, Any]:
    port, requests, options = gigya, "direct.json", ["--ca-file", material["ca.pem"]]
    if server is not None:
        port, requests = server.port, server.form.requests
        options = ["--server", str(server.pid)]
    row = asked(
        "tests.benchmark.open_loop",
        *(port, material[requests], "--rate", rate, "--seconds", seconds, *options),
    )
    used = row.pop("cpu_seconds")
    row.pop("seconds")
    if server is not None and row["answered"]:
        row["cpu_us"] = round(used / row["answered"] * 1e6, 1)
    return {"rate": rate, **row}


def _told(row: Mapping[str, Any]) -> str:
    if "failure" in row:
        return f"{row['rate']}/s: failed"
    lost = row["failed"] + row["unanswered"]
    p50 = "no p50" if row["p50_ms"] is None else f"p50 {row['p50_ms']:.2f} ms"
    share = f"others: {100 * noise(row):.0f} % of a core"
    return f"{row['rate']}/s: {row['achieved']:.0f}/s achieved, {p50}, {lost} lost  ({share})"


def replicas(material: Material, size: Size) -> Rows:
    """Compare two processes, a core for each, with one, the load divided between them.

    Loads and Gigya run beside them, on the same two cores: CPU a request can be compared, to see
    that processes do not cost each other anything; requests a second cannot.
    """
    rows: Rows = []
    with ExitStack() as stack:
        gigya = stack.enter_context(upstream(material))
        pair = [
            stack.enter_context(started(ALL["product"], material, gigya, core=core))
            for core in (SERVER, OTHERS)
        ]
        for each in pair:
            warmed(each, material)
        for number in range(1, size.rounds + 1):
            measure = partial(loaded, pair[0], material, seconds=size.seconds)
            rows.append({"round": number, "processes": 1, **size.patience.quietest(measure)})
            rows.append({"round": number, "processes": 2, **_both(pair, material, size)})
    return rows


def _both(pair: list[Started], material: Material, size: Size) -> dict[str, Any]:
    half = partial(loaded, material=material, connections=32, seconds=size.seconds)
    with ThreadPoolExecutor(2) as pool:
        # Each load on the other's core, so that both servers share theirs with one load.
        first = pool.submit(half, pair[0], core=OTHERS)
        second = pool.submit(half, pair[1], core=SERVER)
        halves = [first.result(), second.result()]
    answered = sum(row["answered"] for row in halves)
    used = sum(row["cpu_us"] * row["answered"] for row in halves)
    return {"answered": answered, "cpu_us": round(used / answered, 1)}
