"""One caller for each request, however many credentials it brings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.callers.credentials import Bearer, Credentials, Judgement, Proof
from service.callers.refusals import Refusal
from service.callers.static import Row, Static
from service.callers.table import identify
from service.deadline import Deadline
from service.errors import Unauthenticated
from service.model import Caller, CallerName, Identity
from tests.callers.certificates import certificate, uri
from tests.callers.house import (
    REVIEWED,
    STATIC_TOKEN,
    Hands,
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


UNKNOWN = {"bearer": Refusal.BEARER_UNKNOWN, "certificate": Refusal.CERTIFICATE_UNKNOWN}
KINDS = tuple(UNKNOWN)


@dataclass(kw_only=True)
class Judge:
    """A method that takes some kinds for its own, and proves them or refuses, at once or later."""

    name: str
    takes: frozenset[str]
    is_awaited: bool
    refuses: bool
    asked: list[str] = field(default_factory=list)

    def authenticate(self, credentials: Credentials, deadline: Deadline) -> Judgement | None:
        """Judge one credential."""
        del deadline
        kind = "certificate" if credentials.bearer is None else "bearer"
        self.asked.append(kind)
        if kind not in self.takes:
            return None
        return self._later() if self.is_awaited else self._proof()

    def _proof(self) -> Proof:
        if self.refuses:
            raise Unauthenticated(self.name)
        return Proof(identity=Identity(via=self.name, subject="x"))

    async def _later(self) -> Proof:
        return self._proof()


class Everybody:
    """A directory in which each identity is the same caller's."""

    edition = "the only one"

    def caller_of(self, _: Identity) -> CallerName | None:
        """Return the caller."""
        return CallerName("crm")


async def outcome(judges: list[Judge], shown: Credentials) -> str:
    """Return by which judge somebody is identified, or which refused."""
    try:
        caller = await identify(judges, shown, Everybody(), Deadline.after(1, Hands().clock))
    except Unauthenticated as error:
        return f"refused: {error.reason}"
    return caller.identity.via


def first_word(judges: list[Judge], kind: str) -> tuple[str, bool]:
    """Return what the first judge says that takes the kind for its own, and whether it refuses."""
    for judge in judges:
        if kind in judge.takes:
            return judge.name, judge.refuses
    return UNKNOWN[kind], True


JUDGES = st.lists(
    st.tuples(st.frozensets(st.sampled_from(KINDS)), st.booleans(), st.booleans()), max_size=4
).map(
    lambda rows: [
        Judge(name=f"judge-{at}", takes=takes, is_awaited=is_awaited, refuses=refuses)
        for at, (takes, is_awaited, refuses) in enumerate(rows)
    ]
)


class TestFirstJudge:
    @given(JUDGES, st.sampled_from([KINDS, KINDS[:1], KINDS[1:]]))
    @settings(deadline=None)
    async def test_has_the_last_word_whether_it_is_awaited_or_not(
        self, judges: list[Judge], kinds: tuple[str, ...]
    ) -> None:
        """Each credential is judged by the first method that takes it, and by nobody after it."""
        shown = Credentials(
            Bearer(b"token") if "bearer" in kinds else None,
            b"DER" if "certificate" in kinds else None,
        )
        words = [first_word(judges, kind) for kind in kinds]
        refusals = [f"refused: {name}" for name, refuses in words if refuses]
        expected = refusals[0] if refusals else words[0][0]

        assert expected == await outcome(judges, shown)
        for kind in kinds:
            asked = [judge for judge in judges if kind in judge.asked]
            assert not any(kind in judge.takes for judge in asked[:-1])


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
