"""The report in Markdown, drawn from the raw rounds and from nothing else."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tests.benchmark.figures import (
    Data,
    Figure,
    Row,
    added,
    by_form,
    figure,
    forms,
    opened,
)
from tests.benchmark.goals import GOALS, Goal, after_burst, missed
from tests.benchmark.processes import OTHERS, SERVER
from tests.benchmark.quiet import DISTURBED, noise
from tests.benchmark.table import ALL

NOTE: Final = (
    "Everything on: JWT of a service account, grants and candidates, limits, audit to a file with "
    "`durability: os`, metrics, canonical log, `user_key_signed` to Gigya. Tracing needs an extra "
    "and is a row of its own, at its default share. The Go program verifies, asks, opens, renames, "
    "logs and counts; it has no chained audit, fingerprints, limits, deadlines or exposition of "
    "metrics. Envoy does not open, nginx only relays."
)

MANY: Final = 0.2
"""The share of disturbed rows from which on the machine was not ours."""
LOUD: Final = "Others disturbed this run: no figure of it is to be published."


def table(data: Data) -> str:
    """Return the whole report."""
    parts = (
        _where(data),
        _missed(data),
        _goals(data),
        _forms(data),
        [NOTE] if data["forms"] else [],
        _loads(data),
        _rates(data),
        _others(data),
    )
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


def _where(data: Data) -> Iterator[str]:
    machine = data["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    yield (
        f"Measured {data['date']} by `{data.get('command', '?')}`: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['python']}; {versions}. {_quiet(data)}"
    )


def _quiet(data: Data) -> str:
    """Return how far the machine was ours."""
    load = f"Load average at the start {data['machine'].get('load', math.nan):.2f}"
    rows = [row for part in data.values() if isinstance(part, list) for row in part]
    rows = [row for row in rows if "others" in row and "tries" in row]
    if not rows:
        return f"{load}; what others took of the cores was not measured."
    worst = Figure.of(map(noise, rows))
    assert worst is not None
    disturbed = sum(noise(row) > DISTURBED for row in rows)
    again = sum(row["tries"] > 1 for row in rows)
    told = (
        f"{load}. What others took of core {SERVER} or {OTHERS} while a row was measured: median "
        f"{worst.median:.0%}, at most {worst.most:.0%}; of {len(rows)} rows {again} were measured "
        f"once more, and {disturbed} kept in which others took more than {DISTURBED:.0%}."
    )
    return told if disturbed <= MANY * len(rows) else f"{told} **{LOUD}**"


def _missed(data: Data) -> Iterator[str]:
    """Yield the sentence that goes before all figures."""
    found = [
        f"{goal.name} ({_number(value.median)}, {goal.sign} {goal.must:g} asked)"
        for goal, value in missed(data)
    ]
    yield f"**Missed: {'; '.join(found)}.**" if found else "No must that was measured is missed."
    unknown = [goal.name for goal in GOALS if goal.value(data) is None]
    if unknown:
        yield f"Not measured: {'; '.join(unknown)}."


def _goals(data: Data) -> Iterator[str]:
    yield "| figure | median | spread | must | aim | |"
    yield "|---|--:|--:|--:|--:|---|"
    for goal in GOALS:
        value = goal.value(data)
        must = f"{goal.sign} {goal.must:g}"
        aim = "" if goal.aim is None else f"{goal.sign} {goal.aim:g}"
        told = "not measured | " if value is None else f"{_number(value.median)} | {_spread(value)}"
        yield f"| {goal.name} | {told} | {must} | {aim} | {_verdict(goal, value)} |"


def _verdict(goal: Goal, value: Figure | None) -> str:
    if value is None:
        return ""
    if not goal.holds(value.median, goal.must):
        return "**missed**"
    if goal.aim is not None and goal.holds(value.median, goal.aim):
        return "aim reached"
    return "must holds"


def _forms(data: Data) -> Iterator[str]:
    if not data["forms"] and not data.get("left_out"):
        return
    yield (
        "| form, 64 in flight | CPU us/request, median | spread | of the product | requests/s "
        "| p50 ms | p99 ms |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for name, used in sorted(by_form(data).items(), key=lambda pair: -pair[1].median):
        rate, p50, p99 = (
            _median(figure(data, "forms", what, form=name))
            for what in ("a_second", "p50_ms", "p99_ms")
        )
        yield (
            f"| {ALL[name].label} | {_number(used.median)} | {_spread(used)} "
            f"| {_median(forms(data, name, 'product'))} | {rate} | {p50} | {p99} |"
        )
    for name, why in data.get("left_out", {}).items():
        label = ALL[name].label if name in ALL else name
        yield f"| {label} | left out: {why.replace('|', '/')} | | | | | |"


def _loads(data: Data) -> Iterator[str]:
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
            _median(figure(data, probe, "cpu_us", form=name, **where))
            for probe, where in shapes.values()
        ]
        if any(cells[:1] + cells[2:]):
            rows.append(f"| {ALL[name].label} | {' | '.join(cells)} |")
    if rows:
        yield f"| CPU us/request | {' | '.join(shapes)} |"
        yield f"|---|{'--:|' * len(shapes)}"
        yield from rows


def _rates(data: Data) -> Iterator[str]:
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
        cells += [sign + _median(found), "" if found is None else _spread(found)]
    achieved = _median(figure(data, "open_loop", "achieved", form=name, rate=rate))
    counts = (sum(_counted(row)[number] for row in rows) for number in (0, 1))
    return " | ".join([*cells, achieved, *(f"{count:,}" for count in counts)])


def _counted(row: Row) -> tuple[int, int]:
    failed = row["failed"]
    return failed, row.get("unanswered", 0)


def _others(data: Data) -> Iterator[str]:
    yield "| also | |"
    yield "|---|---|"
    control = after_burst(data, "textbook")
    if control is not None:
        yield (
            "| control: textbook at concurrency 1, after a burst / before (above 1.2, or the "
            f"measure is broken) | {_number(control.median)}, {_spread(control)} |"
        )
    for requests in sorted({row["requests"] for row in data.get("memory", ())}):
        found = figure(data, "memory", "megabytes", requests=requests)
        if found is not None:
            rounds = "one run" if found.rounds == 1 else f"{found.rounds} runs, {_spread(found)}"
            yield f"| memory after {requests:,} users | {found.median:.1f} MB ({rounds}) |"
    yield from _processes(data)
    handshake = figure(data, "forms", "handshake_us", form="product-mtls")
    if handshake is not None:
        text = f"{_number(handshake.median)} us, {_spread(handshake)}"
        yield f"| handshake of mutual TLS, CPU of the server | {text} |"
    if data.get("start"):
        wall, busy = (figure(data, "start", what) for what in ("seconds", "cpu_seconds"))
        yield f"| start to ready | {_median(wall)} s, {_median(busy)} s of CPU |"
    for row in data.get("goodput", ()):
        yield from _goodput(row)
    yield from _audit(data.get("audit", ()))


def _processes(data: Data) -> Iterator[str]:
    labels = {1: "one process", 2: "two processes, a core each, loads and Gigya beside them"}
    for processes, label in labels.items():
        used = figure(data, "replicas", "cpu_us", processes=processes)
        if used is not None:
            yield f"| CPU a request: {label} | {_number(used.median)} us, {_spread(used)} |"


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


def _median(found: Figure | None) -> str:
    return "" if found is None else _number(found.median)


def _spread(found: Figure) -> str:
    return "" if found.rounds == 1 else f"{_number(found.least)}-{_number(found.most)}"


def _number(value: float) -> str:
    """Return three digits of it or so."""
    if math.isinf(value):
        return "lost"
    return (
        f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 20
        else f"{value:.2f}"
    )
