"""Files swapped under load: certificates, authorities, key sets, our own token, callers."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from service.app import Application
from service.wiring.world import dial
from tests.callers import issuer
from tests.callers.composed import (
    ASK,
    AUTHORITY,
    JWT,
    REVIEW,
    SERVER_LEAF,
    TLS,
    Moving,
    Running,
    composed,
    counted,
    lines,
    serving,
)
from tests.callers.house import (
    AUDIENCE,
    CLUSTER,
    OIDC,
    REVIEWED,
    Net,
    account_claims,
    oidc_claims,
    review_of,
)
from tests.callers.issuer import jwk, key_set, token
from tests.house import CONFIG, House, grant
from tests.pki import HOUR, NOW, SERVER, Authority, Leaf

NEXT: Final = Authority("next callers")
PATIENCE: Final = 20.0
"""Seconds after which a test that waits for an event has failed."""

LEAF: Final = AUTHORITY.issue("sync-worker")
NEXT_LEAF: Final = NEXT.issue("sync-worker")
BOTH: Final = AUTHORITY.pem + NEXT.pem
KEYS_FILE: Final = "/cluster/keys.json"
API_CA: Final = "/cluster/ca.pem"
ISSUER_CA: Final = "/idp/ca.pem"
REFRESH: Final = 60.0
"""Seconds after which the issuer's keys are fetched again."""

IDP: Final[dict[str, Any]] = {
    "name": "idp",
    "method": "jwt",
    "kind": "oidc",
    "issuer": OIDC,
    "audiences": [AUDIENCE],
    "algorithms": ["ES256"],
    "keys_refresh": REFRESH,
}


def trusting(leaf: Leaf, directory: Path) -> ssl.SSLContext:
    """Return what a caller uses that shows ``leaf`` and trusts both authorities."""
    context = ssl.create_default_context(cadata=BOTH.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    file = directory / f"{hash(leaf)}.pem"
    file.write_bytes(leaf.certificate + leaf.key)
    context.load_cert_chain(file)
    return context


class Outside:
    """Reviews tokens and shows an issuer's keys over real TLS; its certificate can be replaced."""

    def __init__(self, directory: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.shown: Counter[str] = Counter()
        self.keys = key_set(jwk(issuer.P256, "one"))
        self._directory = directory
        self.show(AUTHORITY)

    def show(self, authority: Authority) -> None:
        """Use a certificate of ``authority`` for connections from now on."""
        leaf = authority.issue("outside", purpose=SERVER)
        file = self._directory / "outside.pem"
        file.write_bytes(leaf.certificate + leaf.key)
        self.context.load_cert_chain(file)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        """Serve, and give the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        status, told = self._answer(head[0], headers, body)
        start = f"HTTP/1.1 {status}\r\nContent-Length: {len(told)}\r\nConnection: close\r\n\r\n"
        writer.write(start.encode() + told)
        await writer.drain()
        writer.close()

    def _answer(self, line: str, headers: Mapping[str, str], body: bytes) -> tuple[str, bytes]:
        if line.startswith("get /keys "):
            return "200 OK", self.keys
        self.shown[headers["authorization"]] += 1
        return "201 Created", review_of(body)[2]


class Callers:
    """A caller that keeps asking in several ways; everything that it gets is counted."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.leaf = LEAF
        self.key, self.kid = issuer.P256, "one"
        self.issuer_s_key, self.issuer_s_kid = issuer.P256, "one"
        self.got: Counter[str] = Counter()
        self._is_done = False
        self._rounds = 0
        self._came = asyncio.Condition()

    async def more(self, rounds: int = 2) -> None:
        """Wait until it has asked in all its ways so many times more."""
        until = self._rounds + rounds + 1  # the round that is under way may be of before
        async with self._came:
            await self._came.wait_for(lambda: self._rounds >= until)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Keep asking until something holds."""
        while not holds():
            await self.more(1)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator["Callers"]:
        """Ask during the block."""
        task = asyncio.create_task(self._ask())
        try:
            async with asyncio.timeout(PATIENCE):
                await self.more()
                yield self
                await self.more()
        finally:
            self._is_done = True
            await task

    async def _ask(self) -> None:
        while not self._is_done:
            leaf = self.leaf
            async with self._connect() as kept:
                while leaf is self.leaf and not self._is_done:
                    await self._round(kept)

    async def _round(self, kept: httpx.AsyncClient) -> None:
        async with self._connect() as fresh:
            await asyncio.gather(
                self._once("kept", kept),
                self._once("fresh", fresh),
                self._once("by keys", kept, self._token(CLUSTER)),
                self._once("by review", kept, self._token(REVIEWED)),
                self._once("by issuer", kept, self._token_of_issuer()),
            )
        async with self._came:
            self._rounds += 1
            self._came.notify_all()

    def _connect(self) -> httpx.AsyncClient:
        return self.running.connect(trusting(self.leaf, self.running.directory))

    def _token(self, iss: str) -> str:
        now = self._now
        claims = account_claims(iss, iat=now - 1, nbf=now - 1, exp=now + 600)
        return token(claims, self.key, kid=self.kid)

    def _token_of_issuer(self) -> str:
        claims = oidc_claims(iat=self._now - 1, exp=self._now + 600)
        return token(claims, self.issuer_s_key, kid=self.issuer_s_kid)

    @property
    def _now(self) -> float:
        clock = self.running.house.clock
        assert clock is not None
        return clock.wall()

    async def _once(self, way: str, client: httpx.AsyncClient, text: str | None = None) -> None:
        headers = {} if text is None else {"authorization": f"Bearer {text}"}
        try:
            response = await client.post("/v1/provider-tokens", json=ASK, headers=headers)
            self.got[f"{way}: {response.status_code}"] += 1
        except httpx.TransportError as error:
            self.got[f"{way}: {type(error).__name__}"] += 1


WAYS: Final = ("kept", "fresh", "by keys", "by review", "by issuer")
ALL_WELL: Final = {f"{way}: 200" for way in WAYS}
SUBJECTS: Final = {"mesh": "CN=sync-worker", "cluster": "crm/sync-worker", "idp": "loyalty"}
IDENTITIES: Final = [{"via": via, "subject": subject} for via, subject in SUBJECTS.items()]
CRM: Final = {
    "name": "crm",
    "identities": [*IDENTITIES, {"via": "reviewed", "subject": "crm/sync-worker"}],
    "grants": [grant()],
}


def ways(port: int) -> list[dict[str, Any]]:
    """Return the ways in: a certificate, keys in a file, API server and issuer over real TLS."""
    there = f"https://localhost:{port}"
    return [
        {"name": "mesh", "method": "mutual_tls", "identity": "subject"},
        JWT | {"keys": {"file": KEYS_FILE}},
        REVIEW | {"api_server": there, "cache": 0},
        IDP | {"keys": {"jwks_uri": f"{there}/keys"}, "ca_file": ISSUER_CA},
    ]


class Swap:
    """The house with the service running in it under load, and what can be swapped."""

    def __init__(self, moving: Moving, house: House, outside: Outside, callers: Callers) -> None:
        self.house, self.outside, self.callers = house, outside, callers
        self._moving = moving

    async def put(self, name: str, files: Mapping[str, bytes], outcome: str = "replaced") -> None:
        """Replace files, and wait until the watch named ``name`` says what became of it."""
        series = f'{{name="{name}",outcome="{outcome}"}}'
        before = counted(self.house, "reloads_total").get(series, 0)
        self.house.files |= files
        self.application.reload()
        await self.callers.until(
            lambda: counted(self.house, "reloads_total").get(series, 0) > before
        )
        await self.callers.more()

    async def refetch(self, event: str) -> None:
        """Let the issuer's keys grow old, and wait until a fetch of them has ended in ``event``."""
        series = f'{{event="{event}",name="idp"}}'
        before = counted(self.house, "authentication_events_total").get(series, 0)
        self._moving.ahead += REFRESH + 1
        await self.callers.until(
            lambda: counted(self.house, "authentication_events_total").get(series, 0) > before
        )
        await self.callers.more()

    async def configure(self, outcome: str = "replaced", **changes: Any) -> None:
        """Replace the configuration's file by one that differs in ``changes``."""
        plain = json.loads(json.dumps(self.house.settings | changes))  # without aliases
        text = yaml.safe_dump(plain).encode()
        await self.put("configuration", {str(CONFIG): text}, outcome)

    @property
    def application(self) -> Application:
        """The running application."""
        return self.callers.running.application


async def server_certificate(swap: Swap) -> None:
    """Replace our certificate and key, twice, the second time by another authority's."""
    for authority in (AUTHORITY, NEXT):
        leaf = authority.issue("proxy", purpose=SERVER)
        pair = {TLS["certificate_file"]: leaf.certificate, TLS["key_file"]: leaf.key}
        await swap.put("tls", pair)


async def half_a_pair(swap: Swap) -> None:
    """Replace our certificate before our key: what does not fit together is not taken."""
    leaf = AUTHORITY.issue("proxy", purpose=SERVER)
    await swap.put("tls", {TLS["certificate_file"]: leaf.certificate}, "faulty")
    await swap.put("tls", {TLS["key_file"]: leaf.key})


async def expired_certificate(swap: Swap) -> None:
    """Replace our certificate by one that is over: the good one stays."""
    leaf = AUTHORITY.issue("proxy", purpose=SERVER, end=NOW - HOUR / 2)
    pair = {TLS["certificate_file"]: leaf.certificate, TLS["key_file"]: leaf.key}
    await swap.put("tls", pair, "faulty")
    line = swap.house.lines("reload")[-1]
    assert f"{TLS['certificate_file']}: the certificate has expired" == line["detail"]


async def client_authority(swap: Swap) -> None:
    """Move callers from one authority to the next: both are trusted for a while."""
    await swap.put("tls", {TLS["client_ca_file"]: BOTH})
    swap.callers.leaf = NEXT_LEAF
    await swap.callers.more()
    await swap.put("tls", {TLS["client_ca_file"]: NEXT.pem})


async def signing_key(swap: Swap) -> None:
    """Rotate the cluster's key: the next one is in the set before it signs."""
    old, new = jwk(issuer.P256, "one"), jwk(issuer.OTHER_P256, "two")
    await swap.put("keys:cluster", {KEYS_FILE: key_set(old, new)})
    swap.callers.key, swap.callers.kid = issuer.OTHER_P256, "two"
    await swap.callers.more()
    await swap.put("keys:cluster", {KEYS_FILE: key_set(new)})
    await swap.put("keys:cluster", {KEYS_FILE: b"{}"}, "faulty")
    line = swap.house.lines("reload")[-1]
    assert f"{KEYS_FILE}: not a key set" == line["detail"]


async def signing_key_in_use(swap: Swap) -> None:
    """Sign with a key that came a moment ago: an unknown one has the file looked at."""
    old, new = jwk(issuer.P256, "one"), jwk(issuer.OTHER_P256, "two")
    swap.house.files[KEYS_FILE] = key_set(old, new)
    swap.callers.key, swap.callers.kid = issuer.OTHER_P256, "two"
    await swap.callers.more()


async def fetched_key(swap: Swap) -> None:
    """Rotate the issuer's key: the next one is fetched before it signs, the old one goes."""
    old, new = jwk(issuer.P256, "one"), jwk(issuer.OTHER_P256, "two")
    swap.outside.keys = key_set(old, new)
    await swap.refetch("keys-replaced")
    swap.callers.issuer_s_key, swap.callers.issuer_s_kid = issuer.OTHER_P256, "two"
    await swap.callers.more()
    swap.outside.keys = key_set(new)
    await swap.refetch("keys-replaced")


async def fetched_key_in_use(swap: Swap) -> None:
    """Sign with a key that the issuer has shown for a moment: an unknown one is fetched."""
    old, new = jwk(issuer.P256, "one"), jwk(issuer.OTHER_P256, "two")
    swap.outside.keys = key_set(old, new)
    swap.callers.issuer_s_key, swap.callers.issuer_s_kid = issuer.OTHER_P256, "two"
    await swap.callers.more()


async def issuer_away(swap: Swap) -> None:
    """Let the issuer show keys by an authority that nobody trusts: those that are known go on."""
    await swap.put("authority:idp", {ISSUER_CA: NEXT.pem})
    await swap.refetch("keys-failed")
    await swap.put("authority:idp", {ISSUER_CA: BOTH})
    await swap.refetch("keys-unchanged")


async def issuer_authority(swap: Swap) -> None:
    """Move the issuer from one authority to the next."""
    await swap.put("authority:idp", {ISSUER_CA: BOTH})
    await swap.put("authority:reviewed", {API_CA: BOTH})  # the same certificate is shown there
    swap.outside.show(NEXT)
    await swap.refetch("keys-unchanged")
    await swap.put("authority:idp", {ISSUER_CA: NEXT.pem})
    await swap.refetch("keys-unchanged")


async def api_server_authority(swap: Swap) -> None:
    """Move the API server from one authority to the next."""
    await swap.put("authority:reviewed", {API_CA: BOTH})
    swap.outside.show(NEXT)
    await swap.callers.more()
    await swap.put("authority:reviewed", {API_CA: NEXT.pem})


async def own_token(swap: Swap) -> None:
    """Let the kubelet renew our own token: the next question is asked with it."""
    swap.house.files["/cluster/token"] = b"renewed"
    await swap.callers.more()
    assert swap.outside.shown["bearer renewed"] > 0


async def callers(swap: Swap) -> None:
    """Add a caller, change limits and grants of others, and take it away again."""
    other = CRM | {"name": "other", "identities": [{"via": "cluster", "subject": "web/shop"}]}
    for rows in ([CRM, other], [CRM | {"limits": {"rate": 100_000, "burst": 100_000}}], [CRM]):
        await swap.configure(callers=rows)


async def faulty_callers(swap: Swap) -> None:
    """Spoil the callers file in every way: what cannot be used changes nothing."""
    for rows in (
        None,
        [CRM | {"grants": [grant(site="nowhere")]}],
        [CRM, CRM],
        [CRM | {"identities": [{"via": "cluster", "subject_pattern": "*"}]}],
    ):
        await swap.configure("faulty", callers=rows)
    await swap.put("configuration", {str(CONFIG): b"version: 1\n\t"}, "faulty")
    await swap.configure("healed")


async def more_than_callers(swap: Swap) -> None:
    """Change more than ``callers``: that is refused whole, its callers too."""
    upstream = {"deadline": 9}
    stranger = CRM | {"identities": [{"via": "cluster", "subject": "web/shop"}]}
    await swap.configure("restart-required", callers=[stranger], upstream=upstream)
    [line] = [li for li in swap.house.lines("reload") if li["outcome"] == "restart-required"]
    told = "restart-required: upstream.deadline cannot be changed while running"
    assert told == line["detail"].removeprefix(f"{CONFIG}: ")
    assert {'{name="configuration"}': 1.0} == counted(swap.house, "restart_required")
    assert {} == counted(swap.house, "reload_faulty")
    await swap.configure("healed")
    assert {} == counted(swap.house, "restart_required")


SWAPS: Final[Sequence[Callable[[Swap], Awaitable[None]]]] = (
    server_certificate,
    half_a_pair,
    expired_certificate,
    client_authority,
    signing_key,
    signing_key_in_use,
    fetched_key,
    fetched_key_in_use,
    issuer_away,
    issuer_authority,
    api_server_authority,
    own_token,
    callers,
    faulty_callers,
    more_than_callers,
)


@asynccontextmanager
async def under_load(directory: Path) -> AsyncIterator[Swap]:
    """Run the service on real sockets with callers that keep asking in every way."""
    moving, outside = Moving(), Outside(directory)
    async with outside.open() as port:
        house = composed(
            directory,
            house=moving.house(directory),
            net=Net({}),
            authentication=ways(port),
            callers=[CRM],
        )
        house.files |= {KEYS_FILE: key_set(jwk(issuer.P256, "one")), ISSUER_CA: AUTHORITY.pem}
        gigya = house.dial
        assert gigya is not None
        house.dial = lambda peer: dial(peer) if peer.trust is not None else gigya(peer)
        async with serving(house) as running:
            moving.ahead += 11  # the first fetch is over: an unknown key is looked up at once
            async with Callers(running).asking() as asking:
                yield Swap(moving, house, outside, asking)


class TestSwaps:
    @pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
    async def test_nothing_fails(
        self, tmp_path: Path, swap: Callable[[Swap], Awaitable[None]]
    ) -> None:
        """While files are swapped, no request fails that should pass, by whichever way it comes."""
        async with under_load(tmp_path) as load:
            await swap(load)
            got = load.callers.got

        assert ALL_WELL == set(got), got
        assert [] == lines(load.house, "tls-refused")

    async def test_a_start_is_no_reload(self, tmp_path: Path) -> None:
        """The first look at files that are as they were loaded says nothing."""
        async with under_load(tmp_path) as load:
            load.application.reload()
            await load.callers.more()

        assert {} == counted(load.house, "reloads_total")
        assert SERVER_LEAF.certificate == load.house.files[TLS["certificate_file"]]


class Hidden(House):
    """A house whose configuration cannot be read while it is hidden."""

    is_hidden = True

    def read(self, path: Path) -> bytes:
        """Read as the world does."""
        if self.is_hidden and path == CONFIG:
            raise FileNotFoundError
        return super().read(path)


class TestStart:
    async def test_the_file_is_gone_again(self, tmp_path: Path) -> None:
        """What happened to the configuration since it was loaded is told by the first look."""
        house = Hidden(tmp_path)
        async with house.open() as visitor:
            await visitor.look()
            served = await visitor.ask()
            house.is_hidden = False
            await visitor.look()
        told = [line["outcome"] for line in house.lines("reload")]

        assert (200, ["faulty", "replaced"]) == (served.status_code, told)


class TestShutOut:
    async def test_by_callers(self, tmp_path: Path) -> None:
        """Whoever is taken out of ``callers`` is nobody with the next request after the reload."""
        async with under_load(tmp_path) as load:
            others = [{"via": "cluster", "subject": "web/shop"}]
            await load.configure(callers=[CRM | {"identities": others}])
            load.callers.got.clear()
            await load.callers.more()
            got = set(load.callers.got)

        assert {f"{way}: 401" for way in WAYS} == got
        assert "identity-unknown" == load.house.records()[-1]["reason"]

    async def test_by_signing_key(self, tmp_path: Path) -> None:
        """A key that is taken out of the file proves nothing from the reload on."""
        async with under_load(tmp_path) as load:
            other = key_set(jwk(issuer.OTHER_P256, "two"))
            await load.put("keys:cluster", {KEYS_FILE: other})
            load.callers.got.clear()
            await load.callers.more()
            got = set(load.callers.got)

        assert (ALL_WELL - {"by keys: 200"}) | {"by keys: 401"} == got

    async def test_by_authority(self, tmp_path: Path) -> None:
        """A removed authority trusts nobody: not who is new, and not who was let in before."""
        async with under_load(tmp_path) as load:
            old = load.callers.running.connect(trusting(LEAF, tmp_path))
            await old.post("/v1/provider-tokens", json=ASK)
            await client_authority(load)
            last = await old.post("/v1/provider-tokens", json=ASK)
            with pytest.raises((httpx.TransportError, ssl.SSLError)):
                await old.post("/v1/provider-tokens", json=ASK)
            await old.aclose()
            got = load.callers.got

        assert (401, "close") == (last.status_code, last.headers["connection"])
        [refused] = [each for each in load.house.records() if each["outcome"] != "released"]
        assert "certificate-distrusted" == refused["reason"]
        assert ["unknown-ca"] == [record["reason"] for record in lines(load.house, "tls-refused")]
        assert ALL_WELL == set(got)
