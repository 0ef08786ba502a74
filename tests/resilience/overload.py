"""What is left of the service at twice its capacity: open-loop load, TLS to a lean Gigya, audit on.

``python -m tests.resilience.overload`` prints it as JSON, and exits 1 below ``LEAST`` of the peak.
Capacity is the highest rate, found in the same run, at which 99 of 100 requests are served within a
second. Goodput counts what is served within a second of the moment at which it was due. Where the
machine gives the service less than ``HAS`` of a core, what counts is goodput for a second of CPU.
"""

import argparse
import asyncio
import base64
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from service.simulator import seeded
from service.simulator.tls import Authority
from tests.benchmark.gigya import SECRET
from tests.house import AUDIT_KEY, TOKEN, configuration
from tests.resilience.place import certificate

LEAST: Final = 0.9
GOOD: Final = 1.0
"""Seconds within which an answer is worth something."""
FIRST: Final = 100.0
STEP: Final = 1.25
HAS: Final = 0.85
TRIES: Final = 3
"""How often a rate is tried before it is too much: machines have other things to do."""
GRACE: Final = 5.0
MANY: Final = 1_000_000


class Caller(asyncio.Protocol):
    """A connection that asks for one thing at a time."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._due: float | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type

    def ask(self, request: bytes, due: float) -> None:
        """Send what was due then."""
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._due is None:
            return
        head = self._buffer[:end].lower()
        length = int(head[head.find(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        self._run.note(int(head[9:12]), time.monotonic() - self._due)
        self._buffer, self._due = b"", None
        self._run.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if self._due is not None:
            self._run.note(0, 0.0)
        if self in self._run.idle:
            self._run.idle.remove(self)


@dataclass(eq=False)
class Run:
    """So many requests a second for a while, and what came of them; status 0 is a lost one."""

    place: "Running"
    rate: float
    seconds: float
    cpu: float = 0.0
    """Seconds that the service had of a core."""
    idle: list[Caller] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    def note(self, status: int, seconds: float) -> None:
        """Note an answer."""
        self.statuses[status] += 1
        if status == 200:
            self.latencies.append(seconds)

    @property
    def goodput(self) -> float:
        """What was served in time, a second."""
        return sum(seconds <= GOOD for seconds in self.latencies) / self.seconds

    @property
    def efficiency(self) -> float:
        """What was served in time, for a second of the service's CPU."""
        return self.goodput * self.seconds / max(self.cpu, 0.001)

    @property
    def is_well(self) -> bool:
        """Whether 99 of 100 were served in time."""
        return self.goodput >= 0.99 * self.rate

    async def go(self) -> "Run":
        """Send them, and wait for the last answers."""
        count, began = int(self.rate * self.seconds), time.monotonic() + 0.1
        had = self.place.cpu()
        tasks = set()
        for number in range(count):
            due = began + number / self.rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.ensure_future(self._send(number, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        until = time.monotonic() + GRACE
        while (  # noqa: ASYNC110  # answers tell nobody
            self.statuses.total() < count and time.monotonic() < until
        ):
            await asyncio.sleep(0.05)
        self.cpu = self.place.cpu() - had
        for peer in self.idle:
            peer._transport.abort()
        return self

    async def _send(self, number: int, due: float) -> None:
        if self.idle:
            self.idle.pop().ask(request(number), due)
            return
        loop = asyncio.get_running_loop()
        try:
            _, peer = await loop.create_connection(
                lambda: Caller(self), "127.0.0.1", self.place.port
            )
        except OSError:
            self.note(0, 0.0)
        else:
            peer.ask(request(number), due)

    def report(self) -> dict[str, Any]:
        """Return what came of it, for people."""
        p99 = statistics.quantiles(self.latencies, n=100)[-1] if len(self.latencies) > 1 else None
        return {
            "rate": round(self.rate),
            "goodput": round(self.goodput),
            "p99_ms": p99 and round(p99 * 1000),
            "statuses": dict(self.statuses),
            "cpu": round(self.cpu / self.seconds, 2),
            "efficiency": round(self.efficiency),
        }


@dataclass(frozen=True, slots=True)
class Running:
    """The service at work."""

    port: int
    pid: int

    def cpu(self) -> float:
        """Return the seconds of CPU that it has had."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def request(number: int) -> bytes:
    """Return a request for a user of its own."""
    body = json.dumps({"site": "shop", "uid": f"user-{number:06}", "provider": "twitter"}).encode()
    return (
        b"POST /v1/provider-tokens HTTP/1.1\r\nHost: proxy\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
        % (TOKEN.encode(), len(body), body)
    )


async def overload(directory: Path, seconds: float) -> dict[str, Any]:
    """Find the capacity in steps of ``seconds``, load twice that, and return what was seen."""
    async with _running(directory) as place:
        await Run(place, FIRST, seconds).go()  # warms up
        runs: list[Run] = []
        rate, failed = FIRST, 0
        while failed < TRIES:
            runs.append(await Run(place, rate, seconds).go())
            failed = 0 if runs[-1].is_well else failed + 1
            rate *= STEP if runs[-1].is_well else 1
        capacity = rate / STEP
        peak = max(runs, key=lambda run: run.goodput)
        twice = await Run(place, 2 * capacity, 3 * seconds).go()
        after = await Run(place, capacity / 2, seconds).go()
    by_time = twice.goodput / peak.goodput
    by_cpu = twice.efficiency / max(run.efficiency for run in runs if run.rate >= capacity)
    has_core = twice.cpu / twice.seconds >= HAS
    return {
        "capacity": round(capacity),
        "peak": peak.report(),
        "at_twice": twice.report(),
        "afterwards_at_half": after.report(),
        "steps": [run.report() for run in runs],
        "ratio_by_time": round(by_time, 3),
        "ratio_by_cpu": round(by_cpu, 3),
        "is_well": (by_time if has_core else by_cpu) >= LEAST and after.is_well,
    }


@asynccontextmanager
async def _running(directory: Path) -> AsyncIterator[Running]:
    authority = Authority()
    made = certificate(authority)
    files = {
        "gigya.pem": made.key + made.certificate,
        "ca.pem": authority.pem,
        "audit-key": AUDIT_KEY,
        "partner": base64.b64encode(SECRET),
        "user": base64.b64encode(bytes(32)),
    }
    for name, octets in files.items():
        (directory / name).write_bytes(octets)
    upstream = _free_port()
    config = directory / "config.yaml"
    config.write_text(json.dumps(_settings(directory, upstream)))
    gigya = await _started("tests.benchmark.gigya", str(directory), str(upstream))
    proxy = await _started("tests.resilience.service_process", str(config))
    try:
        assert gigya.stdout is not None
        assert proxy.stdout is not None
        await gigya.stdout.readline()
        yield Running(json.loads(await proxy.stdout.readline())["api"], proxy.pid)
    finally:
        for process in (proxy, gigya):
            process.kill()
            await process.wait()


def _settings(directory: Path, upstream: int) -> dict[str, Any]:
    settings = configuration(seeded(0, now=time.time()), directory)
    shop = settings["sites"]["shop"]
    del shop["data_center"]
    shop["simulator"] = {
        "url": f"https://localhost:{upstream}",
        "ca_file": str(directory / "ca.pem"),
    }
    shop["partner_secret_files"] = [str(directory / "partner")]
    shop["authentication"]["current"]["secret_file"] = str(directory / "user")
    settings["audit"]["key_files"] = [str(directory / "audit-key")]
    for row in settings["callers"]:
        row["limits"] = {"in_flight": MANY}  # one caller may have all that there is
    listener = {"host": "127.0.0.1", "port": 0}
    settings["listeners"] = {"api": listener, "management": {**listener}}
    return settings


def _free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port


async def _started(module: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the command line; 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        report = uvloop.run(overload(Path(directory), options.seconds))
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0 if report["is_well"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
