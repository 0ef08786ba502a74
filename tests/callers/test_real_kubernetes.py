"""What a real Kubernetes API server gave (vectors/kubernetes.json), with the clock in its life."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from service.callers.claims import Rules, service_account
from service.callers.jwt import Jwt, LocalRules
from service.callers.key_sets import KeySet
from service.callers.key_sources import from_discovery
from service.callers.refusals import Refusal
from service.callers.table import Method, identify
from service.callers.token_review import Reviewer, TokenReview
from service.deadline import Deadline
from service.errors import Unauthenticated
from service.model import Caller, CallerName, Identity
from tests.callers.house import Hands, Net, bearer, ok

VECTORS: Final[dict[str, Any]] = json.loads(
    Path(__file__).parent.parent.joinpath("vectors/kubernetes.json").read_text()
)
ISSUER: Final = VECTORS["discovery"]["issuer"]
TOKENS: Final = VECTORS["tokens"]
OURS: Final = "gigya-credential-proxy"
BEGIN: Final = TOKENS["ok"]["claims"]["nbf"]
REVIEWS: Final = f"{ISSUER}/apis/authentication.k8s.io/v1/tokenreviews"


class Everybody:
    """Each identity is a caller named by its subject."""

    edition = "the only one"

    def caller_of(self, identity: Identity) -> CallerName:
        """Name it."""
        return CallerName(identity.subject)


def local() -> LocalRules:
    """Return what the cluster's tokens must be."""
    return LocalRules(
        issuer=ISSUER,
        rules=Rules(audiences=frozenset({OURS}), max_token_life=3600),
        algorithms=["RS256"],
        owner=service_account,
    )


def cluster() -> Net:
    """Return a net with the real documents on it."""
    return Net(
        {
            f"{ISSUER}/.well-known/openid-configuration": ok(VECTORS["discovery"]),
            VECTORS["discovery"]["jwks_uri"]: ok(VECTORS["jwks"]),
        }
    )


def by_keys(hands: Hands) -> Method:
    """Verify with the real key set."""
    keys = KeySet(from_discovery(cluster().fetch, ISSUER), name="cluster", clock=hands.clock)
    return Jwt(name="cluster", local=local(), keys=keys, clock=hands.clock)


def by_review(hands: Hands, answer: str) -> Method:
    """Ask an API server that gives the real answer called ``answer``."""
    return TokenReview(
        name="cluster",
        local=local(),
        reviewer=Reviewer(api_server=ISSUER, audience=OURS),
        fetch=Net({REVIEWS: ok(VECTORS["token_reviews"][answer], 201)}).fetch,
        own_token=lambda: "own",
        clock=hands.clock,
    )


async def ask(method: Method, hands: Hands, name: str) -> Caller:
    """Present the real token called ``name``."""
    deadline = Deadline.after(5, hands.clock)
    return await identify([method], bearer(TOKENS[name]["token"]).read(), Everybody(), deadline)


CALLERS: Final = {
    "ok": ("crm/sync-worker", "crm", None),
    "pod": ("crm/sync-worker", "crm", "sync-worker-7d9f"),
    "mkt": ("marketing/campaigns", "marketing", None),
    "twoaud": ("crm/sync-worker", "crm", None),
}


class TestByKeys:
    @pytest.mark.parametrize("at", [0, 1, 599], ids=["nbf", "just after", "near the end of mkt"])
    @pytest.mark.parametrize("name", CALLERS)
    async def test_knows_a_service_account(self, name: str, at: float) -> None:
        """A service account is namespace/name; its pod, if bound, and its expiry come along."""
        hands = Hands(BEGIN + at)
        subject, namespace, pod = CALLERS[name]

        expires_at = datetime.fromtimestamp(TOKENS[name]["claims"]["exp"], UTC)
        assert Caller(
            name=CallerName(subject),
            identity=Identity(via="cluster", subject=subject),
            namespace=namespace,
            pod=pod,
            credential_expires_at=expires_at,
        ) == await ask(by_keys(hands), hands, name)

    @pytest.mark.parametrize(
        ("name", "at", "reason"),
        [
            ("wrongaud", 10, Refusal.AUDIENCE_WRONG),
            ("ok", -31, Refusal.NOT_YET_VALID),
            ("ok", 3630, Refusal.EXPIRED),
            ("mkt", 630, Refusal.EXPIRED),
        ],
        ids=["audience of the API server", "before", "after", "after ten minutes"],
    )
    async def test_refuses(self, name: str, at: float, reason: Refusal) -> None:
        """A token for another audience, or outside its life and leeway, is refused."""
        hands = Hands(BEGIN + at)
        with pytest.raises(Unauthenticated) as caught:
            await ask(by_keys(hands), hands, name)

        assert reason == caught.value.reason

    @pytest.mark.parametrize("name", CALLERS)
    async def test_refuses_what_was_changed(self, name: str) -> None:
        """One character of the signature decides."""
        hands = Hands(BEGIN)
        head, _, last = TOKENS[name]["token"].rpartition(".")
        spoiled = bearer(f"{head}.{'B' if last[0] == 'A' else 'A'}{last[1:]}").read()
        with pytest.raises(Unauthenticated) as caught:
            await identify([by_keys(hands)], spoiled, Everybody(), Deadline.after(5, hands.clock))

        assert Refusal.SIGNATURE_WRONG == caught.value.reason


class TestByReview:
    @pytest.mark.parametrize(
        ("name", "answer"), [("ok", "ok"), ("pod", "pod"), ("pod", "pod_deleted_at_once")]
    )
    async def test_believes_the_api_server(self, name: str, answer: str) -> None:
        """What it authenticates is a caller; for some seconds that holds of a deleted pod too."""
        hands = Hands(BEGIN + 1)
        subject, namespace, pod = CALLERS[name]
        caller = await ask(by_review(hands, answer), hands, name)

        assert (subject, namespace, pod) == (caller.name, caller.namespace, caller.pod)

    @pytest.mark.parametrize(
        ("name", "answer"),
        [("pod", "pod_deleted_after_15_s"), ("mkt", "sa_deleted"), ("ok", "garbage")],
    )
    async def test_refuses_what_was_deleted(self, name: str, answer: str) -> None:
        """What it refuses is nobody, whatever local verification would say."""
        hands = Hands(BEGIN + 1)
        with pytest.raises(Unauthenticated) as caught:
            await ask(by_review(hands, answer), hands, name)

        assert Refusal.REVIEW_REFUSED == caught.value.reason

    async def test_does_not_take_one_account_for_another(self) -> None:
        """An answer about another service account than the token's is refused."""
        hands = Hands(BEGIN + 1)
        with pytest.raises(Unauthenticated) as caught:
            await ask(by_review(hands, "ok"), hands, "mkt")

        assert Refusal.REVIEW_USER == caught.value.reason

    async def test_audience_of_the_api_server(self) -> None:
        """The real refusal of a token for another audience is not even asked for."""
        hands = Hands(BEGIN + 1)
        with pytest.raises(Unauthenticated) as caught:
            await ask(by_review(hands, "wrongaud"), hands, "wrongaud")

        assert Refusal.AUDIENCE_WRONG == caught.value.reason
