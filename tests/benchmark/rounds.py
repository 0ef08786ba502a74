"""The forms side by side: started together, loaded in turn, round after round."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.benchmark.material import Material
from tests.benchmark.processes import (
    OTHERS,
    SERVER,
    Core,
    Failed,
    asked,
    free_port,
    module,
    running,
    tail,
)
from tests.benchmark.quiet import Patience, noise
from tests.benchmark.table import Form, LeftOut

IN_FLIGHT: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A form at work."""

    form: Form
    pid: int
    port: int
    log: Path


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def upstream(
    material: Material, *, delay: float = 0.0, crowd: int = 1, core: Core = OTHERS
) -> Iterator[int]:
    """Yield the port of a lean Gigya that answers after ``delay`` seconds.

    It does so where at least ``crowd`` ask at once; fewer are answered at once.
    """
    port = free_port()
    given = ("--delay", delay, "--crowd", crowd)
    command = module("tests.benchmark.gigya", material.directory, port, *given)
    with running(core, command, material.directory / "gigya.log", port=port):
        yield port


@contextmanager
def started(
    form: Form, material: Material, gigya: int, *, core: Core = SERVER
) -> Iterator[Started]:
    """Yield a form at work; raises ``LeftOut`` where it cannot be, ``Failed`` where it is not."""
    port = free_port()
    command, log = form.command(material, port, gigya), material.directory / f"{form.name}.log"
    with running(core, command, log, port=port) as pid:
        yield Started(form=form, pid=pid, port=port, log=log)


def loaded(
    server: Started,
    material: Material,
    *,
    connections: int = IN_FLIGHT,
    seconds: float = 3.0,
    most: int = 10**9,
    first_user: int | None = None,
    users: int = 10**6,
    core: Core = OTHERS,
) -> dict[str, Any]:
    """Load a server, and return what it answered and its CPU microseconds for each.

    With ``first_user`` each request asks for another user, from that number on, and for so many
    ``users`` in turn. Raises ``Failed`` where there is any answer but 200, or none: failing is
    cheap.
    """
    form, options = server.form, []
    if form.certificate is not None:
        options = ["--ca-file", material["ca.pem"], "--certificate", material[form.certificate]]
    if first_user is not None:
        options += ["--first-user", str(first_user), "--users", str(users)]
    row = asked(
        "tests.benchmark.load",
        *(server.port, material[form.requests], "--server", server.pid),
        *("--connections", connections, "--seconds", seconds, "--most", most, *options),
        core=core,
    )
    if row["failed"] or not row["answered"]:
        counts = ", ".join(f"{count} {how}" for how, count in row["failed"].items())
        answered = f"{row['answered']} answered of {connections} at once"
        raise Failed(f"{form.name}: {answered}, failed: {counts or 'none'}; {tail(server.log)}")
    handshake = {"handshake_us": round(row["connecting_cpu_seconds"] / connections * 1e6, 1)}
    return {
        "form": form.name,
        "in_flight": connections,
        "answered": row["answered"],
        "a_second": round(row["answered"] / row["seconds"], 1),
        "cpu_us": round(row["cpu_seconds"] / row["answered"] * 1e6, 1),
        **{name: row[name] for name in ("p50_ms", "p99_ms", "others", "others_beside")},
        **(handshake if form.certificate is not None else {}),
    }


def warmed(server: Started, material: Material, *, connections: int = IN_FLIGHT) -> None:
    """Load a server step by step, so that its connections are there when it is measured.

    What fails meanwhile is told and no more: it is not what is measured.
    """
    for step in sorted({min(connections, IN_FLIGHT), min(connections, 4 * IN_FLIGHT), connections}):
        try:
            loaded(server, material, connections=step, seconds=1.0)
        except Failed as why:
            say(f"warming up: {why}")


def compared(
    forms: Sequence[Form],
    material: Material,
    *,
    rounds: int,
    seconds: float,
    patience: Patience,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return a row for each form and round, interleaved, and why forms were left out.

    A form that fails is left out of all rounds.
    """
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}

    def leave_out(name: str, why: Exception) -> None:
        left_out[name] = str(why)
        say(f"LEFT OUT: {name}: {why}")

    with ExitStack() as stack:
        gigya = stack.enter_context(upstream(material))
        servers: dict[str, Started] = {}
        for form in forms:
            try:
                servers[form.name] = stack.enter_context(started(form, material, gigya))
            except (LeftOut, Failed) as why:
                leave_out(form.name, why)
        for server in servers.values():
            warmed(server, material)
        for number in range(1, rounds + 1):
            for name in [name for name in servers if name not in left_out]:
                try:
                    row = patience.quietest(
                        partial(loaded, servers[name], material, seconds=seconds)
                    )
                except Failed as why:
                    leave_out(name, why)
                    continue
                told = f"{name:16}{row['cpu_us']:9.0f} us of CPU a request"
                say(f"round {number} of {rounds}: {told}{_others(row)}")
                rows.append({"round": number, **row})
    return [row for row in rows if row["form"] not in left_out], left_out


def _others(row: dict[str, Any]) -> str:
    return f"  (others: {100 * noise(row):.0f} % of a core)"
