"""A house with every way in: one of each authentication, and who may come by which."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from service.callers.claims import Rules, owner_by, service_account
from service.callers.fetching import Answer, FetchFailed
from service.callers.jwt import Jwt, LocalRules
from service.callers.key_sets import KeySet, Terms
from service.callers.key_sources import from_discovery, from_uri
from service.callers.mutual_tls import Kind, MutualTls
from service.callers.static import Row, Static
from service.callers.table import Method, identify
from service.callers.token_review import Reviewer, TokenReview
from service.deadline import Clock, Deadline
from service.model import Caller, CallerName, Identity
from tests.callers import issuer
from tests.callers.issuer import jwk, key_set
from tests.callers.presented import Presented
from tests.virtual_time import EPOCH

AUDIENCE: Final = "gigya-credential-proxy"
CLUSTER: Final = "https://cluster.example"
OIDC: Final = "https://login.example/tenant"
REVIEWED: Final = "https://other-cluster.example"
API_SERVER: Final = "https://kubernetes.default.svc"
STATIC_TOKEN: Final = "gigyaproxy_the-token-of-the-billing-job-0123456789"
EXPIRED_TOKEN: Final = "gigyaproxy_the-token-of-last-year-0123456789abcdef"
OWN_TOKEN: Final = "our.own.token"
REVIEWS: Final = f"{API_SERVER}/apis/authentication.k8s.io/v1/tokenreviews"


class Hands:
    """A clock whose hands the test moves."""

    def __init__(self, wall: float = EPOCH) -> None:
        self.wall, self.monotonic = wall, 1000.0
        self.clock = Clock(wall=lambda: self.wall, monotonic=lambda: self.monotonic)

    def move(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self.wall += seconds
        self.monotonic += seconds


Reply = Callable[[bytes | None], Answer]


def ok(body: Any, status: int = 200) -> Reply:
    """Answer always the same."""
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: (status, {}, octets)


class Net:
    """What answers at which URL; everything else is unreachable."""

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        self.replies = dict(replies)
        self.asked: list[tuple[str, Mapping[str, str], bytes | None]] = []

    async def fetch(
        self, url: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Answer:
        """Answer, and remember that it was asked."""
        assert not deadline.is_past
        self.asked.append((url, headers, body))
        if url not in self.replies:
            raise FetchFailed("unreachable")
        return self.replies[url](body)

    def count(self, url: str) -> int:
        """Count the questions at ``url``."""
        return sum(asked == url for asked, _, _ in self.asked)


def account_claims(iss: str = CLUSTER, /, **changes: Any) -> dict[str, Any]:
    """Return what Kubernetes says of crm/sync-worker; a claim that is ``...`` is left out."""
    claims = {
        "iss": iss,
        "aud": [AUDIENCE],
        "sub": "system:serviceaccount:crm:sync-worker",
        "exp": EPOCH + 600,
        "nbf": EPOCH - 60,
        "iat": EPOCH - 60,
        "kubernetes.io": {
            "namespace": "crm",
            "serviceaccount": {"name": "sync-worker", "uid": "bdd8bf28"},
            "pod": {"name": "sync-worker-7d9f", "uid": "bbfb25ae"},
        },
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def oidc_claims(**changes: Any) -> dict[str, Any]:
    """Return what the OIDC issuer says of a client; a claim that is ``...`` is left out."""
    claims = {
        "iss": OIDC,
        "aud": AUDIENCE,
        "sub": "loyalty",
        "exp": EPOCH + 600,
        "iat": EPOCH,
        "tier": "gold",
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def review_of(body: bytes | None) -> Answer:
    """Answer as an API server does that knows crm/sync-worker."""
    assert body is not None
    spec = json.loads(body)["spec"]
    user = {"username": "system:serviceaccount:crm:sync-worker", "uid": "bdd8bf28"}
    status = {"authenticated": True, "user": user, "audiences": spec["audiences"]}
    review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}
    return 201, {}, json.dumps(review).encode()


KEYS: Final = key_set(
    jwk(issuer.P256, "one"),
    jwk(issuer.RSA, "rsa", alg="RS256"),
    jwk(issuer.P384, "p384"),
    jwk(issuer.RSA, "rsa-any"),
)

REPLIES: Final[Mapping[str, Reply]] = {
    f"{CLUSTER}/.well-known/openid-configuration": ok(
        {"issuer": CLUSTER, "jwks_uri": f"{CLUSTER}/openid/v1/jwks"}
    ),
    f"{CLUSTER}/openid/v1/jwks": ok(KEYS),
    f"{OIDC}/keys": ok(key_set(jwk(issuer.ED25519, "ed"), jwk(issuer.RSA, "rsa"))),
    REVIEWS: review_of,
}

DIRECTORY: Final = {
    Identity(via="tokens", subject="billing"): "billing-job",
    Identity(via="cluster", subject="crm/sync-worker"): "crm-sync",
    Identity(via="reviewed", subject="crm/sync-worker"): "crm-sync-elsewhere",
    Identity(via="idp", subject="loyalty"): "loyalty",
    Identity(via="mesh", subject="spiffe://prod.example/ns/crm/sa/sync-worker"): "crm-sync",
    Identity(via="mesh", subject="spiffe://prod.example/ns/web/sa/shop"): "shop-web",
}


class Directory:
    """Who has which identity."""

    edition = "the only one"

    def caller_of(self, identity: Identity) -> CallerName | None:
        """Look it up."""
        name = DIRECTORY.get(identity)
        return None if name is None else CallerName(name)


@dataclass(kw_only=True)
class House:
    """Everything that decides who is calling, on a net and a clock of the test's."""

    hands: Hands = field(default_factory=Hands)
    net: Net = field(default_factory=lambda: Net(REPLIES))
    methods: Sequence[Method] = ()

    def __post_init__(self) -> None:
        clock = self.hands.clock
        self.methods = (
            Static(name="tokens", rows=STATIC_ROWS, clock=clock),
            Jwt(name="cluster", local=cluster_rules(), keys=self.keys("cluster"), clock=clock),
            Jwt(name="idp", local=oidc_rules(), keys=self.keys("idp"), clock=clock),
            self.review(),
            MutualTls(name="mesh", kind=Kind.SPIFFE, clock=clock, trust_domain="prod.example"),
        )

    def keys(self, name: str) -> KeySet:
        """Make the key set of an issuer."""
        sources = {
            "cluster": from_discovery(self.net.fetch, CLUSTER),
            "idp": from_uri(self.net.fetch, f"{OIDC}/keys"),
        }
        return KeySet(sources[name], name=name, clock=self.hands.clock, terms=Terms())

    def review(self) -> TokenReview:
        """Make the authentication that asks the API server."""
        return TokenReview(
            name="reviewed",
            local=cluster_rules(REVIEWED),
            reviewer=Reviewer(api_server=API_SERVER, audience=AUDIENCE),
            fetch=self.net.fetch,
            own_token=lambda: OWN_TOKEN,
            clock=self.hands.clock,
        )

    async def identify(self, presented: Presented, seconds: float = 10) -> Caller:
        """Ask who is calling."""
        deadline = Deadline.after(seconds, self.hands.clock)
        return await identify(self.methods, presented.read(), Directory(), deadline)


STATIC_ROWS: Final = (
    Row(
        subject="billing",
        sha256=sha256(STATIC_TOKEN.encode()).digest(),
        expires=datetime.fromtimestamp(EPOCH + 86400, UTC),
    ),
    Row(
        subject="billing",
        sha256=sha256(EXPIRED_TOKEN.encode()).digest(),
        expires=datetime.fromtimestamp(EPOCH - 1, UTC),
    ),
)


def cluster_rules(iss: str = CLUSTER) -> LocalRules:
    """Return what a service account's token must be."""
    return LocalRules(
        issuer=iss,
        rules=Rules(audiences=frozenset({AUDIENCE}), leeway=30, max_token_life=86400),
        algorithms=["RS256", "ES256"],
        owner=service_account,
    )


def oidc_rules() -> LocalRules:
    """Return what an OIDC token must be."""
    return LocalRules(
        issuer=OIDC,
        rules=Rules(audiences=frozenset({AUDIENCE, "proxy"}), required={"tier": "gold"}),
        algorithms=["EdDSA", "RS256"],
        owner=owner_by("sub"),
    )


def bearer(text: str, *, peer: str = "") -> Presented:
    """Present a bearer token."""
    return Presented(authorization=(b"Bearer " + text.encode(),), peer=peer)
