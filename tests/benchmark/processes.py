"""Processes pinned to cores, and what they use: CPU with all threads and children, memory."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

SERVER: Final = 0
"""The core of servers under test; loads and upstreams have the other."""
OTHERS: Final = 1
BOTH: Final = f"{SERVER},{OTHERS}"

TICKS: Final = os.sysconf("SC_CLK_TCK")
ROOT: Final = Path(__file__).parents[2]
TAIL: Final = 3
WIDTH: Final = 200
"""So much of the last lines of a log is told when something fails."""

Process = subprocess.Popen[bytes]
Core = int | str | None
"""A core, a list of them as ``taskset`` reads it, or wherever this process may be."""


class Failed(RuntimeError):
    """A program that we started does not do what it should; says so with the end of its log."""


def lacking() -> str | None:
    """Return what this machine lacks for pinning, as a sentence; ``None`` for nothing."""
    if shutil.which("taskset") is None:
        return "taskset is missing: it is in util-linux."
    if not {SERVER, OTHERS} <= os.sched_getaffinity(0):
        allowed = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        return f"Cores {SERVER} and {OTHERS} are needed; this process may use {allowed}."
    return None


def pinned(core: Core, command: Sequence[str], output: Path | None = None) -> Process:
    """Start a command; what it says goes to ``output``, or nowhere."""
    line = [*_on(core), *command]
    with (output or Path(os.devnull)).open("ab") as out:
        return subprocess.Popen(line, stdout=out, stderr=out, cwd=ROOT)  # noqa: S603  # our own


def _on(core: Core) -> list[str]:
    return [] if core is None else ["taskset", "--cpu-list", str(core)]


def module(name: str, *arguments: object) -> list[str]:
    """Return the command that runs a module of ours."""
    return [sys.executable, "-m", name, *(str(argument) for argument in arguments)]


@contextmanager
def running(core: Core, command: Sequence[str], log: Path, *, port: int) -> Iterator[int]:
    """Yield the id of a process that listens on ``port`` and ends with the block.

    Raises ``Failed`` where it does not come to that.
    """
    process = pinned(core, command, log)
    try:
        try:
            wait_for(port, process)
        except OSError:
            raise Failed(f"does not listen; {tail(log)}") from None
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tail(log: Path) -> str:
    """Return the last words of a log."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    said = " / ".join(line.strip()[:WIDTH] for line in lines[-TAIL:])
    return f"its log ends: {said}" if said else "its log is empty"


def asked(
    name: str, *arguments: object, core: Core = OTHERS, tells: bool = False
) -> dict[str, Any]:
    """Return what a module of ours prints as JSON, pinned; raises ``Failed``.

    With ``tells`` its progress is seen.
    """
    line = [*_on(core), *module(name, *arguments)]
    errors = None if tells else subprocess.PIPE
    done = subprocess.run(  # noqa: S603  # our own
        line, stdout=subprocess.PIPE, stderr=errors, check=False, cwd=ROOT
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        said = (done.stderr or b"").decode("utf-8", "replace").strip().splitlines()[-1:]
        raise Failed(f"{name} exits {done.returncode}: {''.join(said)}") from None
    return answer


def wait_for(port: int, process: Process, *, seconds: float = 60.0) -> None:
    """Wait until something listens on ``port``; raises ``OSError`` after ``seconds``.

    Does not wait for a process that has ended.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until or process.poll() is not None:
                raise
            time.sleep(0.02)
        else:
            return


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has just ended
                children.setdefault(int(_fields(int(entry.name))[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, ())
    return found


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process, threads and descendants included (proc(5)).

    A master's workers do the work: without them a server that divides itself would cost nothing.
    """
    return sum(own_cpu(each) for each in family(pid))


def own_cpu(pid: int) -> float:
    """Return the CPU seconds of one process, its threads and its ended children included."""
    try:
        fields = _fields(pid)
    except OSError:  # it has just ended
        return 0.0
    return sum(int(each) for each in fields[11:15]) / TICKS


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()


def memory(pid: int) -> float:
    """Return the resident memory in MB (2^20 octets)."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError("a process without memory")
