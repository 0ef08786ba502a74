"""Bad credentials at the composed service: one answer, byte for byte, and the truth on record."""

from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from service.callers.credentials import Presented
from tests.callers import issuer
from tests.callers.bad import BAD, SYNC_WORKER
from tests.callers.certificates import certificate
from tests.callers.composed import composed, present
from tests.callers.house import REVIEWED, STATIC_TOKEN, account_claims, bearer, oidc_claims
from tests.callers.issuer import token

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
