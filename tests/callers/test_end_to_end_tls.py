"""Mutual TLS at the composed service, with real handshakes: who is let in, and what is recorded."""

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from service.callers.refusals import Refusal
from tests.callers.composed import (
    ASK,
    AUTHORITY,
    Moving,
    Running,
    composed,
    counted,
    lines,
    serving,
)
from tests.house import TOKEN, House, caller, grant, static
from tests.pki import HOUR, NOW, SERVER, Authority, Leaf

WAYS: Final[list[dict[str, Any]]] = [
    {"name": "tokens", "method": "static", "tokens": [static("crm", TOKEN)]},
    {"name": "mesh", "method": "mutual_tls", "identity": "subject"},
]
CALLER: Final = AUTHORITY.issue("sync-worker")
STRANGER: Final = Authority("stranger")
BELOW: Final = Authority("below", under=STRANGER)
DAY: Final = timedelta(days=1)


def house(directory: Path, moving: Moving | None = None) -> House:
    """Return a house into which certificates and static tokens lead."""
    by_both = [{"via": "mesh", "subject": "CN=sync-worker"}, {"via": "tokens", "subject": "crm"}]
    rows = [caller("crm", grant()) | {"identities": by_both}]
    made = (moving or Moving()).house(directory)
    return composed(directory, house=made, authentication=WAYS, callers=rows)


BAD: Final[dict[str, tuple[Leaf | None, str]]] = {
    "none": (None, "no-certificate"),
    "of another authority": (STRANGER.issue("sync-worker"), "unknown-ca"),
    "of an unknown intermediate": (BELOW.issue("sync-worker"), "unknown-ca"),
    "expired": (AUTHORITY.issue(begin=NOW - DAY, end=NOW - HOUR), "certificate-expired"),
    "not yet valid": (
        AUTHORITY.issue(begin=NOW + HOUR, end=NOW + DAY),
        "certificate-not-yet-valid",
    ),
    "for servers": (AUTHORITY.issue("sync-worker", purpose=SERVER), "wrong-purpose"),
}


async def knock(running: Running, leaf: Leaf | None) -> None:
    """Shake hands, and see them refused: in TLS 1.3 that shows after the client's own part."""
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        async with running.client(leaf) as client:
            await client.post("/v1/provider-tokens", json=ASK)


class TestHandshake:
    @pytest.mark.parametrize(("leaf", "reason"), BAD.values(), ids=BAD)
    async def test_refusal_is_recorded_and_counted(
        self, tmp_path: Path, leaf: Leaf | None, reason: str
    ) -> None:
        """A bad chain, date, purpose or authority gets no answer, a record and a count."""
        made = house(tmp_path)
        async with serving(made) as running:
            await knock(running, leaf)
        [record] = lines(made, "tls-refused")

        assert ("127.0.0.1", reason) == (record["peer"], record["reason"])
        assert {f'{{reason="{reason}"}}': 1.0} == counted(made, "tls_refusals_total")
        assert [] == made.records()

    async def test_probes_are_only_counted(self, tmp_path: Path) -> None:
        """Whoever connects and leaves, as load balancers do, has shown nothing to record."""
        made = house(tmp_path)
        async with serving(made) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write_eof()
            await reader.read()
            writer.close()
            async with running.client(CALLER) as client:
                await client.post("/v1/provider-tokens", json=ASK)

        assert {'{reason="closed"}': 1.0} == counted(made, "tls_refusals_total")
        assert [] == lines(made, "tls-refused")

    async def test_flood_is_counted(self, tmp_path: Path) -> None:
        """Beyond the limits there is one record a second, which says how many and from whom."""
        made = house(tmp_path)
        made.settings["limits"] = {"per_peer": {"rate": 0.001, "burst": 2}}
        async with serving(made) as running:
            for _ in range(5):
                await knock(running, None)
            async with running.client(CALLER) as client:
                passed = (await client.post("/v1/provider-tokens", json=ASK)).status_code
        aggregates = lines(made, "aggregate")
        rows = [row for record in aggregates for row in record["counts"]]
        peers = [row for record in aggregates for row in record["peers"]]

        assert (2, 3) == (len(lines(made, "tls-refused")), sum(row["count"] for row in rows))
        assert {("tls-refused", "no-certificate")} == {(r["outcome"], r["reason"]) for r in rows}
        assert {"127.0.0.1": 3} == {"127.0.0.1": sum(r["count"] for r in peers if r["peer"])}
        assert 200 == passed


class TestCertificate:
    async def test_is_the_caller_s(self, tmp_path: Path) -> None:
        """A certificate that verifies and is a caller's is all that is needed."""
        made = house(tmp_path)
        async with serving(made) as running, running.client(CALLER) as client:
            response = await client.post("/v1/provider-tokens", json=ASK)
        known = made.records()[0]["caller"]

        assert 200 == response.status_code
        assert ("mesh", "CN=sync-worker") == (known["authentication"], known["subject"])

    async def test_of_nobody(self, tmp_path: Path) -> None:
        """One that verifies and is no caller's gets the common 401, and its name is on record."""
        made = house(tmp_path)
        leaf = AUTHORITY.issue("somebody")
        async with serving(made) as running, running.client(leaf) as client:
            response = await client.post("/v1/provider-tokens", json=ASK)
        record = made.records()[0]

        assert (401, Refusal.IDENTITY_UNKNOWN) == (response.status_code, record["reason"])
        assert {"authentication": "mesh", "subject": "CN=somebody"} == record["identity"]

    @pytest.mark.parametrize("token", [None, TOKEN], ids=["alone", "beside a good token"])
    async def test_expires_on_an_open_connection(self, tmp_path: Path, token: str | None) -> None:
        """``notAfter`` is judged with each request; a good token excuses nothing."""
        moving = Moving()
        made = house(tmp_path, moving)
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        async with serving(made) as running, running.client(CALLER) as client:
            statuses = []
            for _ in range(2):
                response = await client.post("/v1/provider-tokens", json=ASK, headers=headers)
                statuses.append(response.status_code)
                moving.ahead += HOUR.total_seconds() + 60

        assert [200, 401] == statuses
        assert Refusal.EXPIRED == made.records()[1]["reason"]
