import asyncio
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest
from starlette.types import Receive, Scope

from service.api.answers import JsonAnswer
from service.api.recording import ENTRY, Recording
from service.audit.fingerprints import AuditKey, Keyring, new_key
from service.model import Uid
from service.secret import Secret
from service.simulator.knobs import Body, Seal
from service.wiring.observers import RESULTS
from tests.audit.collector import collector
from tests.audit.fakes import desk
from tests.audit.streams import verified
from tests.audit.test_record import VALIDATOR
from tests.house import (
    AUDIT_FILE,
    AUDIT_KEY,
    OTHER_TOKEN,
    TOKEN,
    House,
    Visitor,
    body,
    caller,
    grant,
    static,
)
from tests.observing.ways import WAYS, Go, with_an_issuer

KEY: Final = AuditKey.from_file(AUDIT_KEY)
PROVIDERS: Final = ("twitter", "facebook", "googleplus", "yahoo", "linkedin", "nobody", "")
SLOW_TOKEN: Final = "gcproxy_of-the-slow"  # made up
AT_ONCE: Final = 10

TROUBLES: Final[tuple[Mapping[str, Any], ...]] = (
    *({"error_code": code} for code in (403005, 403009, 400096, 403007, 404000)),
    *({"error_code": code} for code in (403048, 500001, 504001)),
    {"body": Body.HTML},
    {"seal": Seal.WRONG_KEY},
)
"""What Gigya does to one call."""


def trouble(way: Mapping[str, Any]) -> Go:
    """Ask for a user whose next call goes wrong at Gigya."""

    async def go(house: House, visitor: Visitor) -> None:
        house.simulator.knobs.turn(uid="user-google", times=1, **way)
        await visitor.ask(uid="user-google", provider="google", max_age=0)

    return go


MISHAPS: Final[tuple[Go, ...]] = (
    *(WAYS[outcome].go for outcome in (
        "answered", "no-session", "invalid-request", "unknown-provider", "request-timeout",
        "request-too-large", "unsupported-media-type", "not-found", "method-not-allowed",
        "reauthentication-required", "token-expiring", "authentication-unavailable", "caller-gone",
    )),
    lambda _, visitor: visitor.ask(token=SLOW_TOKEN),
    *(trouble(way) for way in TROUBLES),
)  # fmt: skip
"""Ways to each outcome that can happen among other requests."""
AT_LAST: Final = ("audit-unavailable", "internal-error", "shutting-down")
"""Outcomes that need a sink to be away, or after which no other comes."""


def request(dice: random.Random, uids: list[str]) -> dict[str, Any]:
    """Return a request that may be good in any way or bad in any way."""
    members: dict[str, Any] = {
        "uid": dice.choice([*uids, "sentinel-unknown-uid", *["user-everything"] * len(uids)]),
        "provider": dice.choice(PROVIDERS),
        "token": dice.choice([TOKEN, TOKEN, TOKEN, OTHER_TOKEN, "wrong", None]),
    }
    if dice.random() < 0.3:
        fields = ["authToken", "tokenSecret", "access_token", "oauth_token", "sentinel-field"]
        members["fields"] = dice.sample(fields, dice.randrange(1, 3))
    if dice.random() < 0.2:
        members["min_ttl"] = dice.choice([0, 60, 10**6])
    if dice.random() < 0.1:
        members["site"] = dice.choice(["shop", "sentinel-site"])
    if dice.random() < 0.1:
        members["context"] = {"x": "sentinel-context"}
    return members


def sentinels(house: House) -> Iterator[str]:
    """Yield every UID and every secret of the simulated Gigya and of our files."""
    for uid, connections in house.gigya.site.users.items():
        yield uid
        for connection in connections.values():
            yield from (connection.auth_token, connection.token_secret, connection.session_handle)
            yield connection.provider_uid
    yield from ("sentinel", TOKEN, OTHER_TOKEN, SLOW_TOKEN, AUDIT_KEY.decode())
    yield from (house.gigya.partner_secret, house.gigya.user_secret)


def of_every_kind(directory: Path) -> House:
    """Return a house in which every outcome can be had, with two sinks that must both accept."""
    house, much = House(directory), {"rate": 10**6, "burst": 10**6}
    with_an_issuer(house)
    house.settings["authentication"][0]["tokens"].append(static("slow", SLOW_TOKEN))
    for row in house.settings["callers"]:
        row["limits"] = {"in_flight": AT_ONCE}
    limits = {"rate": 1 / 60, "burst": 1}
    house.settings["callers"].append(caller("slow", grant(), limits=limits))
    api = {"max_in_flight": AT_ONCE // 2, "body_timeout": 0.05}
    house.settings |= {
        "limits": {"per_peer": much, "all_peers": dict(much)},
        "listeners": {"api": api},
        "upstream": {"attempts": 1},
    }
    path = str(directory / "collector.sock")
    house.settings["audit"]["sinks"].append(
        {"name": "collector", "type": "unix", "path": path, "deadline": 5}
    )
    house.settings["audit"]["accept"] = "all"
    return house


async def healed(visitor: Visitor) -> None:
    """Wait until every sink takes records."""
    async with asyncio.timeout(20):
        while (await visitor.ask()).status_code != 200:  # noqa: ASYNC110  # probes tell nobody
            await asyncio.sleep(0.02)


def counted(text: bytes) -> Iterator[int]:
    """Yield how many requests each aggregate counts."""
    for record in map(json.loads, text.splitlines()):
        if record["kind"] == "aggregate":
            yield from (row["count"] for row in record["counts"])


class Silent(httpx.AsyncBaseTransport):
    """A way to Gigya on which no answer comes."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.is_asked.set()
        await asyncio.Event().wait()
        raise AssertionError(request.method)


class TestWholeService:
    @pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.needs_tools)])
    async def test_every_outcome(self, count: int, tmp_path: Path) -> None:
        """The record of each answer names exactly its tokens, and no secret stands anywhere."""
        house, dice = of_every_kind(tmp_path), random.Random(count)
        uids = list(house.gigya.site.users)
        async with AsyncExitStack() as away, house.open() as visitor:
            answers = visitor.overheard()
            await away.enter_async_context(collector(tmp_path / "collector.sock"))
            await healed(visitor)
            for mishap in islice(cycle(MISHAPS), count // AT_ONCE):
                await mishap(house, visitor)
                requests = [request(dice, uids) for _ in range(AT_ONCE - 1)]
                await asyncio.gather(*(visitor.ask(**each) for each in requests))
            await WAYS["cancelled"].go(house, visitor)
            await away.aclose()
            for outcome in AT_LAST:
                await WAYS[outcome].go(house, visitor)
        text = (tmp_path / AUDIT_FILE).read_bytes()
        found = {r["audit_id"]: r for r in house.records()}
        without = [answer for answer in answers if answer.headers["audit-id"] not in found]
        assert {"rate-limited"} >= {answer.json()["code"] for answer in without}
        assert len(without) == sum(counted(text))
        for answer in answers:
            tokens = answer.json().get("tokens", {})
            record = found.get(answer.headers["audit-id"], {"status": answer.status_code})
            assert list(tokens) == record.get("names_released", [])
            assert answer.status_code == record["status"]
            expected = {n: KEY.of_token(Secret(v)) for n, v in tokens.items() if isinstance(v, str)}
            assert expected == record.get("tokens", {})
        assert set(RESULTS) == {r["outcome"] for r in found.values()}
        octets = text.decode()
        assert [] == [s for s in sentinels(house) if s and s in octets]
        for line in text.splitlines():
            VALIDATOR.validate(json.loads(line))
        verifier, findings = verified(text, keys=Keyring((KEY,)))
        assert (0, []) == (verifier.tampering, findings)

    async def test_user(self, tmp_path: Path) -> None:
        """A user's records can be found by the fingerprint of the UID."""
        house = House(tmp_path)
        async with house.open() as visitor:
            await visitor.ask()
        assert KEY.of_uid(Uid("user-twitter")) == house.records()[0]["user"]

    async def test_caller_goes_away(self, tmp_path: Path) -> None:
        """A caller that leaves before its request is whole leaves a record, and no user."""
        house = House(tmp_path)
        async with house.open() as visitor:
            await visitor.exchange(body(b'{"uid"', more=True), {"type": "http.disconnect"})
        record = house.records()[0]
        assert ("caller-gone", "crm") == (record["outcome"], record["caller"]["name"])
        assert not {"user", "tokens", "status"} & set(record)

    async def test_cancelled(self, tmp_path: Path) -> None:
        """A request that is cancelled while Gigya is asked leaves a record that says so."""
        house, silent = House(tmp_path), Silent()
        house.dial = lambda _: silent
        async with house.open() as visitor:
            task = asyncio.ensure_future(visitor.ask())
            await silent.is_asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        record = house.records()[0]
        assert ("cancelled", "allow") == (record["outcome"], record["decision"])
        assert "tokens" not in record

    async def test_bug(self) -> None:
        """A fault of ours, even after the caller is known, leaves a record of an internal error."""
        made = await desk()

        async def app(scope: Scope, _: Receive) -> JsonAnswer:
            scope[ENTRY].rule = "crm[0]"
            raise ZeroDivisionError

        recording = Recording(
            app,
            journal=made.journal,
            observe=lambda _: None,
            unexpected=lambda _, __: None,
            lifecycle=SimpleNamespace(is_closing=False),
            most_in_flight=1,
        )
        visitor = httpx.AsyncClient(transport=httpx.ASGITransport(recording), base_url="http://p")
        answer = await visitor.get("/")
        await made.journal.close()
        record = made.papers[0].records[1]
        found = [record[name] for name in ("outcome", "status", "rule", "audit_id")]
        assert ["internal-error", 500, "crm[0]", answer.headers["audit-id"]] == found

    async def test_over_its_limits(self, tmp_path: Path) -> None:
        """Of a caller far over its limits some refusals are recorded, and the others counted."""
        house = House(tmp_path)
        house.settings["callers"][0]["limits"] = {"rate": 1, "burst": 1}
        async with house.open() as visitor:
            for _ in range(100):
                await visitor.ask()
        outcomes = [r["outcome"] for r in house.records()]
        assert ["released", *["rate-limited"] * 20] == outcomes
        lines = [json.loads(line) for line in (tmp_path / AUDIT_FILE).read_bytes().splitlines()]
        counts = [count for r in lines if r["kind"] == "aggregate" for count in r["counts"]]
        said = {"outcome": "rate-limited", "reason": "limit-rate", "caller": "crm"}
        assert 79 == sum(c.pop("count") for c in counts)
        assert [said] * len(counts) == counts

    async def test_new_contents_of_a_key_file(self, tmp_path: Path) -> None:
        """New contents of the first key file write from then on, and nothing restarts."""
        house, newer = House(tmp_path), new_key(bytes)
        async with house.open() as visitor:
            await visitor.ask()
            house.files["/secrets/audit"] = newer
            await visitor.look()
            await visitor.ask()
        keys = Keyring((AuditKey.from_file(newer), KEY))
        wrote = [(r["hash"][:8], r["user"][:8]) for r in house.records()]
        assert [(KEY.id, KEY.id), (keys.newest.id, keys.newest.id)] == wrote
        assert [] == verified((tmp_path / AUDIT_FILE).read_bytes(), keys=keys)[1]

    async def test_another_list_of_key_files(self, tmp_path: Path) -> None:
        """Another list of key files waits for a restart and says so; the old key still writes."""
        house = House(tmp_path)
        async with house.open() as visitor:
            house.files["/secrets/newer"] = new_key(bytes)
            house.settings["audit"]["key_files"].insert(0, "/secrets/newer")
            house.write_configuration()
            await visitor.look()
            await visitor.ask()
        assert KEY.id == house.records()[0]["hash"][:8]
        told = [(line["name"], line["outcome"], line["detail"]) for line in house.lines("reload")]
        why = "restart-required: audit.key_files cannot be changed while running"
        assert [("configuration", "restart-required", why)] == told

    async def test_deleted_file(self, tmp_path: Path) -> None:
        """When the file is deleted, the next token has its record in a new file."""
        house = House(tmp_path)
        async with house.open() as visitor:
            await visitor.ask()
            (tmp_path / AUDIT_FILE).unlink()
            answer = await visitor.ask()
        assert answer.headers["audit-id"] in {r["audit_id"] for r in house.records()}

    async def test_no_sink(self, tmp_path: Path) -> None:
        """While no sink can be written there is no token, one answer, and readiness stays."""
        (tmp_path / AUDIT_FILE).mkdir()
        house = House(tmp_path)
        async with house.open() as visitor:
            answer = await visitor.ask()
            await asyncio.sleep(0.01)  # what readiness waits for at first is a task of its own
            ready = await visitor.manage("/readyz")
        assert (503, "audit-unavailable") == (answer.status_code, answer.json()["code"])
        assert 200 == ready.status_code
        assert 0 == house.simulator.calls.by_method["socialize.getSessionInfo"]
