"""The service as it is put together: from settings and a world to two applications."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.audit.chain import Head
from service.audit.exported import expected
from service.simulator.seeds import pem, throwaway_key
from service.watch import FileFault
from service.wiring.world import Peer
from tests.house import AUDIT_FILE, NOW, House

NEW = bytes(range(32))


def lines_of(house: House) -> list[dict[str, Any]]:
    """Return every record of the stream."""
    text = (house.directory / AUDIT_FILE).read_text()
    return [json.loads(line) for line in text.splitlines()]


class Changing(House):
    """A house where one file is another at the second look."""

    changes = ""

    def read(self, path: Path) -> bytes:
        found = super().read(path)
        if str(path) == self.changes:
            self.files[self.changes] = b"s3cret, not a key"
        return found


class TestBuild:
    @pytest.mark.parametrize("path", ["/secrets/partner", "/secrets/user", "/secrets/audit"])
    async def test_stops_at_a_file_that_changed_since_it_was_checked(
        self, path: str, tmp_path: Path
    ) -> None:
        """What the check has seen and the start does not find is a fault that quotes nothing."""
        house = Changing(tmp_path)
        house.changes = path

        with pytest.raises(FileFault) as fault:
            house.build()
        assert "s3cret" not in str(fault.value)
        assert fault.value.__cause__ is fault.value.__context__ is None

    async def test_opens_no_connection(self, tmp_path: Path) -> None:
        """Neither building nor starting nor ending asks anybody anything."""
        house = House(tmp_path)
        async with house.open() as visitor:
            assert 200 == (await visitor.manage("/metrics")).status_code

        assert 0 == house.simulator.calls.total

    async def test_connects_as_each_peer_is_known(self, tmp_path: Path) -> None:
        """A site is reached as upstream says, a simulator by its own CA file."""
        house = House(tmp_path)
        base = house.settings["sites"]["shop"]
        simulated = {k: v for k, v in base.items() if k != "data_center"}
        house.settings["sites"]["staging"] = {
            **simulated,
            "simulator": {"url": "http://127.0.0.1:9321"},
        }
        house.settings["upstream"] = {
            "concurrency": 7,
            "proxy_url": "http://proxy.example:3128",
            "proxy_credentials_file": "/secrets/proxy",
        }
        house.files["/secrets/proxy"] = b"us:old"
        peers: list[Peer] = []

        def dial(peer: Peer) -> httpx.AsyncBaseTransport:
            peers.append(peer)
            return httpx.ASGITransport(house.simulator)

        house.dial = dial
        proved: list[str] = []
        async with house.open() as visitor:
            for content in (b"us:new", b"broken"):
                house.files["/secrets/proxy"] = content
                await visitor.look()
                [credentials] = [p.proxy_credentials for p in peers if p.proxy_credentials]
                proved.append(credentials.value.authorization())

        assert [("http://proxy.example:3128", 7), (None, 7)] == [
            (peer.proxy_url, peer.connections) for peer in peers
        ]
        assert ["Basic dXM6bmV3"] * 2 == proved  # what is broken leaves the old in place
        assert "proxy-credentials:shop" in house.log.getvalue()


class TestLife:
    async def test_the_stream_begins_and_ends(self, tmp_path: Path) -> None:
        """The audit is opened before the first request and closed after the last."""
        house = House(tmp_path)
        async with house.open() as visitor:
            await visitor.ask()

        kinds = [line["kind"] for line in lines_of(house)]
        assert ("open", "request", "close") == (kinds[0], kinds[1], kinds[-1])
        assert lines_of(house)[-1]["hash"] in house.lines("audit-head")[-1]["head"]

    async def test_the_head_is_exported(self, tmp_path: Path) -> None:
        """The metrics say of one moment how far the stream is, in two numbers verify expects."""
        house = House(tmp_path)
        async with house.open() as visitor:
            for _ in range(3):
                await visitor.ask()
                exposed = house.metrics.exposition().decode()
                sequence, head = re.findall(
                    r"^\w+_audit_(?:sequence|head)\{.*\} (.+)$", exposed, re.MULTILINE
                )
                last = lines_of(house)[-1]
                known = Head(last["seq"], str(int(last["hash"].rpartition(":")[2][:12], 16)))
                assert expected(f"{float(sequence):.0f}:{head}") == known

    async def test_a_reload_rotates_the_stream(self, tmp_path: Path) -> None:
        """SIGHUP is for the file that was moved away as well as for what is watched."""
        house = House(tmp_path)
        async with house.open() as visitor:
            await visitor.ask()
            (tmp_path / AUDIT_FILE).rename(tmp_path / "moved.jsonl")
            visitor.application.reload()
            await visitor.ask()

        moved = [json.loads(x) for x in (tmp_path / "moved.jsonl").read_text().splitlines()]
        assert "released" in {line.get("outcome") for line in moved}
        assert [1] == [1 for line in lines_of(house) if line.get("outcome") == "released"]

    async def test_what_is_shutting_down_still_answers_the_management_port(
        self, tmp_path: Path
    ) -> None:
        """Refusing requests, the process is alive and can be measured."""
        async with House(tmp_path).open() as visitor:
            visitor.application.lifecycle.refuse()
            refused = await visitor.get("/openapi.json", token=None)
            alive = await visitor.manage("/livez")
            measured = await visitor.manage("/metrics")

        assert (503, 200, 200) == tuple(a.status_code for a in (refused, alive, measured))
        assert "shutting-down" == refused.json()["code"]


def new_partner_secret(house: House) -> None:
    secret = base64.b64encode(NEW).decode()
    house.gigya.world.change(house.gigya.api_key, partner_secrets=(secret,))
    house.files["/secrets/partner"] = secret.encode()


def new_user_secret(house: House) -> None:
    secret = base64.b64encode(NEW).decode()
    key = house.gigya.site.user_keys[house.gigya.user_key]
    house.gigya.world.change(
        house.gigya.api_key, user_keys={key.user_key: replace(key, secrets=(secret,))}
    )
    house.files["/secrets/user"] = secret.encode()


def new_rsa_key(house: House) -> None:
    private = throwaway_key(1)
    key = house.gigya.site.user_keys[house.gigya.user_key]
    house.gigya.world.change(
        house.gigya.api_key,
        user_keys={key.user_key: replace(key, public_keys=(private.public_key(),))},
    )
    house.files["/secrets/user.pem"] = pem(private)


class TestRotation:
    @pytest.mark.parametrize(
        ("rotate", "method", "file", "before"),
        [
            (new_partner_secret, "user_key", "secret_file", "undecryptable"),
            (new_user_secret, "user_key", "secret_file", "upstream-rejected"),
            (new_rsa_key, "bearer", "key_file", "upstream-rejected"),
        ],
        ids=["partner secret", "user secret", "RSA key"],
    )
    async def test_of_what_gigya_knows(
        self,
        rotate: Callable[[House], None],
        method: str,
        file: str,
        before: str,
        tmp_path: Path,
    ) -> None:
        """A key that Gigya replaced is refused until its file is seen, and then taken."""
        house = House(tmp_path)
        path = "/secrets/user.pem" if method == "bearer" else "/secrets/user"
        house.settings["sites"]["shop"]["authentication"]["current"] = {
            "method": method,
            "user_key": house.gigya.user_key,
            file: path,
        }
        house.settings["upstream"] = {"attempts": 1}
        async with house.open() as visitor:
            first = await visitor.ask()
            rotate(house)
            second = await visitor.ask()
            await visitor.look()
            third = await visitor.ask()

        assert (200, before, 200) == (
            first.status_code,
            second.json()["code"],
            third.status_code,
        )
        assert "replaced" in {line["outcome"] for line in house.lines("reload")}

    async def test_empties_the_cache(self, tmp_path: Path) -> None:
        """What was opened with an old key is not handed out after it was replaced."""
        house = House(tmp_path)
        house.settings["cache"] = {"enabled": True}
        async with house.open() as visitor:
            for _ in range(2):
                await visitor.ask()
            new_partner_secret(house)
            await visitor.look()
            told = (await visitor.ask()).json()

        assert told["cached"] is False
        assert 2 == house.simulator.calls.total

    async def test_of_the_audit_key(self, tmp_path: Path) -> None:
        """The newest key writes; the same user has another fingerprint under it."""
        house = House(tmp_path)
        house.settings["audit"]["key_files"] = ["/secrets/audit", "/secrets/audit-old"]
        house.files["/secrets/audit-old"] = house.files["/secrets/audit"]
        house.files["/secrets/audit"] = base64.b64encode(NEW)
        old = house.files["/secrets/audit-old"]
        async with house.open() as visitor:
            await visitor.ask()
            house.files["/secrets/audit"] = base64.b64encode(NEW[::-1])
            await visitor.look()
            await visitor.ask()

        first, second = (record["user"] for record in house.records())
        assert first != second
        assert first.partition(":")[0] != second.partition(":")[0]
        assert old == house.files["/secrets/audit-old"]

    async def test_to_something_faulty_changes_nothing(self, tmp_path: Path) -> None:
        """A file that cannot be used is told of once, and what was there goes on."""
        house = House(tmp_path)
        async with house.open() as visitor:
            good = dict(house.files)
            for path in ("/secrets/partner", "/secrets/user", "/secrets/audit"):
                house.files[path] = b"s3cret"
            await visitor.look()
            await visitor.look()
            served = await visitor.ask()
            house.files |= good
            await visitor.look()

        assert 200 == served.status_code
        told = [line["outcome"] for line in house.lines("reload")]
        assert ["faulty"] * 3 + ["healed"] * 3 == told
        assert "s3cret" not in house.log.getvalue()


class TestTime:
    async def test_is_one_for_all(self, tmp_path: Path) -> None:
        """Records, expiries and tokens' ends all go by the world's clock."""
        house = House(tmp_path)
        async with house.open() as visitor:
            house.time.now = NOW + 100
            told = (await visitor.ask(uid="user-google", provider="google")).json()
            house.time.now = NOW + 3 * 365 * 86_400
            late = await visitor.ask()

        assert 3500 == told["tokens"]["expires_in"]
        assert "2027-01-15T08:01:40.000000Z" == house.records()[0]["received_at"]
        assert 401 == late.status_code
        assert "expired" == house.records()[1]["reason"]


class TestReload:
    async def test_is_told(self, tmp_path: Path) -> None:
        """SIGHUP leaves a line, and so does each file that it puts aside."""
        house = House(tmp_path)
        async with house.open() as visitor:
            await visitor.ask()
            visitor.application.reload()
        [asked] = house.lines("reload-asked")
        [turned] = house.lines("audit-sink-noticed")

        assert (["file"], "rotated") == (asked["rotates"], turned["what"])
