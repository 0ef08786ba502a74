"""``python -m tests.benchmark``: the forms side by side, then what else is measured.

Takes about half an hour of a machine that does nothing else; ``--short`` takes two minutes. Raw
rounds go to ``tests/benchmark/data``, those of a part of the whole into a file of their own; table
and plot are drawn from them. Ratios need ``product`` among the forms. Exits 1 where a must is
missed.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.benchmark.goals import missed
from tests.benchmark.machine import machine, versions
from tests.benchmark.material import Material
from tests.benchmark.plot import plot
from tests.benchmark.probes import PROBES
from tests.benchmark.processes import OTHERS, ROOT, Failed, lacking
from tests.benchmark.quiet import Patience
from tests.benchmark.report import table
from tests.benchmark.rounds import compared, say
from tests.benchmark.size import LEAST_ROUNDS, LONG, SHORT, Size
from tests.benchmark.table import ALL, LeftOut

DATA: Final = ROOT / "tests" / "benchmark" / "data"
BRIEFLY: Final = ("in_flight", "start")
PARTS: Final = ("forms", "probes", "rounds", "seconds", "megabytes")
"""Options that make a run less than the whole."""
FAILURES: Final = (Failed, LeftOut, OSError, ValueError, LookupError)
PATIENCE: Final = 600.0
"""Seconds that a whole run may spend on measuring disturbed rows once more."""


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Measure everything that is asked for; what fails is left out, and the rest goes on."""
    size = _size(given)
    data: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python -m tests.benchmark", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
    }
    say(f"Load average at the start: {data['machine']['load']:.2f}")
    os.sched_setaffinity(0, {OTHERS})  # what this process does must not be on the server's core
    with tempfile.TemporaryDirectory(dir=given.directory) as name:
        material = Material(directory=Path(name))
        material.write()
        data["forms"], data["left_out"] = compared(
            [ALL[name] for name in (ALL if given.forms is None else given.forms)],
            material,
            rounds=size.rounds,
            seconds=size.seconds,
            patience=size.patience,
        )
        usual = BRIEFLY if given.short else tuple(PROBES)
        for probe in given.probes if given.probes is not None else usual:
            say(f"-- {probe}")
            try:
                data[probe] = PROBES[probe](material, size)
            except FAILURES as error:  # what was measured before is not thrown away
                data["left_out"][probe] = f"{type(error).__name__}: {error}"
                say(f"LEFT OUT: {probe}: {error!r}")
    return data


def _size(given: argparse.Namespace) -> Size:
    size = SHORT if given.short else LONG
    own = {name: getattr(given, name) for name in ("rounds", "seconds", "megabytes")}
    patience = Patience(PATIENCE * (0.05 if given.short else 1), say)
    return replace(size, patience=patience, **{k: v for k, v in own.items() if v is not None})


def draw(path: Path) -> Mapping[str, Any]:
    """Write the table and the plot beside the raw rounds at ``path``; return the rounds."""
    data: dict[str, Any] = json.loads(path.read_bytes())
    text = table(data)
    path.with_suffix(".md").write_text(text, "utf-8")
    say(text)
    if data["forms"]:
        path.with_suffix(".svg").write_text(plot(data), "utf-8")
    say(f"Written: {path}, and beside it the table (.md) and, of forms, the plot (.svg).")
    return data


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what is asked for, and where its rounds are."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark", description=__doc__)
    parser.add_argument("--short", action="store_true", help="two minutes")
    parser.add_argument("--draw", action="store_true", help="only draw, from --data")
    parser.add_argument("--data", type=Path, help="where raw rounds are kept")
    parser.add_argument("--forms", nargs="*", choices=list(ALL))
    parser.add_argument("--probes", nargs="*", choices=list(PROBES))
    parser.add_argument("--rounds", type=int, help=f"{LEAST_ROUNDS} or more")
    parser.add_argument("--seconds", type=float, help="of one load")
    parser.add_argument("--megabytes", type=int, help="of the audit that is read")
    parser.add_argument("--directory", help="where the audit's files are; a real disk")
    given = parser.parse_args(arguments)
    # A part must not take the place of what is published.
    is_part = any(getattr(given, name) is not None for name in PARTS)
    whole = "short.json" if given.short else "rounds.json"
    given.data = given.data or DATA / ("partial.json" if is_part else whole)
    return given


def refusal(given: argparse.Namespace) -> str | None:
    """Return why that cannot be done, as a sentence."""
    if given.rounds is not None and given.rounds < LEAST_ROUNDS:
        return f"--rounds: {LEAST_ROUNDS} are the least of which a median is told."
    if given.draw:
        return None if given.data.exists() else f"--draw: there is no {given.data}."
    return lacking()


def main(arguments: Sequence[str]) -> int:
    """Measure and draw, or only draw; 1 where a must is missed, 2 where it cannot be done."""
    given = options(arguments)
    if why := refusal(given):
        say(why)
        return 2
    if not given.draw:
        if given.forms is not None and "product" not in given.forms:
            say("Without the form product no ratio to it can be told.")
        data = measured(given)
        given.data.parent.mkdir(parents=True, exist_ok=True)
        given.data.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    return 1 if any(missed(draw(given.data))) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
