"""One caller for each request, however many credentials it brings."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from service.callers.credentials import Proof
from service.callers.refusals import Refusal
from service.callers.static import Row, Static
from service.errors import Unauthenticated
from service.model import Caller, CallerName, Identity
from tests.callers.certificates import certificate, uri
from tests.callers.house import (
    REVIEWED,
    STATIC_TOKEN,
    House,
    account_claims,
    bearer,
)
from tests.callers.issuer import token
from tests.callers.presented import Presented
from tests.virtual_time import EPOCH

SPIFFE: str = "spiffe://prod.example/ns/crm/sa/sync-worker"
CERTIFICATE: bytes = certificate(uri(SPIFFE))
TOKEN: str = token(account_claims())


class Asked:
    """A directory that counts how often it was asked."""

    def __init__(self, names: Mapping[Identity, CallerName]) -> None:
        self.names, self.times, self.edition = names, 0, object()

    def caller_of(self, identity: Identity) -> CallerName | None:
        """Look it up."""
        self.times += 1
        return self.names.get(identity)


class TestIdentify:
    @pytest.mark.parametrize(
        ("presented", "name", "via"),
        [
            (bearer(STATIC_TOKEN), "billing-job", "tokens"),
            (bearer(TOKEN), "crm-sync", "cluster"),
            (bearer(token(account_claims(REVIEWED))), "crm-sync-elsewhere", "reviewed"),
            (Presented(certificate=CERTIFICATE), "crm-sync", "mesh"),
        ],
        ids=["static", "jwt", "token_review", "mutual_tls"],
    )
    async def test_each_way(self, presented: Presented, name: str, via: str) -> None:
        """Each way proves an identity of its own, and the directory says whose it is."""
        caller = await House().identify(presented)

        assert (name, via) == (caller.name, caller.identity.via)

    @pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER ", b" Bearer   "])
    async def test_scheme_in_any_case(self, scheme: bytes) -> None:
        """Schemes do not care about case (RFC 9110, section 11.1), nor for more spaces."""
        presented = Presented(authorization=(scheme + STATIC_TOKEN.encode() + b" ",))

        assert "billing-job" == (await House().identify(presented)).name

    async def test_what_is_no_token68_is_refused_whoever_is_to_judge_it(self) -> None:
        """Also where its digest is known, and where nobody takes tokens."""
        house, expires = House(), datetime.fromtimestamp(EPOCH + 9, UTC)
        row = Row(subject="x", sha256=sha256(b"no token").digest(), expires=expires)
        knowing = Static(name="knowing", rows=[row], clock=house.hands.clock)

        for methods in ((), (knowing,), *((each,) for each in house.methods), house.methods):
            house.methods = methods
            with pytest.raises(Unauthenticated) as caught:
                await house.identify(bearer("no token"))
            assert Refusal.HEADER_MALFORMED == caught.value.reason

    async def test_two_credentials_of_one_caller(self) -> None:
        """Where two prove the same caller, the token names it and the sooner end holds."""
        presented = Presented(authorization=(b"Bearer " + TOKEN.encode(),), certificate=CERTIFICATE)

        assert Caller(
            name=CallerName("crm-sync"),
            identity=Identity(via="cluster", subject="crm/sync-worker"),
            namespace="crm",
            pod="sync-worker-7d9f",
            credential_expires_at=datetime.fromtimestamp(EPOCH + 600, UTC),
        ) == await House().identify(presented)

    async def test_names_the_identity_that_nobody_has(self) -> None:
        """A good credential of nobody goes into the record by name, so that it can be granted."""
        presented = Presented(certificate=certificate(uri("spiffe://prod.example/ns/x/sa/y")))
        with pytest.raises(Unauthenticated) as caught:
            await House().identify(presented)

        expected = Identity(via="mesh", subject="spiffe://prod.example/ns/x/sa/y")
        assert expected == caught.value.identity

    async def test_a_proof_that_is_kept_is_whose_the_rules_of_now_say(self) -> None:
        """Each policy is asked once about it; nobody's is asked about again."""
        identity = Identity(via="mesh", subject="x")
        proof, names = Proof(identity=identity, namespace=""), {identity: CallerName("crm")}
        old, new = Asked(names), Asked({identity: CallerName("sync")})

        assert "crm" == proof.caller(old).name == proof.caller(old).name
        assert "sync" == proof.caller(new).name
        assert ("crm", None) == (proof.caller(old).name, proof.caller(old).namespace)
        nobody = Asked({})
        for _ in range(2):
            with pytest.raises(Unauthenticated) as caught:
                proof.caller(nobody)
            assert identity == caught.value.identity
        assert [2, 1, 2] == [old.times, new.times, nobody.times]

    async def test_same_subject_by_another_way(self) -> None:
        """The way is part of the identity: another cluster's crm/sync-worker is another caller."""
        house = House()
        here = await house.identify(bearer(TOKEN))
        there = await house.identify(bearer(token(account_claims(REVIEWED))))

        assert here.identity.subject == there.identity.subject
        assert here.name != there.name

    async def test_asks_nobody_about_a_stranger(self) -> None:
        """Tokens of unknown issuers make no request to anybody."""
        house = House()
        with pytest.raises(Unauthenticated):
            await house.identify(bearer(token(account_claims("https://evil.example"))))

        assert [] == house.net.asked
