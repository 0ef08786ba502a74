"""The forms side by side: started together, loaded in turn, round after round."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.benchmark.material import Material
from tests.benchmark.processes import (
    OTHERS,
    SERVER,
    asked,
    cpu,
    free_port,
    module,
    running,
    wait_for,
)
from tests.benchmark.table import ALL, Form, LeftOut

IN_FLIGHT: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A form at work."""

    form: Form
    pid: int
    port: int


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def upstream(material: Material, *, delay: float = 0.0) -> Iterator[int]:
    """Yield the port of a lean Gigya that answers after ``delay`` seconds."""
    port = free_port()
    command = module("tests.benchmark.gigya", material.directory, port, "--delay", delay)
    with running(OTHERS, command, material.directory / "gigya.log"):
        wait_for(port)
        yield port


@contextmanager
def started(form: Form, material: Material, gigya: int, *, core: int = SERVER) -> Iterator[Started]:
    """Yield a form at work; raises ``LeftOut`` where it cannot be."""
    port = free_port()
    command = form.command(material, port, gigya)
    with running(core, command, material.directory / f"{form.name}.log") as pid:
        wait_for(port)
        yield Started(form=form, pid=pid, port=port)


def loaded(
    server: Started,
    material: Material,
    *,
    connections: int = IN_FLIGHT,
    seconds: float = 3.0,
    most: int = 10**9,
) -> dict[str, Any]:
    """Load a server, and return what it answered and its CPU microseconds for each."""
    form, options = server.form, []
    if form.certificate is not None:
        options = ["--ca-file", material["ca.pem"], "--certificate", material[form.certificate]]
    before = cpu(server.pid)
    counts = asked(
        "tests.benchmark.load",
        *(server.port, material[form.requests], "--connections", connections),
        *("--seconds", seconds, "--most", most, *options),
    )
    used = cpu(server.pid) - before
    answered = counts["answered"] or 1
    return {
        "form": form.name,
        "in_flight": connections,
        "answered": counts["answered"],
        "failed": counts["failed"],
        "a_second": round(counts["answered"] / counts["seconds"], 1),
        "cpu_us": round(used / answered * 1e6, 1),
    }


def compared(
    names: Sequence[str], material: Material, *, rounds: int, seconds: float
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return a row for each form and round, interleaved, and why forms were left out.

    The first round warms up and is thrown away. Raises ``RuntimeError`` where a form fails.
    """
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        gigya = stack.enter_context(upstream(material))
        servers = []
        for name in names:
            try:
                servers.append(stack.enter_context(started(ALL[name], material, gigya)))
            except LeftOut as why:
                left_out[name] = str(why)
                say(f"LEFT OUT: {name}: {why}")
        for number in range(rounds + 1):
            for server in servers:
                row = loaded(server, material, seconds=seconds if number else min(seconds, 1.0))
                if not row["answered"] or row["failed"]:
                    raise RuntimeError(f"{server.form.name} fails: {row}")
                which = f"round {number} of {rounds}" if number else "warm-up"
                say(f"{which}: {server.form.name:14}{row['cpu_us']:9.0f} us of CPU a request")
                if number:
                    rows.append({"round": number, **row})
    return rows, left_out
