"""Processes pinned to cores, and what they use: CPU with all threads and children, memory."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

SERVER: Final = 0
"""The core of servers under test; loads and upstreams have the other."""
OTHERS: Final = 1

TICKS: Final = os.sysconf("SC_CLK_TCK")
ROOT: Final = Path(__file__).parents[2]


def pinned(
    core: int, command: Sequence[str], output: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start a command on one core; what it says goes to ``output``, or nowhere."""
    line = ["taskset", "--cpu-list", str(core), *command]
    with (output or Path(os.devnull)).open("ab") as out:
        return subprocess.Popen(line, stdout=out, stderr=out, cwd=ROOT)  # noqa: S603  # our own


def module(name: str, *arguments: object) -> list[str]:
    """Return the command that runs a module of ours."""
    return [sys.executable, "-m", name, *(str(argument) for argument in arguments)]


@contextmanager
def running(core: int, command: Sequence[str], output: Path | None = None) -> Iterator[int]:
    """Yield the id of a process that ends with the block."""
    process = pinned(core, command, output)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def asked(name: str, *arguments: object) -> dict[str, Any]:
    """Return what a module of ours prints as JSON, run on the other core."""
    line = ["taskset", "--cpu-list", str(OTHERS), *module(name, *arguments)]
    done = subprocess.run(line, capture_output=True, check=True, cwd=ROOT)  # noqa: S603  # our own
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def wait_for(port: int, *, seconds: float = 60.0) -> None:
    """Wait until something listens on ``port``; raises ``OSError`` after ``seconds``."""
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
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


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process, its threads included (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> float:
    """Return the resident memory in MB (2^20 octets)."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError("a process without memory")
