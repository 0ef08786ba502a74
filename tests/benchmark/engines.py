"""Which engine below ``outbound``: aiohttp or pyreqwest, in the product's own path.

``python -m tests.benchmark.engines`` prints CPU of the server per request, interleaved rounds.
pyreqwest is not a dependency: ``pip install pyreqwest`` first.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from service.app import Parts, build
from service.cli.serve import server_of
from service.engine import Transport
from service.logs import Log
from service.metrics import Metrics
from service.server import run_process, settle_memory
from service.settings.load import load
from service.wiring.world import Peer, World, dial
from tests.benchmark.material import Material
from tests.benchmark.processes import free_port, module
from tests.benchmark.product import configuration
from tests.benchmark.rounds import loaded, started, upstream
from tests.benchmark.table import Form

ENGINES: Final = ("aiohttp", "pyreqwest")


def dial_pyreqwest(ca_file: str, peer: Peer) -> Transport:
    """Return pyreqwest's transport for ``peer``."""
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415  # not a dependency
    from pyreqwest.compatibility.httpx import HttpxTransport  # noqa: PLC0415  # likewise

    off: Any = False
    builder = ClientBuilder().http1_only().no_proxy().max_connections(peer.connections)
    builder = builder.gzip(off).brotli(off).deflate(off).zstd(off).follow_redirects(off)
    builder = builder.add_root_certificate_pem(Path(ca_file).read_bytes())
    transport: Transport = HttpxTransport(builder.build())
    return transport


def serve(config: Path, engine: str) -> int:
    """Serve the product with one engine until SIGTERM."""
    settings = load(
        config.read_bytes(), read_file=lambda file: Path(file).read_bytes(), now=datetime.now(UTC)
    ).settings
    ca_file = json.loads(config.read_bytes())["sites"]["shop"]["simulator"]["ca_file"]
    world = World(dial=dial if engine == "aiohttp" else partial(dial_pyreqwest, ca_file))
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        log = Log(nowhere, form="json")

        async def main() -> int:
            parts = Parts(settings=settings, world=world, log=log, metrics=Metrics())
            application = build(parts, config_file=config)
            await application.start()
            settle_memory()
            return await server_of(application, settings, log=log).run()

        return run_process(main)


def form(engine: str) -> Form:
    """Return the product on one engine as a form."""

    def command(material: Material, port: int, gigya: int) -> list[str]:
        settings = configuration(
            material, name=engine, port=port, management=free_port(), upstream=gigya
        )
        file = material.directory / f"{engine}.yaml"
        file.write_text(json.dumps(settings))
        return module("tests.benchmark.engines", "--serve", engine, "--config", file)

    return Form(name=engine, label=engine, command=command)


def compare(rounds: int, seconds: float) -> None:
    """Print CPU microseconds a request, round by round and in all."""
    found: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        material = Material(directory=Path(name))
        material.write()
        gigya = stack.enter_context(upstream(material))
        servers = [stack.enter_context(started(form(each), material, gigya)) for each in ENGINES]
        for number in range(rounds + 1):
            for server in servers:
                row = loaded(server, material, seconds=seconds)
                print(f"round {number}: {row}", flush=True)
                if number:  # the first is warm-up
                    found[server.form.name].append(row["cpu_us"])
    for engine, values in found.items():
        spread = f"{min(values):.0f}-{max(values):.0f}"
        print(f"{engine:10} median {statistics.median(values):.0f} us a request ({spread})")


def main() -> int:
    """Compare, or be one of the servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=ENGINES)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    if given.serve:
        return serve(given.config, given.serve)
    compare(given.rounds, given.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
