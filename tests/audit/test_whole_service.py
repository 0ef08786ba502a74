import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from service.api.recording import ENTRY, Recording
from service.audit.fingerprints import AuditKey, Keyring, new_key
from service.model import Uid
from service.secret import Secret
from tests.audit.fakes import desk
from tests.audit.streams import verified
from tests.audit.test_record import VALIDATOR
from tests.house import AUDIT_FILE, AUDIT_KEY, OTHER_TOKEN, TOKEN, House, Visitor, body

KEY: Final = AuditKey.from_file(AUDIT_KEY)
CODES: Final = (403005, 403009, 400096, 403007, 404000)
PROVIDERS: Final = ("twitter", "facebook", "googleplus", "yahoo", "linkedin", "nobody", "")


def request(dice: random.Random, uids: list[str]) -> dict[str, Any]:
    """Return a request that may be good in any way or bad in any way."""
    members: dict[str, Any] = {
        "uid": dice.choice([*uids, "sentinel-unknown-uid"]),
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
    yield from ("sentinel", TOKEN, OTHER_TOKEN, AUDIT_KEY.decode())
    yield from (house.gigya.partner_secret, house.gigya.user_secret)


async def asked(visitor: Visitor, house: House, dice: random.Random, uids: list[str]) -> Any:
    if dice.random() < 0.05:
        house.simulator.knobs.turn(error_code=dice.choice(CODES), times=1)
    return await visitor.ask(**request(dice, uids))


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
        house, dice = House(tmp_path), random.Random(count)
        much = {"rate": 10**6, "burst": 10**6}
        house.settings["limits"] = {"per_peer": much, "all_peers": dict(much)}
        uids = list(house.gigya.site.users)
        answers = []
        async with house.open() as visitor:
            for _ in range(count // 10):
                work = [asked(visitor, house, dice, uids) for _ in range(10)]
                answers += await asyncio.gather(*work)
        text = (tmp_path / AUDIT_FILE).read_bytes()
        found = {r["audit_id"]: r for r in house.records()}
        assert count == len(found)
        for answer in answers:
            record = found[answer.headers["audit-id"]]
            tokens = answer.json().get("tokens", {})
            assert list(tokens) == record.get("names_released", [])
            assert answer.status_code == record["status"]
            expected = {n: KEY.of_token(Secret(v)) for n, v in tokens.items() if isinstance(v, str)}
            assert expected == record.get("tokens", {})
        assert len({r["outcome"] for r in found.values()}) >= 6
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

        async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  # ASGI
            scope[ENTRY].rule = "crm[0]"
            raise ZeroDivisionError

        recording = Recording(
            app,
            journal=made.journal,
            observe=lambda _: None,
            unexpected=lambda _, __: None,
            is_closing=lambda: False,
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
