"""The whole service on real sockets with everything switched on, and callers who do everything."""

import asyncio
import base64
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from service.cli.probe import Question, probed, tell
from service.cli.probe_checks import Shown
from service.cli.serve import server_of
from service.deadline import Clock
from service.logs import Log
from service.metrics import PROBE_METRICS, Metrics
from service.outbound import Outbound
from service.secret import Secret
from service.settings.load import load
from service.simulator import seeded
from service.simulator.knobs import Body
from tests.callers import issuer
from tests.callers.composed import AUTHORITY, SERVER_LEAF, TLS, Outside
from tests.callers.house import Net, ok
from tests.callers.issuer import jwk, key_set
from tests.house import CONFIG, OTHER_TOKEN, TOKEN, House, Time, caller, grant, static
from tests.pki import client_context

PROBER_TOKEN: Final = "gcproxy_of-the-prober"
ISSUER: Final = "https://issuer.example"
COMING: Final = base64.b64encode(bytes(range(32)))
"""The partner secret that is mounted before Gigya seals with it."""
PROVIDERS: Final = ("facebook", "twitter", "google", "linkedin", "vkontakte", "yahoo", "apple")
OWN_TLS: Final = {name: TLS[name] for name in ("certificate_file", "key_file")}
FREE: Final = {"host": "127.0.0.1", "port": 0}


def settings(house: House) -> None:
    """Switch everything on."""
    tokens = [static("crm", TOKEN), static("newsletter", OTHER_TOKEN)]
    jwt = {
        "name": "cluster",
        "method": "jwt",
        "kind": "oidc",
        "issuer": ISSUER,
        "audiences": ["proxy"],
        "algorithms": ["ES256"],
        "keys": {"jwks_uri": f"{ISSUER}/keys"},
    }
    house.settings["sites"]["shop"]["authentication"]["previous"] = {
        "method": "bearer",
        "user_key": house.gigya.user_key,
        "key_file": "/secrets/user.pem",
    }
    house.settings |= {
        "listeners": {"api": {"tls": OWN_TLS, **FREE}, "management": FREE},
        "shutdown": {"delay": 0, "drain": 2},
        "authentication": [
            {
                "name": "tokens",
                "method": "static",
                "tokens": [*tokens, static("prober", PROBER_TOKEN)],
            },
            jwt,
        ],
        "callers": [
            caller("crm", grant(), candidate_grants=[grant(providers=["facebook"])])
            | {
                "identities": [
                    {"via": "tokens", "subject": "crm"},
                    {"via": "cluster", "subject": "crm"},
                ]
            },
            caller(
                "newsletter",
                grant("authToken", providers=["facebook", "twitter"]),
                limits={"rate": 20, "burst": 40},
            ),
            caller("prober", grant("providerUID", providers=["twitter"])),
        ],
        "cache": {"enabled": True, "ttl": 2, "margin": 60},
    }
    house.settings["audit"]["sinks"].append(
        {"name": "collector", "type": "unix", "path": "/nowhere/collector.sock", "deadline": 1}
    )
    house.files |= {
        TLS["certificate_file"]: SERVER_LEAF.certificate,
        TLS["key_file"]: SERVER_LEAF.key,
        "/secrets/partner-to-come": COMING,
    }
    house.settings["sites"]["shop"]["partner_secret_files"].insert(0, "/secrets/partner-to-come")
    outside = Outside(house, Net({f"{ISSUER}/keys": ok(key_set(jwk(issuer.P256, "one")))}))
    house.dial = lambda _: outside


@dataclass
class Stage:
    """The service at work, and who works with it."""

    house: House
    api: int
    management: int
    prober: int
    client: httpx.AsyncClient
    probes: Metrics
    reload: Callable[[], None]

    async def ask(self, token: str | None = TOKEN, **members: Any) -> int:
        """Ask for provider tokens; return the status."""
        body = {"uid": "user-twitter", "provider": "twitter", **members}
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        with suppress(httpx.TimeoutException):
            answer = await self.client.post("/v1/provider-tokens", json=body, headers=headers)
            return answer.status_code
        return 0

    async def probe(self) -> None:
        """Probe once, as the prober does."""
        question = Question(
            url=str(self.client.base_url).rstrip("/"),
            site="shop",
            provider="twitter",
            uid="user-twitter",
        )
        credentials = {
            Shown.OWN: Secret(PROBER_TOKEN),
            Shown.NONE: None,
            Shown.MADE_UP: Secret("nobodys"),
            Shown.OTHER_AUDIENCE: Secret(_token(audience="another")),
        }
        transport = httpx.AsyncHTTPTransport(
            verify=client_context(AUTHORITY, None, self.house.directory)
        )
        outbound = Outbound(transport)
        findings = await probed(question, credentials, outbound, clock=_REAL)
        await outbound.aclose()
        tell(self.probes, "shop", findings, now=time.time())

    def configure(self, **sections: Any) -> None:
        """Change the configuration and have the service look at it."""
        self.house.settings.update(sections)
        self.house.write_configuration()
        self.reload()


async def release(stage: Stage) -> None:
    """Release something of somebody's."""
    provider = random.choice(PROVIDERS)
    await stage.ask(uid=f"user-{provider}", provider=provider)
    await stage.ask(OTHER_TOKEN, uid="user-facebook", provider="facebook")
    await stage.ask(_token(), uid="user-everything", provider=provider, max_age=0)


async def be_refused(stage: Stage) -> None:
    """Ask for what is not to be had."""
    await stage.ask(None)
    await stage.ask("made-up")
    await stage.ask(_token(audience="another"))
    await stage.ask(OTHER_TOKEN, provider="google")
    await stage.ask(provider="nonsense")
    await stage.ask(uid="user-nobody", max_age=0)
    await stage.ask(uid="user-expired")


async def hurry(stage: Stage) -> None:
    """Ask faster than is allowed."""
    await asyncio.gather(*(stage.ask(OTHER_TOKEN, provider="facebook") for _ in range(80)))


async def trouble(stage: Stage) -> None:
    """Have Gigya fail in several ways."""
    knobs = stage.house.simulator.knobs
    for ways in (
        {"error_code": 500001},
        {"error_code": 403048},
        {"body": Body.HTML},
        {"ignores": frozenset({"signIDs", "context"})},
    ):
        knobs.turn(times=1, **ways)
        await stage.ask(uid="user-everything", max_age=0, verify_provider_uid=True)


async def garble(stage: Stage) -> None:
    """Speak what is neither TLS nor HTTP."""
    for port in (stage.api, stage.management):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"this is nothing\r\n\r\n")
        with suppress(OSError):
            await reader.read()
        writer.close()


async def lose_the_audit_file(stage: Stage) -> None:
    """Delete the audit file, as a careless logrotate does."""
    (stage.house.directory / "audit.jsonl").unlink(missing_ok=True)
    await stage.ask()


EVERYTHING: Final[tuple[Callable[[Stage], Awaitable[None]], ...]] = (
    release,
    be_refused,
    hurry,
    trouble,
    garble,
    lose_the_audit_file,
    Stage.probe,
)

_REAL: Final = Clock(wall=time.time, monotonic=time.monotonic)


@asynccontextmanager
async def staged(
    directory: Path, change: Callable[[dict[str, Any]], None] = lambda _: None
) -> AsyncIterator[Stage]:
    """Serve on free ports of loopback, with a prober's metrics beside; ``change`` the settings."""
    now = time.time()
    house = House(directory, time=Time(now), clock=_REAL, gigya=seeded(0, now=now))
    settings(house)
    change(house.settings)
    application = house.build()
    loaded = load(house.files[str(CONFIG)], read_file=None, now=datetime.now(UTC)).settings
    log = Log(house.log, level="error", form="json")
    server = server_of(application, loaded, log=log)
    await application.start()
    running = asyncio.create_task(server.run(signals=False))
    addresses = await server.started()
    probes = Metrics(PROBE_METRICS)
    try:
        context = client_context(AUTHORITY, None, directory)
        url = f"https://localhost:{addresses.api.port}"
        async with httpx.AsyncClient(
            verify=context, base_url=url, trust_env=False, timeout=15
        ) as client:
            yield Stage(
                house=house,
                api=addresses.api.port,
                management=addresses.management.port,
                prober=probes.serve(0),
                client=client,
                probes=probes,
                reload=application.reload,
            )
    finally:
        server.stop()
        server.stop()
        await running


def _token(*, audience: str = "proxy") -> str:
    now = int(time.time())
    claims: Mapping[str, Any] = {
        "iss": ISSUER,
        "sub": "crm",
        "aud": audience,
        "iat": now,
        "nbf": now,
        "exp": now + 600,
    }
    return issuer.token(claims)
