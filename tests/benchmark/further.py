"""What the report tells besides the goals and the forms: shapes of load, rates, and the rest."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tests.benchmark.figures import Data, Row, added, figure, grown, opened, told
from tests.benchmark.goals import after_burst
from tests.benchmark.table import ALL


def loads(data: Data) -> Iterator[str]:
    """Yield CPU a request by shape of load: what is cheap in a full batch may be dear alone."""
    shapes: dict[str, tuple[str, Mapping[str, Any]]] = {
        "1 in flight": ("in_flight", {"in_flight": 1}),
        "64": ("forms", {"in_flight": 64}),
        "512": ("in_flight", {"in_flight": 512}),
        "200/s": ("open_loop", {"rate": 200}),
        "1,000/s": ("open_loop", {"rate": 1000}),
    }
    rows = []
    for name in ALL:
        cells = [
            told(figure(data, probe, "cpu_us", form=name, **where))
            for probe, where in shapes.values()
        ]
        if any(cells[:1] + cells[2:]):
            rows.append(f"| {ALL[name].label} | {' | '.join(cells)} |")
    if rows:
        yield f"| CPU us/request | {' | '.join(shapes)} |"
        yield f"|---|{'--:|' * len(shapes)}"
        yield from rows


def rates(data: Data) -> Iterator[str]:
    rows = data.get("open_loop", ())
    if not rows:
        return
    yield (
        "| fixed rate, Gigya takes 50 ms | p50 ms | spread | p99 ms | spread | achieved/s "
        "| failed | unanswered |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for rate in sorted({row["rate"] for row in rows}):
        for name in dict.fromkeys(row["form"] for row in rows if row["rate"] == rate):
            yield f"| {rate:,}/s: {name} | {_rate(data, name, rate)} |"


def _rate(data: Data, name: str, rate: int) -> str:
    rows = opened(data, name, rate)
    cells = []
    for what in ("p50_ms", "p99_ms"):
        is_direct = name == "direct"
        found = (
            figure(data, "open_loop", what, form=name, rate=rate)
            if is_direct
            else added(data, what, name, rate)
        )
        sign = "" if is_direct or found is None else "+"
        cells += [sign + told(found), "" if found is None else found.spread]
    achieved = told(figure(data, "open_loop", "achieved", form=name, rate=rate))
    counts = (sum(row.get(what, 0) for row in rows) for what in ("failed", "unanswered"))
    return " | ".join([*cells, achieved, *(f"{count:,}" for count in counts)])


def others(data: Data) -> Iterator[str]:
    yield "| also | |"
    yield "|---|---|"
    control = after_burst(data, "textbook")
    if control is not None:
        yield (
            "| control: textbook at concurrency 1, after a burst / before (above 1, or the measure "
            f"shows nothing) | {control.told}, {control.spread} |"
        )
    for requests in sorted(
        {row["requests"] for row in data.get("memory", ()) if row.keys() == RESIDENT}
    ):
        found = figure(data, "memory", "megabytes", requests=requests)
        if found is not None:
            rounds = "one run" if found.rounds == 1 else f"{found.rounds} runs, {found.spread}"
            yield f"| memory after {requests:,} requests | {found.median:.1f} MB ({rounds}) |"
    yield from _strangers(data)
    yield from _processes(data)
    handshake = figure(data, "forms", "handshake_us", form="product-mtls")
    if handshake is not None:
        text = f"{handshake.told} us, {handshake.spread}"
        yield f"| handshake of mutual TLS, CPU of the server | {text} |"
    if data.get("start"):
        wall, busy = (figure(data, "start", what) for what in ("seconds", "cpu_seconds"))
        yield f"| start to ready | {told(wall)} s, {told(busy)} s of CPU |"
    for row in data.get("goodput", ()):
        yield from _goodput(row)
    yield from _audit(data.get("audit", ()))


RESIDENT: Final = frozenset({"round", "requests", "megabytes"})
"""What a row has that tells of the same users all the time."""


def _strangers(data: Data) -> Iterator[str]:
    """Tell what a user costs whom a caller's limit of different users has to remember."""
    rows = [row for row in data.get("memory", ()) if "strangers" in row]
    if not rows:
        return
    many, total = rows[0]["strangers"], rows[0]["requests"]
    found = grown(data, total - many, total)
    if found is not None:
        octets = found.median * 2**20 / many
        yield f"| memory for each further user in an hour | {octets:,.0f} octets |"


def _processes(data: Data) -> Iterator[str]:
    labels = {1: "one process", 2: "two processes, a core each, loads and Gigya beside them"}
    for processes, label in labels.items():
        used = figure(data, "replicas", "cpu_us", processes=processes)
        if used is not None:
            yield f"| CPU a request: {label} | {used.told} us, {used.spread} |"


def _goodput(row: Row) -> Iterator[str]:
    peak, twice = row["peak"], row["at_twice"]
    yield f"| capacity: 99 of 100 within a second (one run) | {row['capacity']:,}/s |"
    yield (
        f"| goodput at the peak, and at twice capacity ({twice['rate']:,}/s) "
        f"| {peak['goodput']:,}/s, {twice['goodput']:,}/s: {row['ratio_by_time']:.2f} |"
    )
    yield (
        "| the same for a second of the service's CPU (it had "
        f"{twice['cpu']:.0%} of a core) | {row['ratio_by_cpu']:.2f} |"
    )


def _audit(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        if "durability" in row:
            yield (
                f"| a record, durability {row['durability']}, {row['at_once']} at once "
                f"| {row['cpu_us']:.0f} us of CPU, p50 {row['p50_us'] / 1000:.2f} ms, "
                f"p99 {row['p99_us'] / 1000:.2f} ms |"
            )
        else:
            yield (
                f"| `audit {row['command']}` per GB, from {row['megabytes']} MB "
                f"| {row['cpu_seconds_per_gb']:.1f} s of CPU, {row['peak_memory_mb']:.0f} MB |"
            )
