"""The table and the plot, drawn from the raw rounds and from nothing else."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tests.benchmark.figures import GOALS, Data, Figure, added, by_form, median
from tests.benchmark.table import ALL


def table(data: Data) -> str:
    """Return the report in Markdown."""
    machine = data["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['python']}"
    lines = [
        f"Measured {data['date']}: {where}; {versions}.",
        "",
        *_forms(data),
        *_left_out(data),
        "",
        *_goals(data),
        "",
        *_others(data),
    ]
    return "\n".join(lines) + "\n"


def _forms(data: Data) -> Iterator[str]:
    figures = by_form(data)
    yield "| form | CPU us/request, median | spread | requests/s per core | of the product |"
    yield "|---|--:|--:|--:|--:|"
    product = figures["product"].median
    for name, figure in sorted(figures.items(), key=lambda pair: -pair[1].median):
        yield (
            f"| {ALL[name].label} | {figure.median:,.0f} | {figure.least:,.0f}-{figure.most:,.0f} "
            f"| {1e6 / figure.median:,.0f} | {figure.median / product:.2f} |"
        )


def _left_out(data: Data) -> Iterator[str]:
    for name, why in data.get("left_out", {}).items():
        label = ALL[name].label if name in ALL else name
        yield f"| {label} | left out: {why} | | | |"


def _goals(data: Data) -> Iterator[str]:
    yield "| ratio | measured | must | aim | |"
    yield "|---|--:|--:|--:|---|"
    for goal in GOALS:
        value = goal.value(data)
        sign = "≥" if goal.at_least else "≤"
        if value is None:
            yield f"| {goal.name} | not measured | {sign} {goal.must:g} | {sign} {goal.aim:g} | |"
            continue
        verdict = "**missed**"
        if goal.holds(value, goal.must):
            verdict = "aim reached" if goal.holds(value, goal.aim) else "must holds"
        yield (
            f"| {goal.name} | {value:.2f} | {sign} {goal.must:g} | {sign} {goal.aim:g} "
            f"| {verdict} |"
        )


def _others(data: Data) -> Iterator[str]:
    yield "| also | |"
    yield "|---|---|"
    for rate in sorted({row["rate"] for row in data.get("open_loop", ())}):
        yield from _opened(data, rate)
    for row in data.get("memory", ()):
        yield f"| memory after {row['requests']:,} requests | {row['megabytes']:.1f} MB |"
    for processes in (1, 2):
        rows = data.get("replicas", ())
        used = median(rows, "cpu_us", processes=processes)
        rate = median(rows, "a_second", processes=processes)
        if used is not None and rate is not None:
            yield f"| {processes} process(es) on one core | {used:.0f} us, {rate:,.0f}/s |"
    if data.get("start"):
        wall, busy = (median(data["start"], what) for what in ("seconds", "cpu_seconds"))
        yield f"| start to ready | {wall:.2f} s, {busy:.2f} s of CPU |"
    for row in data.get("goodput", ()):
        yield f"| goodput at twice the capacity | {_told(row)} |"
    for row in data.get("audit", ()):
        yield (
            f"| `audit {row['command']}` per GB | {row['cpu_seconds_per_gb']:.0f} s of CPU, "
            f"{row['peak_memory_mb']:.0f} MB |"
        )


def _opened(data: Data, rate: int) -> Iterator[str]:
    rows = data["open_loop"]
    for form in dict.fromkeys(row["form"] for row in rows if row["rate"] == rate):
        p50, p99, achieved = (
            median(rows, what, form=form, rate=rate) for what in ("p50_ms", "p99_ms", "achieved")
        )
        plus50, plus99 = added(data, "p50_ms", form, rate), added(data, "p99_ms", form, rate)
        if form != "direct" and plus50 is not None and plus99 is not None:
            yield (
                f"| {rate:,}/s, Gigya takes 50 ms: {form} | +{plus50:.2f} ms p50, "
                f"+{plus99:.2f} ms p99, {achieved:,.0f}/s achieved |"
            )
        elif form == "direct":
            yield f"| {rate:,}/s, Gigya takes 50 ms: direct | {p50:.2f} ms p50, {p99:.2f} ms p99 |"


def _told(row: Mapping[str, Any]) -> str:
    numbers = ((name, value) for name, value in row.items() if isinstance(value, (int, float)))
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in numbers)


WIDTH: Final = 760
LEFT: Final = 330
RIGHT: Final = 90
ROW: Final = 30
OURS: Final = "#2f6f4f"
THEIRS: Final = "#8a93a3"


def plot(data: Data) -> str:
    """Return the plot: one bar a form on a logarithmic scale, a whisker for the spread."""
    figures = sorted(by_form(data).items(), key=lambda pair: -pair[1].median)
    height = ROW * len(figures) + 70
    low = 10 ** math.floor(math.log10(min(figure.least for _, figure in figures)))
    high = 10 ** math.ceil(math.log10(max(figure.most for _, figure in figures)))
    span = math.log10(high / low)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(value / low) / span

    rounds = figures[0][1].rounds
    title = f"CPU of the server per request in us, logarithmic (median and spread, {rounds} rounds)"
    shape = f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {shape}>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-weight="600">{title}</text>',
    ]
    tick = low
    while tick <= high:
        parts.append(
            f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="38" y2="{height - 24}" '
            f'stroke="#e3e6ea"/><text x="{x(tick):.1f}" y="{height - 8}" fill="#5b6470" '
            f'text-anchor="middle">{tick:,}</text>'
        )
        tick *= 10
    for number, (name, figure) in enumerate(figures):
        parts.append(_bar(name, figure, 44 + ROW * number, x))
    return "\n".join([*parts, "</svg>", ""])


def _bar(name: str, figure: Figure, y: float, x: Callable[[float], float]) -> str:
    colour = OURS if name.startswith("product") else THEIRS
    middle = y + ROW / 2 - 3
    return (
        f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end">{ALL[name].label}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{x(figure.median) - LEFT:.1f}" height="{ROW - 8}" '
        f'fill="{colour}"/>'
        f'<line x1="{x(figure.least):.1f}" x2="{x(figure.most):.1f}" y1="{middle}" y2="{middle}" '
        f'stroke="#1c2127" stroke-width="1.5"/>'
        f'<text x="{x(figure.most) + 6:.1f}" y="{middle + 4}">{figure.median:,.0f}</text>'
    )
