"""Bad credentials at the composed service: one answer, byte for byte, and the truth on record."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.callers import issuer
from tests.callers.bad import BAD, SYNC_WORKER
from tests.callers.certificates import certificate
from tests.callers.composed import FREE, composed, present, rows, serving
from tests.callers.house import (
    DIRECTORY,
    REVIEWED,
    STATIC_TOKEN,
    account_claims,
    bearer,
    oidc_claims,
)
from tests.callers.issuer import token
from tests.callers.presented import Presented

GOOD: Final[dict[str, tuple[Presented, str]]] = {
    "static": (bearer(STATIC_TOKEN), "billing-job"),
    "service account": (bearer(token(account_claims())), "crm-sync"),
    "reviewed": (bearer(token(account_claims(REVIEWED))), "crm-sync-elsewhere"),
    "oidc": (
        bearer(token(oidc_claims(), issuer.ED25519, alg="EdDSA", kid="ed")),
        "loyalty",
    ),
    "certificate": (Presented(certificate=certificate(SYNC_WORKER)), "crm-sync"),
    "certificate and token of one caller": (
        Presented(
            authorization=bearer(token(account_claims())).authorization,
            certificate=certificate(SYNC_WORKER),
        ),
        "crm-sync",
    ),
}


def answer(response: httpx.Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return all of an answer that may not differ: everything but the audit id."""
    audit_id = response.headers["audit-id"].encode()
    headers = [(k, v) for k, v in response.headers.raw if k != b"audit-id"]
    assert 1 == response.content.count(audit_id)
    return response.status_code, headers, response.content.replace(audit_id, b"ID")


class TestBadCredentials:
    async def test_all_get_one_answer(self, tmp_path: Path) -> None:
        """Byte-identical 401s apart from the audit id; the record alone tells the true reason."""
        house = composed(tmp_path)
        async with house.open() as visitor:
            answers = {n: await present(visitor.application, s) for n, (s, _) in BAD.items()}
        told = {answer(response)[:1] + answer(response)[2:] for response in answers.values()}
        headers = {tuple(answer(response)[1]) for response in answers.values()}
        recorded = dict(zip(BAD, (r.get("reason") for r in house.records()), strict=True))

        assert len(BAD) >= 45
        assert (1, 1) == (len(told), len(headers))
        assert 401 == next(iter(told))[0]
        assert [b"Bearer"] == [v for k, v in next(iter(headers)) if k == b"www-authenticate"]
        assert {name: str(reason) for name, (_, reason) in BAD.items()} == recorded

    async def test_their_records_hold_nothing_of_a_request(self, tmp_path: Path) -> None:
        """A refused request is on record as such: nobody's, nothing read of it, nothing done."""
        house = composed(tmp_path)
        async with house.open() as visitor:
            for shown, _ in BAD.values():
                await present(visitor.application, shown)
        found = {key for record in house.records() for key in record}

        assert not found & {"caller", "user", "site", "provider", "tokens", "released"}
        assert {"unauthenticated"} == {record["outcome"] for record in house.records()}
        assert {"192.0.2.9"} == {record["peer"] for record in house.records()}
        assert 0 == house.simulator.calls.total

    @pytest.mark.parametrize(("shown", "name"), GOOD.values(), ids=GOOD)
    async def test_good_ones_pass(self, tmp_path: Path, shown: Presented, name: str) -> None:
        """What differs from a bad one in the least thing is a caller's, and gets its tokens."""
        house = composed(tmp_path)
        async with house.open() as visitor:
            response = await present(visitor.application, shown)

        assert (200, name) == (response.status_code, house.records()[0]["caller"]["name"])


class TestUnknownIdentity:
    async def test_is_on_record(self, tmp_path: Path) -> None:
        """A good credential of nobody: the record names what to grant, by way and subject."""
        house = composed(tmp_path)
        async with house.open() as visitor:
            response = await present(visitor.application, BAD["subject unknown"][0])
        expected: dict[str, Any] = {"authentication": "idp", "subject": "nobody"}

        assert 401 == response.status_code
        assert expected == house.records()[0]["identity"]


BY_HEADER: Final = {
    name: shown.authorization
    for name, (shown, _) in BAD.items()
    if shown.certificate is None and not set(b"\r\n\0") & set(b"".join(shown.authorization))
}
"""What can be sent as a header at all."""


async def over_the_wire(port: int, headers: Sequence[bytes]) -> bytes:
    """Send Authorization headers as they are; return the whole answer but for its own marks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = b"".join(b"Authorization: %s\r\n" % header for header in headers)
    start = b"POST /v1/provider-tokens HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n"
    body = b'{"uid": "u", "provider": "facebook"}'
    more = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(start + lines + more + body)
    received = await reader.read()
    writer.close()
    [audit_id] = re.findall(rb"audit-id: ([0-9a-f]{32})\r\n", received)
    return re.sub(rb"date: [^\r]+", b"date: D", received).replace(audit_id, b"ID")


class TestOverTheWire:
    async def test_all_get_one_answer(self, tmp_path: Path) -> None:
        """On a real socket, too, every octet of the 401s is the same."""
        house = composed(tmp_path)
        by_token = [row for row in house.settings["authentication"] if row["name"] != "mesh"]
        house.settings["authentication"] = by_token
        house.settings["callers"] = rows({i: n for i, n in DIRECTORY.items() if i.via != "mesh"})
        house.settings["listeners"] = {"api": {**FREE}, "management": {**FREE}}
        async with serving(house) as running:
            answers = {await over_the_wire(running.port, h) for h in BY_HEADER.values()}
        reasons = [record["reason"] for record in house.records()]

        assert len(BY_HEADER) > 90
        assert 1 == len(answers)
        assert answers.pop().startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        assert [str(BAD[name][1]) for name in BY_HEADER] == reasons
