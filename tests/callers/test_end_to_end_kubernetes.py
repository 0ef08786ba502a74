"""Service accounts at the composed service: real tokens and answers, and both ways together."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from service.callers.refusals import Refusal, Unavailable
from service.watch import FileFault
from tests.callers import issuer
from tests.callers.composed import JWT, REVIEW, composed, present
from tests.callers.house import (
    CLUSTER,
    KEYS,
    REPLIES,
    REVIEWS,
    Net,
    Reply,
    account_claims,
    bearer,
    ok,
)
from tests.callers.issuer import jwk, key_set, token
from tests.house import House, grant

VECTORS: Final[dict[str, Any]] = json.loads(
    Path(__file__).parent.parent.joinpath("vectors/kubernetes.json").read_text()
)
ISSUER: Final = VECTORS["discovery"]["issuer"]
TOKENS: Final = VECTORS["tokens"]
NO_KEYS: Final = Unavailable.KEYS_UNAVAILABLE
BEGIN: Final = TOKENS["ok"]["claims"]["nbf"]
REAL_REVIEWS: Final = f"{ISSUER}/apis/authentication.k8s.io/v1/tokenreviews"
REAL_JWT: Final = JWT | {"issuer": ISSUER, "algorithms": ["RS256"], "max_token_life": 3600}
REAL_REVIEW: Final = REVIEW | {"issuer": ISSUER, "api_server": ISSUER, "name": "cluster"}
ON_TOP: Final = [REAL_JWT | {"name": "cluster-keys"}, REAL_REVIEW]
WAYS: Final = {"by keys": [REAL_JWT], "by review": [REAL_REVIEW], "by both": ON_TOP}


def row(name: str, *subjects: str) -> dict[str, Any]:
    """Return the row of a caller by service account."""
    identities = [{"via": "cluster", "subject": subject} for subject in subjects]
    return {"name": name, "identities": identities, "grants": [grant()]}


def real(directory: Path, way: list[dict[str, Any]], answer: str = "ok") -> tuple[House, Net]:
    """Return a house in the life of the real tokens, and the real documents' net."""
    replies: Mapping[str, Reply] = {
        f"{ISSUER}/.well-known/openid-configuration": ok(VECTORS["discovery"]),
        VECTORS["discovery"]["jwks_uri"]: ok(VECTORS["jwks"]),
        REAL_REVIEWS: ok(VECTORS["token_reviews"][answer], 201),
    }
    net = Net(replies)
    callers = [row("crm-sync", "crm/sync-worker"), row("campaigns", "marketing/campaigns")]
    house = composed(directory, net=net, authentication=way, callers=callers)
    house.time.now = BEGIN + 1
    return house, net


async def judged(house: House, text: str) -> tuple[int, dict[str, Any]]:
    """Present a token; return the answer's status and the record."""
    async with house.open() as visitor:
        response = await present(visitor.application, bearer(text))
    return response.status_code, house.records()[-1]


class TestRealTokens:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize(("name", "pod"), [("ok", None), ("pod", "sync-worker-7d9f")])
    async def test_pass(self, tmp_path: Path, way: str, name: str, pod: str | None) -> None:
        """Within its life a real token is its service account's; the record names the pod."""
        house, _ = real(tmp_path, WAYS[way], name)
        status, record = await judged(house, TOKENS[name]["token"])
        caller = record["caller"]

        assert (200, "crm-sync") == (status, caller["name"])
        assert ("cluster", "crm/sync-worker") == (caller["authentication"], caller["subject"])
        assert ("crm", pod) == (caller["namespace"], caller.get("pod"))

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize(
        ("name", "at", "reason"),
        [
            ("wrongaud", 1, Refusal.AUDIENCE_WRONG),
            ("ok", -31, Refusal.NOT_YET_VALID),
            ("ok", 3630, Refusal.EXPIRED),
        ],
    )
    async def test_are_refused(
        self, tmp_path: Path, way: str, name: str, at: float, reason: Refusal
    ) -> None:
        """For another audience, or outside their life, they are nobody's by whichever way."""
        house, net = real(tmp_path, WAYS[way])
        house.time.now = BEGIN + at
        status, record = await judged(house, TOKENS[name]["token"])

        assert (401, reason) == (status, record["reason"])
        assert 0 == net.count(REAL_REVIEWS)

    @pytest.mark.parametrize("way", ["by review", "by both"])
    @pytest.mark.parametrize(
        ("name", "answer", "reason"),
        [
            ("pod", "pod_deleted_at_once", "granted"),
            ("pod", "pod_deleted_after_15_s", Refusal.REVIEW_REFUSED),
            ("mkt", "sa_deleted", Refusal.REVIEW_REFUSED),
        ],
    )
    async def test_end_with_what_they_are_bound_to(
        self, tmp_path: Path, way: str, name: str, answer: str, reason: str
    ) -> None:
        """What a real API server said of deleted pods and accounts decides."""
        house, _ = real(tmp_path, WAYS[way], answer)
        _, record = await judged(house, TOKENS[name]["token"])

        assert reason == record["reason"]

    async def test_revocation_is_bounded(self, tmp_path: Path) -> None:
        """A deleted pod's token passes for ``cache`` seconds more and no longer."""
        house, net = real(tmp_path, ON_TOP, "pod")
        statuses = []
        async with house.open() as visitor:
            for seconds in (0, 9.9, 0.1, 10):
                house.time.now += seconds
                response = await present(visitor.application, bearer(TOKENS["pod"]["token"]))
                statuses.append(response.status_code)
                deleted = VECTORS["token_reviews"]["pod_deleted_after_15_s"]
                net.replies[REAL_REVIEWS] = ok(deleted, 201)

        assert [200, 200, 401, 401] == statuses
        assert 3 == net.count(REAL_REVIEWS)


BOTH: Final = [
    JWT | {"name": "keys", "required_claims": {"tier": "gold"}, "algorithms": ["ES256"]},
    REVIEW | {"name": "cluster", "issuer": CLUSTER},
]


def on_top(directory: Path, *, ways: list[dict[str, Any]] | None = None) -> tuple[House, Net]:
    """Return a house with both ways for one issuer, and its net."""
    net = Net(REPLIES)
    callers = [row("crm-sync", "crm/sync-worker")]
    return composed(directory, net=net, authentication=ways or BOTH, callers=callers), net


class TestOnTopOfLocalVerification:
    @pytest.mark.parametrize("order", [1, -1], ids=["as written", "the other way round"])
    async def test_both_must_agree(self, tmp_path: Path, order: int) -> None:
        """The keys verify, then the API server is asked, in whichever order they are written."""
        house, net = on_top(tmp_path, ways=BOTH[::order])
        status, record = await judged(house, token(account_claims(tier="gold")))

        assert (200, "cluster") == (status, record["caller"]["authentication"])
        assert (1, 1) == (net.count(REVIEWS), net.count(f"{CLUSTER}/openid/v1/jwks"))

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (token(account_claims(tier="gold"), issuer.OTHER_P256), Refusal.SIGNATURE_WRONG),
            (token(account_claims(tier="gold"), kid="two"), Refusal.KEY_UNKNOWN),
            (token(account_claims()), Refusal.REQUIRED_CLAIM),
            (
                token(account_claims(tier="gold"), issuer.RSA, alg="RS256", kid="rsa"),
                Refusal.ALGORITHM_REFUSED,
            ),
        ],
        ids=["forged", "unknown key", "claim", "algorithm"],
    )
    async def test_rules_of_the_keys_hold(self, tmp_path: Path, text: str, reason: Refusal) -> None:
        """What local verification refuses the API server is not asked about."""
        house, net = on_top(tmp_path)
        status, record = await judged(house, text)

        assert (401, reason, 0) == (status, record["reason"], net.count(REVIEWS))

    async def test_keys_away(self, tmp_path: Path) -> None:
        """Without the keys nothing is verified, and so nobody is asked either: 503."""
        house, net = on_top(tmp_path)
        del net.replies[f"{CLUSTER}/openid/v1/jwks"]
        status, record = await judged(house, token(account_claims(tier="gold")))

        assert (503, Unavailable.KEYS_UNAVAILABLE) == (status, record["reason"])
        assert 0 == net.count(REVIEWS)


class TestOwnToken:
    async def test_is_shown_for_keys(self, tmp_path: Path) -> None:
        """An API server that shows its keys to service accounts only is shown our token."""
        ways = [JWT | {"token_file": "/cluster/token"}]
        house, net = on_top(tmp_path, ways=ways)
        status, _ = await judged(house, token(account_claims()))

        assert 200 == status
        assert {"Bearer our.own.token"} == {h["authorization"] for _, h, _ in net.asked}

    async def test_is_shown_at_a_chosen_address(self, tmp_path: Path) -> None:
        """So it is where the operator wrote down where the keys are."""
        keys = {"jwks_uri": f"{CLUSTER}/openid/v1/jwks"}
        house, net = on_top(tmp_path, ways=[JWT | {"keys": keys, "token_file": "/cluster/token"}])
        status, _ = await judged(house, token(account_claims()))

        assert 200 == status
        assert ["Bearer our.own.token"] == [h["authorization"] for _, h, _ in net.asked]

    async def test_is_read_again(self, tmp_path: Path) -> None:
        """The kubelet renews the file, and each question is asked with what it holds then."""
        ways = [REVIEW | {"name": "cluster", "issuer": CLUSTER, "cache": 0}]
        house, net = on_top(tmp_path, ways=ways)
        async with house.open() as visitor:
            for text in ("first", "second"):
                house.files["/cluster/token"] = f"{text}\n".encode()
                await present(visitor.application, bearer(token(account_claims())))

        assert ["Bearer first", "Bearer second"] == [h["authorization"] for _, h, _ in net.asked]

    @pytest.mark.parametrize("octets", [b"t\xf6ken", b"", b"two words", b"a\r\nb", b"\0"], ids=repr)
    async def test_is_not_sent_damaged(self, tmp_path: Path, octets: bytes) -> None:
        """A damaged file is our trouble: 503, on record by its name, and nobody is asked."""
        ways = [REVIEW | {"name": "cluster", "issuer": CLUSTER}]
        house, net = on_top(tmp_path, ways=ways)
        async with house.open() as visitor:
            house.files["/cluster/token"] = octets
            response = await present(visitor.application, bearer(token(account_claims())))
        reason = house.records()[0]["reason"]

        assert (503, Unavailable.OWN_TOKEN_UNREADABLE) == (response.status_code, reason)
        assert [] == net.asked


class Huge(House):
    """A house in which some files are far too large, as one that was mounted by mistake."""

    huge: frozenset[str] = frozenset()

    def read(self, path: Path) -> bytes:
        """Read as the world does."""
        if str(path) in self.huge:
            raise FileFault("a file is too large")
        return super().read(path)


class TestHugeFiles:
    @pytest.mark.parametrize(
        ("way", "file", "reason"),
        [
            (JWT | {"keys": {"file": "/cluster/keys.json"}}, "/cluster/keys.json", NO_KEYS),
            (JWT | {"token_file": "/cluster/token"}, "/cluster/token", NO_KEYS),
            (
                REVIEW | {"name": "cluster", "issuer": CLUSTER},
                "/cluster/token",
                Unavailable.OWN_TOKEN_UNREADABLE,
            ),
        ],
        ids=["keys", "token for keys", "token for reviews"],
    )
    async def test_are_unreadable(
        self, tmp_path: Path, way: dict[str, Any], file: str, reason: Unavailable
    ) -> None:
        """They are like any file that cannot be read: 503, not a fault of the service."""
        house = Huge(tmp_path)
        callers = [row("crm-sync", "crm/sync-worker")]
        composed(tmp_path, house=house, authentication=[way], callers=callers)
        house.files["/cluster/keys.json"] = KEYS
        async with house.open() as visitor:
            house.huge = frozenset({file})
            house.time.now += 11
            response = await present(visitor.application, bearer(token(account_claims(), kid="x")))

        assert (503, reason) == (response.status_code, house.records()[0]["reason"])


class TestEd25519:
    @pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
    async def test_under_both_names(self, tmp_path: Path, alg: str) -> None:
        """RFC 9864 renamed it; an issuer may use either name, as configured."""
        house, net = on_top(tmp_path, ways=[JWT | {"algorithms": [alg]}])
        net.replies[f"{CLUSTER}/openid/v1/jwks"] = ok(key_set(jwk(issuer.ED25519, "ed")))
        status, _ = await judged(house, token(account_claims(), issuer.ED25519, alg=alg, kid="ed"))

        assert 200 == status
