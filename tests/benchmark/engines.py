"""Which engine below httpx's interface: aiohttp or pyreqwest, in the product's own path.

``python -m tests.benchmark.engines`` prints CPU of the server per request, interleaved rounds.
pyreqwest is not a dependency: ``pip install pyreqwest`` first.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from service.app import Parts, build
from service.cli.serve import server_of
from service.logs import Log
from service.metrics import Metrics
from service.server import run_process
from service.settings.load import load
from service.simulator import Authority
from service.wiring.world import Peer, World
from service.wiring.world import dial as dial_aiohttp
from tests.benchmark.gigya import SECRET
from tests.benchmark.load import USER

TOKEN: Final = "gigyaproxy_benchmark"  # noqa: S105  # made up
ENGINES: Final = ("aiohttp", "pyreqwest")


def dial_pyreqwest(peer: Peer) -> httpx.AsyncBaseTransport:
    """Return pyreqwest's transport for ``peer``."""
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415  # not a dependency
    from pyreqwest.compatibility.httpx import HttpxTransport  # noqa: PLC0415  # likewise

    builder = ClientBuilder().http1_only().no_proxy().max_connections(peer.connections)
    builder = builder.gzip(False).brotli(False).deflate(False).zstd(False)
    if peer.ca_file is not None:
        builder = builder.add_root_certificate_pem(Path(peer.ca_file).read_bytes())
    return HttpxTransport(builder.build())


DIALS: Final = {"aiohttp": dial_aiohttp, "pyreqwest": dial_pyreqwest}


def configuration(directory: Path, upstream: int, port: int) -> dict[str, Any]:
    """Return the product's configuration."""
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    token = {"subject": "crm", "sha256": digest, "expires": "2035-01-01T00:00:00Z"}
    way = {"method": "user_key_signed", "user_key": "AKey", "secret_file": f"{directory}/secret"}
    fields = ["authToken", "tokenSecret", "sessionHandle"]
    return {
        "version": 1,
        "listeners": {
            "api": {"host": "127.0.0.1", "port": port},
            "management": {"host": "127.0.0.1", "port": 0},
        },
        "sites": {
            "shop": {
                "api_key": "3_benchmark",
                "simulator": {
                    "url": f"https://localhost:{upstream}",
                    "ca_file": f"{directory}/ca.pem",
                },
                "partner_secret_files": [f"{directory}/secret"],
                "authentication": {"current": way},
            }
        },
        "authentication": [{"name": "tokens", "method": "static", "tokens": [token]}],
        "callers": [
            {
                "name": "crm",
                "identities": [{"via": "tokens", "subject": "crm"}],
                "grants": [{"site": "shop", "providers": ["twitter"], "fields": fields}],
            }
        ],
        "upstream": {"concurrency": 512, "queue": 1024, "per_uid": 5},
        "audit": {
            "key_files": [f"{directory}/audit"],
            "sinks": [{"name": "file", "type": "file", "path": f"{directory}/{port}.jsonl"}],
        },
        "logging": {"format": "json"},
    }


def serve(config: Path, engine: str) -> int:
    """Serve the product with one engine until SIGTERM."""
    from datetime import UTC, datetime  # noqa: PLC0415  # only in the child

    settings = load(
        config.read_bytes(), read_file=lambda file: Path(file).read_bytes(), now=datetime.now(UTC)
    ).settings
    log = Log(Path(os.devnull).open("w", encoding="utf-8"), form="json")
    world = World(dial=DIALS[engine])

    async def main() -> int:
        application = build(
            Parts(settings=settings, world=world, log=log, metrics=Metrics()), config_file=config
        )
        await application.start()
        return await server_of(application, settings, log=log).run()

    return run_process(main)


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def request() -> bytes:
    """Return the request as it goes over the wire."""
    body = json.dumps({"uid": USER.decode(), "provider": "twitter"}).encode()
    head = (
        "POST /v1/provider-tokens HTTP/1.1\r\nHost: proxy\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def prepare(directory: Path) -> None:
    """Write keys and certificates."""
    authority = Authority()
    (directory / "ca.pem").write_bytes(authority.pem)
    certificate = authority.certificate(["localhost", "127.0.0.1"])
    (directory / "gigya.pem").write_bytes(certificate.key + certificate.certificate)
    (directory / "secret").write_bytes(base64.b64encode(SECRET))
    (directory / "audit").write_bytes(base64.b64encode(bytes(range(100, 132))))
    (directory / "request").write_bytes(request())


def started(*command: str, pin: int) -> subprocess.Popen[str]:
    """Start a process of ours, pinned to one core."""
    line = ["taskset", "-c", str(pin), sys.executable, "-m", *command]
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own


def wait_for(*ports: int, seconds: float = 30.0) -> None:
    """Wait until something listens on each port; raises ``OSError`` after ``seconds``."""
    until = time.monotonic() + seconds
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


def burst(port: int, directory: Path, connections: int, seconds: float) -> dict[str, int]:
    """Load one server, from the other core."""
    line = [sys.executable, "-m", "tests.benchmark.load", str(port), str(directory / "request")]
    line += ["--connections", str(connections), "--seconds", str(seconds)]
    printed = subprocess.run(  # noqa: S603  # our own
        ["taskset", "-c", "1", *line],  # noqa: S607  # wherever it is
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    counts: dict[str, int] = json.loads(printed)
    return counts


def compare(rounds: int, seconds: float, connections: int) -> dict[str, list[float]]:
    """Return CPU microseconds a request, by engine, a value a round."""
    found: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        prepare(directory)
        gigya = started("tests.benchmark.gigya", name, "19443", pin=1)
        servers = {}
        for number, engine in enumerate(ENGINES):
            config = directory / f"{engine}.yaml"
            config.write_text(yaml.safe_dump(configuration(directory, 19443, 18080 + number)))
            servers[engine] = started(
                "tests.benchmark.engines", "--serve", engine, "--config", str(config), pin=0
            )
        try:
            wait_for(19443, *(18080 + number for number in range(len(ENGINES))))
            for round_number in range(rounds + 1):
                for number, engine in enumerate(ENGINES):
                    before = cpu(servers[engine].pid)
                    counts = burst(18080 + number, directory, connections, seconds)
                    used = (cpu(servers[engine].pid) - before) / counts["answered"] * 1e6
                    print(f"round {round_number} {engine:10} {used:7.0f} us {counts}", flush=True)
                    if round_number:  # the first is warm-up
                        found[engine].append(used)
        finally:
            for process in (gigya, *servers.values()):
                process.terminate()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=ENGINES)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=64)
    given = parser.parse_args()
    if given.serve:
        sys.exit(serve(given.config, given.serve))
    figures = compare(given.rounds, given.seconds, given.connections)
    for engine, values in figures.items():
        spread = f"{min(values):.0f}-{max(values):.0f}"
        print(f"{engine:10} median {statistics.median(values):.0f} us a request ({spread})")
