"""What is left of the service at twice its capacity: open-loop load, TLS to a lean Gigya, audit on.

``python -m tests.resilience.overload`` prints it as JSON, and exits 1 below ``LEAST`` of the peak.
Capacity is the highest rate, found in the same run, at which 99 of 100 requests are served within a
second. Goodput counts what is served within a second of the moment at which it was due; the peak is
that of the best rate, the median of its runs.

All of it is measured on the service's own clock, which stands still while the service could run and
the machine has no core for it (``service_clock``). On a machine with nothing else to do it is the
ordinary one; on a busy one a second of it is a second of which the service had all that it wanted.
A service that waits, sleeps or is stuck has the whole time to answer for.
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
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from service.simulator import seeded
from service.simulator.tls import Authority
from tests.benchmark.gigya import SECRET
from tests.house import AUDIT_KEY, TOKEN, configuration
from tests.resilience.place import certificate
from tests.resilience.service_clock import ServiceClock

LEAST: Final = 0.9
GOOD: Final = 1.0
"""Seconds within which an answer is worth something."""
FIRST: Final = 200.0
STEP: Final = 1.25
TRIES: Final = 3
"""How often a rate is tried before it is too much: machines have other things to do."""
GRACE: Final = 5.0
EAGER: Final = -5
"""How much sooner than others the callers get a core, where that may be asked for: theirs is the
clock by which all is due, and hardly any work."""
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
        self._run.note(int(head[9:12]), self._run.place.clock.now() - self._due)
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
    wall: float = 0.0
    """Seconds that it took of everybody else's time."""
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
        now, wall, had = self.place.clock.now, time.monotonic(), self.place.clock.cpu()
        count, began = int(self.rate * self.seconds), now() + 0.1
        tasks = set()
        for number in range(count):
            due = began + number / self.rate
            while (wait := due - now()) > 0:  # noqa: ASYNC110  # the clock may stand still
                await asyncio.sleep(wait)
            task = asyncio.ensure_future(self._send(number, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        self.wall = time.monotonic() - wall
        until = now() + GRACE
        while self.statuses.total() < count and now() < until:  # noqa: ASYNC110  # answers tell nobody
            await asyncio.sleep(0.05)
        self.cpu = self.place.clock.cpu() - had
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
            "wall": round(self.wall, 1),
        }


@dataclass(frozen=True, slots=True)
class Running:
    """The service at work."""

    port: int
    clock: ServiceClock


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
        twice = []
        for _ in range(TRIES):  # in turn, so that neither has the better weather
            twice.append(await Run(place, 2 * capacity, seconds).go())
            runs.append(await Run(place, capacity, seconds).go())
        after = await Run(place, capacity / 2, seconds).go()
    rates = {run.rate for run in runs}
    peak = max(
        (median([run for run in runs if run.rate == rate]) for rate in rates),
        key=lambda run: run.goodput,
    )
    ratio = median(twice).goodput / peak.goodput
    return {
        "capacity": round(capacity),
        "peak": peak.report(),
        "at_twice": median(twice).report(),
        "each_at_twice": [run.report() for run in twice],
        "afterwards_at_half": after.report(),
        "steps": [run.report() for run in runs],
        "ratio_by_time": round(ratio, 3),
        "ratio_by_cpu": round(median(twice).efficiency / peak.efficiency, 3),
        "is_well": ratio >= LEAST and after.is_well,
    }


def median(runs: list[Run]) -> Run:
    """Return of runs of one rate the one between those that served more, and less, in time."""
    return sorted(runs, key=lambda run: run.goodput)[(len(runs) - 1) // 2]


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
        port = json.loads(await proxy.stdout.readline())["api"]
        _apart(proxy.pid, gigya.pid)
        yield Running(port, ServiceClock(proxy.pid))
    finally:
        for process in (proxy, gigya):
            process.kill()
            await process.wait()


def _apart(service: int, gigya: int) -> None:
    """Give the service a core on which neither its callers nor its Gigya run."""
    first, *others = sorted(os.sched_getaffinity(0))
    if others:
        for thread in Path(f"/proc/{service}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {first})
        for process in (0, gigya):
            os.sched_setaffinity(process, others)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, EAGER)


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
