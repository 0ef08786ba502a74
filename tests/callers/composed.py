"""The composed service with every way in: the house of ``tests/house.py`` and the callers' net."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from starlette.types import Receive, Scope, Send

from service.app import Application
from service.callers.credentials import Presented
from service.callers.fetching import FetchFailed
from service.deadline import Deadline
from service.model import PEER_CERTIFICATE
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
from tests.house import House, grant, static
from tests.pki import SERVER, Authority

AUTHORITY: Final = Authority("callers")
SERVER_LEAF: Final = AUTHORITY.issue("proxy", purpose=SERVER)
TLS: Final = {
    "certificate_file": "/tls/certificate.pem",
    "key_file": "/tls/key.pem",
    "client_ca_file": "/tls/ca.pem",
}
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
    net: Net | None = None,
    authentication: Sequence[Mapping[str, Any]] = AUTHENTICATION,
    callers: Sequence[Mapping[str, Any]] | None = None,
) -> House:
    """Return a house whose callers come in by ``authentication``, on ``net``."""
    house = House(directory)
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
    house.settings["listeners"] = {"api": {"port": 0, "tls": dict(TLS)}, "management": {"port": 0}}
    return house


async def present(application: Application, shown: Presented) -> httpx.Response:
    """Ask for provider tokens as somebody who shows exactly ``shown``."""

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        if shown.certificate is not None:
            scope[PEER_CERTIFICATE] = shown.certificate
        await application.api(scope, receive, send)

    transport = httpx.ASGITransport(api, client=("192.0.2.9", 4712))
    headers = [(b"authorization", value) for value in shown.authorization]
    async with httpx.AsyncClient(transport=transport, base_url="https://proxy") as client:
        return await client.post("/v1/provider-tokens", json=ASK, headers=headers)
