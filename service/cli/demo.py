"""``demo``: a simulated Gigya, this service in front of it, and what a caller sees."""

import argparse
import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from service.app import Parts, build
from service.audit.fingerprints import new_key
from service.cli.serve import server_of
from service.cli.token import OCTETS, new_token
from service.deadline import Deadline
from service.engine import open_transport
from service.logs import Log
from service.metrics import Metrics
from service.outbound import Answer, Outbound
from service.server import run_process
from service.settings.load import load
from service.settings.schema import Settings
from service.simulator import Seeded, seeded, serving
from service.simulator import build as build_simulator
from service.wiring.world import REAL, World

SHOWN: Final = ("facebook", "twitter", "vkontakte")
"""One provider of each family of names."""

SECONDS: Final = 10.0
"""What one call may take."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="show the service at work on a simulated Gigya",
        description="Needs nothing: throwaway keys, free ports on this machine, no network.",
    )
    parser.add_argument(
        "--once", action="store_true", help="exit after the calls instead of serving on"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show it; return the exit status."""
    with TemporaryDirectory(prefix="gigya-credential-proxy-") as directory:
        with suppress(KeyboardInterrupt):
            return run_process(lambda: _demonstrate(Path(directory), once=args.once))
        return 0


async def _demonstrate(directory: Path, *, once: bool) -> int:
    gigya = seeded(os.urandom(8).hex(), now=time.time())
    token = new_token(os.urandom(OCTETS))
    simulator = build_simulator(gigya.world, clock=time.time, loopback_is_secure=True)
    async with serving(simulator) as address:
        config_file = _write(directory, gigya, token=token, simulator_url=address.url)
        lines = (directory / "log.jsonl").open("w", buffering=1, encoding="utf-8")
        log = Log(lines, form="json")
        parts = Parts(settings=_load(config_file), world=World(), log=log, metrics=Metrics())
        application = build(parts, config_file=config_file)
        await application.start()
        server = server_of(application, parts.settings, log=log)
        serving_proxy = asyncio.create_task(server.run())
        try:
            where = await server.started()
            demo = _Demo(f"http://127.0.0.1:{where.api.port}", token, directory)
            async with aclosing(demo):
                print(*demo.opening(), sep="\n")
                is_good = [await demo.show(provider) for provider in SHOWN]
                await demo.show_refusal()
            if not once:
                print(*demo.closing(where.management.port), sep="\n", flush=True)
                await asyncio.shield(serving_proxy)
        finally:
            if not serving_proxy.done():
                server.stop()
                await serving_proxy
    return 0 if all(is_good) else 1


def as_called(program: str) -> str:
    """Return how this command was called, to be pasted into the same directory's shell."""
    name = Path(program).name
    return program if name == "gigya-credential-proxy" else f"{sys.executable} -m service"


class _Demo:
    """The caller of the demonstration, who shows what it sends and what it gets."""

    def __init__(self, url: str, token: str, directory: Path) -> None:
        self._url = f"{url}/v1/provider-tokens"
        self._base = url
        self._token = token
        self._directory = directory
        self._outbound = Outbound(open_transport(connections=1))

    def opening(self) -> Iterator[str]:
        """Yield what is going on."""
        yield "A simulated Gigya, gigya-credential-proxy in front of it, and a caller named crm."
        yield "Only the proxy holds the partner secret; the caller has a token of its own."

    async def show(self, provider: str) -> bool:
        """Ask for one provider's tokens; return whether they came."""
        answer = await self._ask({"uid": f"user-{provider}", "provider": provider})
        return answer.status == OK

    async def show_refusal(self) -> None:
        """Ask for what is not granted."""
        print("\nWhat is not granted is refused, and the refusal says what is missing:")
        await self._ask({"uid": "user-xing", "provider": "xing"})

    async def aclose(self) -> None:
        """Go."""
        await self._outbound.aclose()

    def closing(self, management_port: int) -> Iterator[str]:
        """Yield what to type next."""
        body = json.dumps({"uid": "user-google", "provider": "google"})
        yield "\nIt goes on serving until Ctrl-C. In another terminal:"
        yield f"  export TOKEN={self._token}"
        yield f'  curl -s {self._url} -H "Authorization: Bearer $TOKEN" \\'
        yield f"       -H 'Content-Type: application/json' -d '{body}'"
        yield f'  curl -s {self._base}/v1/grants -H "Authorization: Bearer $TOKEN"'
        yield f"  curl -s http://127.0.0.1:{management_port}/metrics"
        yield f"  {as_called(sys.argv[0])} audit show {self._directory}/audit.jsonl"
        yield f"The configuration it runs with: {self._directory}/config.yaml"

    async def _ask(self, members: Mapping[str, Any]) -> Answer:
        body = json.dumps(members)
        print(f"\nPOST {self._url}\nAuthorization: Bearer {self._token[:12]}…\n{body}")
        answer = await self._outbound.send(
            "POST",
            self._url,
            headers={
                "authorization": f"Bearer {self._token}",
                "content-type": "application/json",
            },
            body=body.encode(),
            deadline=Deadline.after(SECONDS, REAL),
        )
        print(f"→ {answer.status}\n{json.dumps(json.loads(answer.body), indent=2)}")
        return answer


OK: Final = 200


def _write(directory: Path, gigya: Seeded, *, token: str, simulator_url: str) -> Path:
    """Write keys and configuration as an operator would; return the configuration's path."""
    files = {
        "partner.key": gigya.partner_secret.encode(),
        "user.pem": gigya.private_key_pem,
        "audit.key": new_key(os.urandom),
    }
    for name, octets in files.items():
        (directory / name).touch(mode=0o600)
        (directory / name).write_bytes(octets)
    config_file = directory / "config.yaml"
    config_file.write_text(
        yaml.safe_dump(
            _configuration(directory, gigya, token=token, simulator_url=simulator_url),
            sort_keys=False,
        ),
        "utf-8",
    )
    return config_file


def _configuration(
    directory: Path, gigya: Seeded, *, token: str, simulator_url: str
) -> dict[str, Any]:
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    digest = hashlib.sha256(token.encode()).hexdigest()
    static = {"subject": "crm", "sha256": digest, "expires": expires.isoformat()}
    bearer = {
        "method": "bearer",
        "user_key": gigya.user_key,
        "key_file": str(directory / "user.pem"),
    }
    grant = {
        "site": "shop",
        "providers": [*SHOWN, "google"],
        "fields": ["authToken", "tokenSecret", "sessionHandle"],
    }
    return {
        "version": 1,
        "listeners": {name: {"host": "127.0.0.1", "port": 0} for name in ("api", "management")},
        "shutdown": {"delay": 0, "drain": 5},
        "sites": {
            "shop": {
                "api_key": gigya.api_key,
                "simulator": {"url": simulator_url},
                "partner_secret_files": [str(directory / "partner.key")],
                "authentication": {"current": bearer},
            }
        },
        "authentication": [{"name": "tokens", "method": "static", "tokens": [static]}],
        "callers": [
            {
                "name": "crm",
                "identities": [{"via": "tokens", "subject": "crm"}],
                "grants": [grant],
            }
        ],
        "audit": {
            "key_files": [str(directory / "audit.key")],
            "sinks": [{"name": "file", "type": "file", "path": str(directory / "audit.jsonl")}],
        },
    }


def _load(config_file: Path) -> Settings:
    return load(
        config_file.read_bytes(),
        read_file=lambda file: Path(file).read_bytes(),
        now=datetime.now(UTC),
    ).settings
