"""``python -m tests.benchmark``: the forms side by side, then what else is measured.

Takes about a quarter of an hour; ``--short`` takes about two minutes. Raw rounds go to
``tests/benchmark/data``; the table and the plot are drawn from them.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from tests.benchmark.material import Material
from tests.benchmark.probes import PROBES, Size
from tests.benchmark.processes import ROOT
from tests.benchmark.report import plot, table
from tests.benchmark.rounds import compared, say
from tests.benchmark.table import ALL, LeftOut, tool

DATA: Final = ROOT / "tests" / "benchmark" / "data"
PACKAGES: Final = (
    "uvicorn",
    "uvloop",
    "httptools",
    "aiohttp",
    "cryptography",
    "httpx",
    "PyJWT",
)
TOOLS: Final = {"go": ["version"], "nginx": ["-v"], "envoy": ["--version"]}

LONG: Final = Size(rounds=5, seconds=3.0, memory=(20_000, 100_000), megabytes=250)
SHORT: Final = Size(rounds=3, seconds=1.0, memory=(5_000, 10_000), megabytes=20)
FAILURES: Final = (subprocess.CalledProcessError, RuntimeError, ValueError, OSError)
BRIEFLY: Final = ("in_flight", "burst", "start")


def machine() -> dict[str, Any]:
    """Return what the machine is."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": f"CPython {platform.python_version()} ({platform.python_compiler()})",
        "python_build": str(sysconfig.get_config_var("CONFIG_ARGS")),
        "load": os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    for name, arguments in TOOLS.items():
        try:
            program = tool(name, "/usr/sbin")
        except LeftOut:
            continue
        line = [program, *arguments]
        done = subprocess.run(line, capture_output=True, check=False, text=True)  # noqa: S603  # ours
        found[name] = _number(done.stdout + done.stderr)
    return found


def _number(text: str) -> str:
    words = text.replace("/", " ").replace("go", " ").split()
    return next((word for word in words if word[:1].isdigit() and "." in word), "?")


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Measure everything that is asked for."""
    size = SHORT if given.short else LONG
    size = Size(
        rounds=given.rounds or size.rounds,
        seconds=given.seconds or size.seconds,
        memory=size.memory,
        megabytes=size.megabytes,
    )
    data: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python -m tests.benchmark", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
    }
    with tempfile.TemporaryDirectory(dir=given.directory) as name:
        material = Material(directory=Path(name))
        material.write()
        rounds = max(5, size.rounds)
        data["forms"], data["left_out"] = compared(
            given.forms, material, rounds=rounds, seconds=size.seconds
        )
        for probe in given.probes if given.probes is not None else _probes(given):
            say(f"-- {probe}")
            try:
                data[probe] = PROBES[probe](material, size)
            except FAILURES as error:  # what was measured before is not thrown away
                data["left_out"][probe] = f"failed: {type(error).__name__}"
                say(f"LEFT OUT: {probe}: {error}")
    return data


def _probes(given: argparse.Namespace) -> tuple[str, ...]:
    return BRIEFLY if given.short else tuple(PROBES)


def draw(given: argparse.Namespace) -> None:
    """Write the table and the plot of the raw rounds."""
    data = json.loads(given.data.read_bytes())
    given.data.with_suffix(".svg").write_text(plot(data), "utf-8")
    given.data.with_suffix(".md").write_text(table(data), "utf-8")
    say(table(data))
    say(f"Written: {given.data}, and beside it the table (.md) and the plot (.svg).")


def main() -> None:
    """Measure and draw, or only draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark", description=__doc__)
    parser.add_argument("--short", action="store_true", help="two minutes")
    parser.add_argument("--draw", action="store_true", help="only draw, from --data")
    parser.add_argument("--data", type=Path, help="where raw rounds are kept")
    parser.add_argument("--forms", nargs="*", default=list(ALL), choices=list(ALL))
    parser.add_argument("--probes", nargs="*", choices=list(PROBES))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--directory", help="where the audit's files are; a real disk")
    given = parser.parse_args()
    given.data = given.data or DATA / ("short.json" if given.short else "rounds.json")
    if shutil.which("taskset") is None:
        parser.error("taskset is missing: it is in util-linux")
    if not given.draw:
        data = measured(given)
        given.data.parent.mkdir(parents=True, exist_ok=True)
        given.data.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    draw(given)


if __name__ == "__main__":
    main()
