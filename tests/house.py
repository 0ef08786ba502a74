"""The whole service in one process: real wiring, a simulated Gigya, files in memory."""

import asyncio
import hashlib
import io
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from starlette.types import Message, Scope

from service.app import Application, Parts, build
from service.deadline import Clock
from service.engine import Transport as Dialled
from service.logs import Log
from service.metrics import Metrics
from service.settings.load import load
from service.simulator import Seeded, Simulator, seeded
from service.simulator import build as build_gigya
from service.tracing import Tracer
from service.wiring.world import Peer, World

NOW: Final = 1_800_000_000.0
TOKEN: Final = "gcproxy_of-the-crm"  # made up
OTHER_TOKEN: Final = "gcproxy_of-the-newsletter"  # made up
AUDIT_KEY: Final = b"YXVkaXQta2V5LWF1ZGl0LWtleS1hdWRpdC1rZXktMDE="
CONFIG: Final = Path("/etc/proxy/config.yaml")
AUDIT_FILE: Final = "audit.jsonl"

Transport = Callable[[Peer], Dialled]


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - NOW


def static(name: str, token: str) -> dict[str, Any]:
    """Return the row of a static token."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    return {"subject": name, "sha256": digest, "expires": "2029-01-01T00:00:00Z"}


def caller(name: str, *grants: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return the row of a caller with a static token of the same name."""
    identities = [{"via": "tokens", "subject": name}]
    return {"name": name, "identities": identities, "grants": list(grants), **more}


def grant(*fields: str, site: str = "shop", providers: Any = "all", **more: Any) -> dict[str, Any]:
    """Return the row of a grant; without fields it is every field there is."""
    every = ("authToken", "tokenSecret", "sessionHandle", "providerUID")
    return {"site": site, "providers": providers, "fields": list(fields or every), **more}


def configuration(gigya: Seeded, directory: Path) -> dict[str, Any]:
    """Return a configuration with one site, two callers, and the audit in a file."""
    return {
        "version": 1,
        "sites": {
            "shop": {
                "api_key": gigya.api_key,
                "data_center": "us1",
                "partner_secret_files": ["/secrets/partner"],
                "authentication": {
                    "current": {
                        "method": "user_key",
                        "user_key": gigya.user_key,
                        "secret_file": "/secrets/user",
                    }
                },
            }
        },
        "authentication": [
            {
                "name": "tokens",
                "method": "static",
                "tokens": [static("crm", TOKEN), static("newsletter", OTHER_TOKEN)],
            }
        ],
        "callers": [
            caller("crm", grant()),
            caller("newsletter", grant("authToken", providers=["facebook", "twitter"])),
        ],
        "audit": {
            "key_files": ["/secrets/audit"],
            # A deadline that no busy machine misses: these tests are not about late sinks.
            "sinks": [
                {
                    "name": "file",
                    "type": "file",
                    "path": str(directory / AUDIT_FILE),
                    "deadline": 5,
                }
            ],
        },
        "logging": {"format": "json"},
    }


@dataclass(repr=False)
class House:
    """What a test may look at and change."""

    directory: Path
    time: Time = field(default_factory=Time)
    gigya: Seeded = field(default_factory=lambda: seeded(0, now=NOW))
    files: dict[str, bytes] = field(default_factory=dict)
    log: io.StringIO = field(default_factory=io.StringIO)
    metrics: Metrics = field(default_factory=Metrics)
    settings: dict[str, Any] = field(default_factory=dict)
    clock: Clock | None = None
    dial: Transport | None = None
    fraction: Callable[[], float] = random.random
    ahead: float = 0.0
    """Seconds by which Gigya's clock is ahead of ours."""
    tracer: Tracer | None = None

    def __post_init__(self) -> None:
        self.clock = self.clock or Clock(wall=self.time.wall, monotonic=self.time.monotonic)
        wall = self.clock.wall
        self.simulator: Simulator = build_gigya(
            self.gigya.world, clock=lambda: wall() + self.ahead, loopback_is_secure=True
        )
        self.files |= {
            "/secrets/partner": self.gigya.partner_secret.encode(),
            "/secrets/user": self.gigya.user_secret.encode(),
            "/secrets/user.pem": self.gigya.private_key_pem,
            "/secrets/audit": AUDIT_KEY,
        }
        self.settings = self.settings or configuration(self.gigya, self.directory)

    def read(self, path: Path) -> bytes:
        """Read one of the files in memory."""
        if str(path) not in self.files:
            raise FileNotFoundError
        return self.files[str(path)]

    def write_configuration(self) -> None:
        """Put the settings where the service reads them."""
        plain = json.loads(json.dumps(self.settings))  # what stands twice must not become an alias
        self.files[str(CONFIG)] = yaml.safe_dump(plain).encode()

    def build(self) -> Application:
        """Wire the service."""
        assert self.clock is not None
        self.write_configuration()
        world = World(
            clock=self.clock,
            read=self.read,
            dial=self.dial or self._in_process,
            fraction=self.fraction,
        )
        text = self.files[str(CONFIG)]
        now = datetime.fromtimestamp(self.time.now, UTC)
        loaded = load(text, read_file=lambda file: self.read(Path(file)), now=now)
        log = Log(self.log, level="debug", form="json")
        parts = Parts(
            settings=loaded.settings,
            world=world,
            log=log,
            metrics=self.metrics,
            tracer=self.tracer,
        )
        return build(parts, config_file=CONFIG)

    def _in_process(self, _: Peer) -> httpx.AsyncBaseTransport:
        return httpx.ASGITransport(self.simulator)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Visitor"]:
        """Start the service, and end it at the end of the block."""
        application = self.build()
        await application.start()
        application.lifecycle.began()
        try:
            yield Visitor(application)
        finally:
            await application.lifecycle.aclose()

    def records(self) -> list[dict[str, Any]]:
        """Return the audit's records of requests, oldest first."""
        text = (self.directory / AUDIT_FILE).read_text()
        return [r for r in map(json.loads, text.splitlines()) if r["kind"] == "request"]

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """Return the log's lines of one event."""
        return [
            li for li in map(json.loads, self.log.getvalue().splitlines()) if li["event"] == event
        ]


class Visitor:
    """A caller of the service in process."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self._api = httpx.AsyncClient(
            transport=httpx.ASGITransport(application.api, client=("192.0.2.7", 4711)),
            base_url="http://proxy",
        )
        self._management = httpx.AsyncClient(
            transport=httpx.ASGITransport(application.management), base_url="http://proxy"
        )

    async def look(self) -> None:
        """Have every watched file looked at, as SIGHUP and the next interval do."""
        watching: Any = self.application.lifecycle._beside[0]
        for watched in watching.__self__._watched:
            await watched.check()

    def overheard(self) -> list[httpx.Response]:
        """Return a list on which every answer of the API port to a client will be."""
        answers: list[httpx.Response] = []

        async def hear(answer: httpx.Response) -> None:
            await answer.aread()
            answers.append(answer)

        self._api.event_hooks = {"response": [hear]}
        return answers

    async def get(self, path: str, *, token: str | None = TOKEN) -> httpx.Response:
        """Ask the API port."""
        return await self._api.get(path, headers=_bearer(token))

    async def manage(self, path: str) -> httpx.Response:
        """Ask the management port."""
        return await self._management.get(path)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send any request to the API port."""
        return await self._api.request(method, path, **options)

    async def post(
        self, body: bytes, *, content_type: str = "application/json", token: str | None = TOKEN
    ) -> httpx.Response:
        """Ask for provider tokens with any octets."""
        headers = {"content-type": content_type, **_bearer(token)}
        return await self._api.post("/v1/provider-tokens", content=body, headers=headers)

    async def exchange(
        self,
        *messages: Message,
        method: str = "POST",
        path: str = "/v1/provider-tokens",
        headers: Mapping[str, str] | None = None,
    ) -> "Exchange":
        """Send one request message by message; after the last of them the caller is silent."""
        exchange = Exchange(list(messages))
        lines = {"content-type": "application/json", **_bearer(TOKEN), **(headers or {})}
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "scheme": "http",
            "client": ("192.0.2.7", 4711),
            "headers": [(k.encode(), v.encode("latin-1")) for k, v in lines.items() if v],
        }
        await self.application.api(scope, exchange.receive, exchange.send)
        return exchange

    async def ask(
        self, *, token: str | None = TOKEN, headers: Mapping[str, str] | None = None, **members: Any
    ) -> httpx.Response:
        """Ask for provider tokens."""
        body = {"uid": "user-twitter", "provider": "twitter", **members}
        return await self._api.post(
            "/v1/provider-tokens", json=body, headers={**_bearer(token), **(headers or {})}
        )


class Exchange:
    """What the server says and hears during one request."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self.sent: list[Message] = []
        self.is_silent = asyncio.Event()

    async def receive(self) -> Message:
        """Say what comes next; then wait for ever."""
        if self._messages:
            return self._messages.pop(0)
        self.is_silent.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        """Hear a message."""
        self.sent.append(message)

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers."""
        return {k.decode(): v.decode() for k, v in self.sent[0]["headers"]}

    def json(self) -> Any:
        """Return the answer's body."""
        return json.loads(b"".join(m.get("body", b"") for m in self.sent[1:]))


def body(octets: bytes, *, more: bool = False) -> Message:
    """Return the message that brings a body, or a part of one."""
    return {"type": "http.request", "body": octets, "more_body": more}


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}
