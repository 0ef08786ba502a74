"""The composed service with every way in: the house of ``tests/house.py`` and the callers' net."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from starlette.types import Receive, Scope, Send

from service.app import Application
from service.callers.fetching import FetchFailed
from service.cli.serve import server_of
from service.deadline import Clock, Deadline
from service.logs import Log
from service.model import PEER_CERTIFICATE, PEER_DISTRUSTED
from service.settings.load import load
from tests.callers.house import (
    API_SERVER,
    AUDIENCE,
    CLUSTER,
    DIRECTORY,
    EXPIRED_TOKEN,
    OIDC,
    OWN_TOKEN,
    REPLIES,
    REVIEWED,
    STATIC_TOKEN,
    Net,
)
from tests.callers.presented import Presented
from tests.house import AUDIT_FILE, CONFIG, House, Time, grant, static
from tests.pki import SERVER, Authority, Leaf, client_context

AUTHORITY: Final = Authority("callers")
SERVER_LEAF: Final = AUTHORITY.issue("proxy", purpose=SERVER)
TLS: Final = {
    "certificate_file": "/tls/certificate.pem",
    "key_file": "/tls/key.pem",
    "client_ca_file": "/tls/ca.pem",
}
FREE: Final = {"host": "127.0.0.1", "port": 0}
ASK: Final = {"uid": "user-facebook", "provider": "facebook"}

JWT: Final[dict[str, Any]] = {
    "name": "cluster",
    "method": "jwt",
    "kind": "service_account",
    "issuer": CLUSTER,
    "audiences": [AUDIENCE],
    "algorithms": ["RS256", "ES256"],
    "keys": {"discovery": True},
    "max_token_life": 86400,
}
REVIEW: Final[dict[str, Any]] = {
    "name": "reviewed",
    "method": "token_review",
    "issuer": REVIEWED,
    "audience": AUDIENCE,
    "api_server": API_SERVER,
    "ca_file": "/cluster/ca.pem",
    "token_file": "/cluster/token",
}
AUTHENTICATION: Final[list[dict[str, Any]]] = [
    {
        "name": "tokens",
        "method": "static",
        "tokens": [
            static("billing", STATIC_TOKEN),
            static("billing", EXPIRED_TOKEN) | {"expires": "2027-01-15T07:59:59Z"},
        ],
    },
    JWT,
    {
        "name": "idp",
        "method": "jwt",
        "kind": "oidc",
        "issuer": OIDC,
        "audiences": [AUDIENCE, "proxy"],
        "algorithms": ["EdDSA", "RS256"],
        "keys": {"jwks_uri": f"{OIDC}/keys"},
        "required_claims": {"tier": "gold"},
    },
    REVIEW,
    {"name": "mesh", "method": "mutual_tls", "identity": "spiffe", "trust_domain": "prod.example"},
]


def rows(directory: Mapping[Any, str]) -> list[dict[str, Any]]:
    """Return the callers of a directory of identities, each with every grant."""
    callers: dict[str, dict[str, Any]] = {}
    for identity, name in directory.items():
        row = callers.setdefault(name, {"name": name, "identities": [], "grants": [grant()]})
        row["identities"].append({"via": identity.via, "subject": identity.subject})
    return list(callers.values())


class Outside(httpx.AsyncBaseTransport):
    """Whatever the service may reach: Gigya, and what answers on ``net``."""

    def __init__(self, house: House, net: Net) -> None:
        self._net = net
        self._house = house
        self._gigya = httpx.ASGITransport(house.simulator)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer, or be unreachable."""
        if request.url.host.endswith("gigya.com"):
            return await self._gigya.handle_async_request(request)
        assert self._house.clock is not None
        deadline = Deadline.after(1, self._house.clock)
        body = await request.aread() or None
        try:
            status, headers, octets = await self._net.fetch(
                str(request.url), request.headers, body, deadline
            )
        except FetchFailed:
            raise httpx.ConnectError("unreachable") from None
        return httpx.Response(status, headers=dict(headers), content=octets, request=request)


def composed(
    directory: Path,
    *,
    house: House | None = None,
    net: Net | None = None,
    authentication: Sequence[Mapping[str, Any]] = AUTHENTICATION,
    callers: Sequence[Mapping[str, Any]] | None = None,
) -> House:
    """Return a house whose callers come in by ``authentication``, on ``net``."""
    house = house or House(directory)
    outside = Outside(house, net or Net(REPLIES))
    house.dial = lambda _: outside
    house.files |= {
        TLS["certificate_file"]: SERVER_LEAF.certificate,
        TLS["key_file"]: SERVER_LEAF.key,
        TLS["client_ca_file"]: AUTHORITY.pem,
        "/cluster/ca.pem": AUTHORITY.pem,
        "/cluster/token": OWN_TOKEN.encode(),
    }
    house.settings["authentication"] = [dict(row) for row in authentication]
    house.settings["callers"] = list(rows(DIRECTORY) if callers is None else callers)
    house.settings["listeners"] = {"api": {"tls": dict(TLS), **FREE}, "management": FREE}
    return house


async def present(
    application: Application, shown: Presented, *, peer: str = "192.0.2.9"
) -> httpx.Response:
    """Ask for provider tokens as somebody at ``peer`` who shows exactly ``shown``."""

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        if shown.certificate is not None:
            scope[PEER_CERTIFICATE] = shown.certificate
            scope[PEER_DISTRUSTED] = shown.is_distrusted
        await application.api(scope, receive, send)

    transport = httpx.ASGITransport(api, client=(peer, 4712))
    headers = [(b"authorization", value) for value in shown.authorization]
    async with httpx.AsyncClient(transport=transport, base_url="https://proxy") as client:
        return await client.post("/v1/provider-tokens", json=ASK, headers=headers)


class Moving:
    """The real clock, which a test can put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.clock = Clock(
            wall=lambda: time.time() + self.ahead, monotonic=lambda: time.monotonic() + self.ahead
        )

    def house(self, directory: Path) -> House:
        """Return a house whose time this is."""
        return House(directory, time=Time(time.time()), clock=self.clock)


@dataclass
class Running:
    """The service on real sockets."""

    house: House
    application: Application
    port: int
    directory: Path

    @asynccontextmanager
    async def client(self, leaf: Leaf | None) -> AsyncIterator[httpx.AsyncClient]:
        """Return a client that trusts our authority and shows ``leaf``."""
        context = client_context(AUTHORITY, leaf, self.directory)
        async with self.connect(context) as client:
            yield client

    def connect(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        """Return a client that speaks TLS by ``context``."""
        url = f"https://localhost:{self.port}"
        return httpx.AsyncClient(verify=context, base_url=url, trust_env=False, timeout=10)


@asynccontextmanager
async def serving(house: House) -> AsyncIterator[Running]:
    """Serve on free ports of loopback; after the block all that was recorded is written."""
    application = house.build()
    text = house.files[str(CONFIG)]
    settings = load(text, read_file=None, now=datetime.now(UTC)).settings
    server = server_of(application, settings, log=Log(house.log, level="debug", form="json"))
    await application.start()
    running = asyncio.create_task(server.run(signals=False))
    addresses = await server.started()
    try:
        yield Running(house, application, addresses.api.port, house.directory)
    finally:
        server.stop()
        server.stop()
        await running


def lines(house: House, kind: str) -> list[dict[str, Any]]:
    """Return the audit's records of one kind, oldest first."""
    text = (house.directory / AUDIT_FILE).read_text()
    return [r for r in map(json.loads, text.splitlines()) if r["kind"] == kind]


def counted(house: House, metric: str) -> dict[str, float]:
    """Return a metric's series that are not 0, by their labels as exposed."""
    name = f"credential_proxy_{metric}"
    rows = house.metrics.exposition().decode().splitlines()
    found = (row.rpartition(" ") for row in rows if row.startswith((name + "{", name + " ")))
    return {labels.removeprefix(name): float(value) for labels, _, value in found if float(value)}
