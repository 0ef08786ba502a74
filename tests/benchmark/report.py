"""The report in Markdown, drawn from the raw rounds and from nothing else."""

import math
from collections.abc import Iterator
from typing import Final

from tests.benchmark.figures import Data, Figure, by_form, figure, forms, told
from tests.benchmark.further import loads, others, rates
from tests.benchmark.goals import GOALS, Goal, missed
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
        loads(data),
        rates(data),
        others(data),
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
    text = (
        f"{load}. What others took of core {SERVER} or {OTHERS} while a row was measured: median "
        f"{worst.median:.0%}, at most {worst.most:.0%}; of {len(rows)} rows {again} were measured "
        f"once more, and {disturbed} kept in which others took more than {DISTURBED:.0%}."
    )
    return text if disturbed <= MANY * len(rows) else f"{text} **{LOUD}**"


def _missed(data: Data) -> Iterator[str]:
    """Yield the sentence that goes before all figures."""
    found = [
        f"{goal.name} ({value.told}, {goal.sign} {goal.must:g} asked)"
        for goal, value in missed(data)
    ]
    yield f"**Missed: {'; '.join(found)}.**" if found else "No must that was measured is missed."
    yield from _failures(data)
    unknown = [goal.name for goal in GOALS if goal.value(data) is None]
    if unknown:
        yield f"Not measured: {'; '.join(unknown)}."


def _failures(data: Data) -> Iterator[str]:
    for probe, rows in data.items():
        for row in rows if isinstance(rows, list) else ():
            if "failure" in row:
                yield f"Failed: {probe}, round {row['round']}: {row['failure']}."


def _goals(data: Data) -> Iterator[str]:
    yield "| figure | median | spread | must | aim | |"
    yield "|---|--:|--:|--:|--:|---|"
    for goal in GOALS:
        value = goal.value(data)
        must = f"{goal.sign} {goal.must:g}"
        aim = "" if goal.aim is None else f"{goal.sign} {goal.aim:g}"
        cells = "not measured | " if value is None else f"{value.told} | {value.spread}"
        yield f"| {goal.name} | {cells} | {must} | {aim} | {_verdict(goal, value)} |"


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
            told(figure(data, "forms", what, form=name))
            for what in ("a_second", "p50_ms", "p99_ms")
        )
        yield (
            f"| {ALL[name].label} | {used.told} | {used.spread} "
            f"| {told(forms(data, name, 'product'))} | {rate} | {p50} | {p99} |"
        )
    for name, why in data.get("left_out", {}).items():
        label = ALL[name].label if name in ALL else name
        yield f"| {label} | left out: {why.replace('|', '/')} | | | | | |"
