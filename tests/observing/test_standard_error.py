"""The service in a process of its own, while nobody reads what it says."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from service.simulator import seeded
from tests.house import AUDIT_KEY, TOKEN, configuration

SERVE: Final = (sys.executable, "-m", "service", "serve", "--config")
SECONDS: Final = 60
MANY: Final = 400
"""Requests whose lines no pipe holds."""


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen[bytes]
    api: str
    management: str
    config: Path

    def ask(self) -> int:
        """Ask for the caller's grants; return the status."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        with httpx.Client(trust_env=False, timeout=5, headers=headers) as client:
            return client.get(f"{self.api}/v1/grants").status_code

    def ask_often(self) -> set[int]:
        """Ask as often as makes more lines than a pipe holds; return the statuses."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        with httpx.Client(trust_env=False, timeout=5, headers=headers) as client:
            return {client.get(f"{self.api}/v1/grants").status_code for _ in range(MANY)}

    def manage(self, path: str) -> str:
        """Ask the management port; return what it says."""
        return httpx.get(f"{self.management}{path}", trust_env=False, timeout=5).text

    def set_logging(self, **section: str) -> None:
        """Change how it is logged, in the file."""
        settings = yaml.safe_load(self.config.read_text("utf-8"))
        self.config.write_text(yaml.safe_dump({**settings, "logging": section}), "utf-8")

    def metric(self, name: str) -> float:
        """Return a metric that has one series."""
        lines = self.manage("/metrics").splitlines()
        [line] = [line for line in lines if line.startswith(f"credential_proxy_{name}")]
        return float(line.split()[-1])

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        end = time.monotonic() + SECONDS
        while not is_so():
            assert time.monotonic() < end
            time.sleep(0.05)

    def end(self) -> int:
        """Ask it to end; return the status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


def free() -> int:
    """Return a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(directory: Path, stderr: int | None, **options: Any) -> Iterator[Service]:
    """Serve with a standard error; that it takes a second to end shows that it drains."""
    gigya = seeded(0, now=1_800_000_000.0)
    settings = configuration(gigya, directory)
    for name, octets in {
        "partner": gigya.partner_secret.encode(),
        "user": gigya.user_secret.encode(),
        "audit": AUDIT_KEY,
    }.items():
        (directory / name).write_bytes(octets)
    ports = {name: {"host": "127.0.0.1", "port": free()} for name in ("api", "management")}
    settings |= {"listeners": ports, "shutdown": {"delay": 1, "drain": 1}}
    text = yaml.safe_dump(json.loads(json.dumps(settings))).replace("/secrets", str(directory))
    config = directory / "config.yaml"
    config.write_text(text, "utf-8")
    process = subprocess.Popen(  # noqa: S603  # ourselves
        [*SERVE, config], stdout=subprocess.DEVNULL, stderr=stderr, **options
    )
    urls = {name: f"http://127.0.0.1:{port['port']}" for name, port in ports.items()}
    service = Service(process, config=config, **urls)
    try:
        service.until(lambda: _is_ready(service))
        yield service
    finally:
        process.kill()
        process.wait()


def _is_ready(service: Service) -> bool:
    assert service.process.poll() is None
    try:
        return httpx.get(f"{service.management}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


class TestUnread:
    def test_a_pipe_that_nobody_reads_stops_nothing(self, tmp_path: Path) -> None:
        """Requests, liveness, metrics and the end go on; what found no room is counted."""
        read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
        with running(tmp_path, write) as service:
            assert {200} == service.ask_often()
            assert httpx.get(f"{service.management}/livez", trust_env=False).is_success
            assert 0 == service.metric("log_dropped_total")
            began = time.monotonic()
            assert 0 == service.end()
            assert 1 <= time.monotonic() - began < 10
        os.close(write)
        os.close(read)


class TestClosed:
    def test_a_reader_who_left_stops_nothing(self, tmp_path: Path) -> None:
        """Requests are answered, a reload is done, and the end drains as always."""
        read, write = os.pipe()
        with running(tmp_path, write) as service:
            os.close(write)
            os.close(read)
            assert 200 == service.ask()
            service.until(lambda: service.metric("log_dropped_total") >= 1)
            service.set_logging(level="warning", format="json")
            service.process.send_signal(signal.SIGHUP)
            service.until(lambda: _reloads(service) == 1)
            assert 200 == service.ask()
            began = time.monotonic()
            assert 0 == service.end()
            assert 1 <= time.monotonic() - began < 10

    def test_a_process_without_standard_error(self, tmp_path: Path) -> None:
        """Without one at all nothing is written where its number leads."""
        with running(tmp_path, None, preexec_fn=lambda: os.close(2)) as service:
            assert 200 == service.ask()
            service.until(lambda: service.metric("log_dropped_total") >= 1)
            assert 0 == service.end()


class TestFull:
    def test_a_full_disk_stops_nothing(self, tmp_path: Path) -> None:
        """A log file without room costs lines and no request."""
        full = os.open("/dev/full", os.O_WRONLY)
        with running(tmp_path, full) as service:
            assert 200 == service.ask()
            service.until(lambda: service.metric("log_dropped_total") >= 1)
            assert 0 == service.end()
        os.close(full)


class TestTheEnd:
    def test_the_last_lines_are_out(self, tmp_path: Path) -> None:
        """Every request has its line, in order, and the last word of the process is there."""
        with (tmp_path / "log").open("wb") as file, running(tmp_path, file.fileno()) as service:
            service.ask_often()
            assert 0 == service.end()
        events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]

        assert MANY <= events.count("request") <= MANY + 100
        assert ["listening", "draining"] == [e for e in events if e in {"listening", "draining"}]

    @pytest.mark.parametrize("form", ["json", "console"])
    def test_a_crash_has_its_line(self, tmp_path: Path, form: str) -> None:
        """A bug that ends the process is told by type and place, without its message."""
        script = (
            "import sys; from service.cli import serve; from service.__main__ import main;"
            "bug = lambda *_, **__: (_ for _ in ()).throw(RuntimeError('s3cret'));"
            "serve.build = bug; sys.exit(main(sys.argv[1:]))"
        )
        with running(tmp_path, subprocess.DEVNULL) as service:
            service.end()
        service.set_logging(format=form)
        ended = subprocess.run(  # noqa: S603  # ourselves
            [sys.executable, "-c", script, "serve", "--config", service.config],
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )

        assert 1 == ended.returncode
        assert b"unexpected" in ended.stderr
        assert b"RuntimeError" in ended.stderr
        assert b"s3cret" not in ended.stderr


def _reloads(service: Service) -> float:
    start = 'credential_proxy_reloads_total{name="configuration",outcome="replaced"}'
    [line] = [x for x in service.manage("/metrics").splitlines() if x.startswith(start)]
    return float(line.split()[-1])
