"""The service as a process between a real Gigya and real callers: TLS on both sides, files on disk.

Files are mounted as Kubernetes does it: a link named ``..data`` is swapped, and all change at once.
"""

import asyncio
import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from service.simulator import Seeded, Simulator, build, seeded
from service.simulator.running import serving
from service.simulator.tls import Authority, Certificate
from tests.house import AUDIT_FILE, AUDIT_KEY, TOKEN, caller, configuration, grant
from tests.pki import Authority as CallersAuthority
from tests.pki import Leaf

HEALTHY: Final = (
    ("shop", "user-twitter", "twitter"),
    ("shop", "user-facebook", "facebook"),
    ("blog", "user-google", "google"),
    ("blog", "user-twitter", "twitter"),
    ("club", "user-facebook", "facebook"),
    ("club", "user-linkedin", "linkedin"),
    ("desk", "user-twitter", "twitter"),
)
"""Site, UID and provider of the requests that must never fail."""

SUBJECT: Final = "crm-worker"
LATER: Final = datetime.now(UTC) + timedelta(days=1)

PATIENCE: Final = 30.0
"""Seconds after which something that should have happened has not."""


class Mount:
    """A directory of files that change together."""

    def __init__(self, directory: Path, **files: bytes) -> None:
        self.directory = directory
        self.files = files
        self._number = 0
        directory.mkdir()
        self.swap()
        for name in files:
            (directory / name).symlink_to(f"..data/{name}")

    def path(self, name: str) -> str:
        """Return where one of the files is."""
        return str(self.directory / name)

    def swap(self, **changes: bytes) -> None:
        """Put new contents in place, at once."""
        self.files |= changes
        self._number += 1
        new = self.directory / f"..{self._number}"
        new.mkdir()
        for name, octets in self.files.items():
            (new / name).write_bytes(octets)
        link = self.directory / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self.directory / "..data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What could leak of a process; no pod trims its memory, so it shows what stands there, too."""

    untrimmed: int
    octets: int
    tasks: int
    descriptors: int


@dataclass(eq=False)
class Place:
    """Everything at work, and what a script may do with it."""

    gigya: Seeded
    simulator: Simulator
    gigya_tls: ssl.SSLContext
    gigya_authority: Authority
    mount: Mount
    audit: Path
    audit_keys: list[bytes] = field(default_factory=lambda: [AUDIT_KEY])
    """All that there were, the newest first."""
    callers_tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    """Whom the callers trust, and the certificate by which they are known."""
    process: asyncio.subprocess.Process = field(init=False)
    ports: dict[str, int] = field(default_factory=dict)
    reloads: Counter[str] = field(default_factory=Counter)
    lines: list[dict[str, Any]] = field(default_factory=list)
    _said: "asyncio.Queue[dict[str, int]]" = field(default_factory=asyncio.Queue)
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def size(self) -> Size:
        """Ask the process for its size."""
        self.process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(PATIENCE):
            return Size(**await self._said.get())

    async def reload(self, *names: str, **changes: bytes) -> None:
        """Swap files, and wait until the service has taken those that it calls ``names``."""
        wanted = {name: self.reloads[name] + 1 for name in names}
        self.mount.swap(**changes)
        self.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE), self._heard:
            await self._heard.wait_for(lambda: all(self.reloads[n] >= wanted[n] for n in wanted))

    def show(self, leaf: Leaf) -> None:
        """Have the callers show another certificate from their next handshake on."""
        file = self.mount.directory / "caller.pem"
        file.touch(mode=0o600)
        file.write_bytes(leaf.key + leaf.certificate)
        self.callers_tls.load_cert_chain(file)

    def audit_files(self) -> list[Path]:
        """Return the audit's files, in no order."""
        return sorted(self.audit.parent.glob(f"{self.audit.name}*"))

    async def manage(self, path: str) -> httpx.Response:
        """Ask the management port."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"http://127.0.0.1:{self.ports['management']}{path}")

    def client(self) -> httpx.AsyncClient:
        """Return a caller."""
        return httpx.AsyncClient(
            base_url=f"https://localhost:{self.ports['api']}",
            verify=self.callers_tls,
            headers={"authorization": f"Bearer {TOKEN}"},
            timeout=PATIENCE,
            trust_env=False,
        )

    async def started(self) -> None:
        """Wait until it listens."""
        said = asyncio.ensure_future(self._said.get())
        ended = asyncio.ensure_future(self.process.wait())
        await asyncio.wait({said, ended}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        assert said.done(), self.lines
        self.ports = said.result()

    async def listen(self) -> None:
        """Read what the process logs."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                said = json.loads(line)
            except ValueError:
                said = {"event": line.decode("utf-8", "replace")}
            if said["event"] != "request":
                self.lines.append(said)
            if said["event"] == "reload" and said["outcome"] == "replaced":
                async with self._heard:
                    self.reloads[said["name"]] += 1
                    self._heard.notify_all()

    async def hear(self) -> None:
        """Read what the process tells."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self._said.put_nowait(json.loads(line))


def is_whole(place: Place) -> bool:
    """Whether ``audit verify`` finds the chain whole and closed."""
    options = []
    for number, key in enumerate(place.audit_keys):
        file = place.mount.directory / f"audit-key-{number}"
        file.write_bytes(key)
        options.append(f"--key-file={file}")
    command = [sys.executable, "-m", "service", "audit", "verify", *options]
    command += map(str, place.audit_files())
    ended = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  # our own
    return ended.returncode == 0


def new_secret() -> bytes:
    """Return a secret as the console gives it: base64 of 32 octets."""
    return base64.b64encode(os.urandom(32))


def certificate(authority: Authority) -> Certificate:
    """Return a certificate for this machine."""
    return authority.certificate(("localhost", "127.0.0.1"))


def load_into(context: ssl.SSLContext, made: Certificate, directory: Path) -> None:
    """Have a server's ``context`` show another certificate from its next handshake on."""
    file = directory / "chain.pem"
    file.touch(mode=0o600)
    file.write_bytes(made.key + made.certificate)
    context.load_cert_chain(file)


@asynccontextmanager
async def placed(directory: Path, **settings: Any) -> AsyncIterator[Place]:
    """Run everything for as long as the block lasts; the service may end sooner."""
    gigya = seeded(0, now=time.time())
    authority, callers_authority, callers_own = Authority(), Authority(), CallersAuthority("first")
    made = certificate(callers_authority)
    mount = Mount(
        directory / "secrets",
        **{
            "partner": gigya.partner_secret.encode(),
            "partner-older": new_secret(),
            "user": gigya.user_secret.encode(),
            "user-older": gigya.user_secret.encode(),
            "user.pem": gigya.private_key_pem,
            "user-older.pem": gigya.private_key_pem,
            "audit": AUDIT_KEY,
            "audit-older": new_secret(),
            "ca": authority.pem,
            "tls.crt": made.certificate,
            "tls.key": made.key,
            "clients.crt": callers_own.pem,
        },
    )
    simulator = build(gigya.world)
    context = certificate(authority).context()
    place = Place(
        gigya=gigya,
        simulator=simulator,
        gigya_tls=context,
        gigya_authority=authority,
        mount=mount,
        audit=directory / AUDIT_FILE,
    )
    place.callers_tls.load_verify_locations(cadata=callers_authority.pem.decode())
    place.show(callers_own.issue(SUBJECT, end=LATER))
    async with serving(simulator, context=context) as address:
        config = directory / "config.yaml"
        url = f"https://localhost:{address.port}"
        config.write_text(json.dumps(_settings(place, url, directory) | settings))
        async with _process(place, config):
            yield place


@asynccontextmanager
async def _process(place: Place, config: Path) -> AsyncIterator[None]:
    place.process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.resilience.service_process", str(config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    ears: list[Callable[[], Awaitable[None]]] = [place.hear, place.listen]
    listening = [asyncio.ensure_future(ear()) for ear in ears]
    try:
        await place.started()
        yield
    finally:
        if place.process.returncode is None:
            place.process.kill()
        await place.process.wait()
        await asyncio.gather(*listening)


def _settings(place: Place, url: str, directory: Path) -> dict[str, Any]:
    path, user_key = place.mount.path, place.gigya.user_key
    settings = configuration(place.gigya, directory)
    shop = settings["sites"].pop("shop")
    del shop["data_center"]
    shop |= {
        "simulator": {"url": url, "ca_file": path("ca")},
        "partner_secret_files": [path("partner"), path("partner-older")],
    }

    def site(method: str, key: str, current: str, previous: str) -> dict[str, Any]:
        ways = [
            {"method": method, "user_key": user_key, key: path(file)}
            for file in (current, previous)
        ]
        return {**shop, "authentication": {"current": ways[0], "previous": ways[1]}}

    secret = ("secret_file", "user", "user-older")
    settings["sites"] = {
        "shop": site("user_key", *secret),
        "blog": site("bearer", "key_file", "user.pem", "user-older.pem"),
        "club": site("oauth2", *secret),
        "desk": site("user_key_signed", *secret),
    }
    settings["authentication"].append(
        {"name": "mesh", "method": "mutual_tls", "identity": "subject"}
    )
    crm = caller("crm", *(grant(site=name) for name in settings["sites"]))
    crm["identities"].append({"via": "mesh", "subject": f"CN={SUBJECT}"})
    settings["callers"] = [crm]
    settings["audit"]["key_files"] = [path("audit"), path("audit-older")]
    settings["audit"]["sinks"][0]["deadline"] = 1.5
    tls = {
        "certificate_file": path("tls.crt"),
        "key_file": path("tls.key"),
        "client_ca_file": path("clients.crt"),
    }
    settings["listeners"] = {
        "api": {"host": "127.0.0.1", "port": 0, "tls": tls},
        "management": {"host": "127.0.0.1", "port": 0},
    }
    return settings
