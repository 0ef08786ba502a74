"""Tokens that are accepted, and for how long that is remembered."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.callers.claims import Rules, owner_by, refusal
from service.callers.jwt import REMEMBERED, Jwt, LocalRules
from service.callers.key_sets import KeySet, Terms
from service.callers.refusals import Refusal
from service.callers.table import identify
from service.deadline import Deadline
from service.errors import Unauthenticated
from service.model import Caller, Identity
from tests.callers import issuer
from tests.callers.house import (
    AUDIENCE,
    OIDC,
    Directory,
    Hands,
    House,
    account_claims,
    bearer,
    oidc_claims,
    oidc_rules,
)
from tests.callers.issuer import jwk, key_set, token
from tests.virtual_time import EPOCH


class Bench:
    """One OIDC authentication whose key set the test changes."""

    def __init__(self, entries: int = 100) -> None:
        self.hands = Hands()
        self.document = key_set(jwk(issuer.ED25519, "ed"), jwk(issuer.RSA, "rsa"))
        self.events: list[str] = []
        clock = self.hands.clock
        self.keys = KeySet(self.source, name="idp", clock=clock, terms=Terms(refresh=10**6))
        self.method = Jwt(
            name="idp",
            local=oidc_rules(),
            keys=self.keys,
            clock=clock,
            entries=entries,
            observe=lambda _name, event, _detail: self.events.append(event),
        )

    async def source(self, _deadline: Deadline) -> bytes:
        """Be fetched."""
        return self.document

    async def ask(self, text: str) -> Caller:
        """Present a token."""
        deadline = Deadline.after(5, self.hands.clock)
        return await identify([self.method], bearer(text).read(), Directory(), deadline)

    async def refuse(self, text: str) -> str:
        """Present a token that is refused, and say why."""
        with pytest.raises(Unauthenticated) as caught:
            await self.ask(text)
        return caught.value.reason


def good(**changes: Any) -> str:
    """Make a token that is accepted."""
    return token(oidc_claims(**changes), issuer.ED25519, alg="EdDSA", kid="ed")


class TestJwt:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"aud": [AUDIENCE]},
            {"aud": ["other", AUDIENCE]},
            {"aud": "proxy"},
            {"exp": EPOCH + 0.5},
            {"exp": EPOCH - 29.5},
            {"nbf": EPOCH + 30},
            {"iat": EPOCH + 30},
            {"iat": ...},
            {"unknown": {"claims": [1, None]}},
        ],
        ids=str,
    )
    async def test_accepts(self, changes: dict[str, Any]) -> None:
        """Audiences may be a text or a list; times hold with leeway; other claims do not matter."""
        caller = await Bench().ask(good(**changes))

        assert Identity(via="idp", subject="loyalty") == caller.identity

    @pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "application/at+jwt", "JOSE"])
    async def test_accepts_types(self, typ: str | None) -> None:
        """The type of an access token, ID token or SVID may be written, in any case."""
        text = token(oidc_claims(), issuer.ED25519, alg="EdDSA", kid="ed", typ=typ)

        assert "loyalty" == (await Bench().ask(text)).name

    async def test_header_may_say_more(self) -> None:
        """Header members that nobody has to understand are passed over."""
        more = {
            "x5t": "AAAA",
            "nonce": "n",
            "jku": "https://evil.example/keys",
            "x5c": ["A" * 5000],
        }
        text = token(oidc_claims(), issuer.ED25519, alg="EdDSA", kid="ed", **more)

        assert "loyalty" == (await Bench().ask(text)).name

    async def test_remembers_what_it_verified(self) -> None:
        """A token is verified once in sixty seconds."""
        bench, text = Bench(), good()
        await bench.ask(text)
        bench.hands.move(REMEMBERED - 1)
        await bench.ask(text)
        bench.hands.move(1)
        await bench.ask(text)

        assert ["token-verified", "token-remembered", "token-verified"] == bench.events

    async def test_never_remembers_beyond_the_expiry(self) -> None:
        """Neither the memory nor a clock that was set outlives ``exp``."""
        bench, text = Bench(), good(exp=EPOCH + 10)
        await bench.ask(text)
        bench.hands.wall += 10
        await bench.ask(text)
        bench.hands.wall += 30

        assert Refusal.EXPIRED == await bench.refuse(text)
        assert ["token-verified", "token-verified"] == bench.events

    async def test_forgets_when_keys_change(self) -> None:
        """A token whose key was taken back is refused, however lately it was verified."""
        bench, text = Bench(), good()
        await bench.ask(text)
        bench.document = key_set(jwk(issuer.RSA, "rsa"))
        bench.hands.move(11)
        assert "key-unknown" == await bench.refuse(
            token(oidc_claims(), issuer.RSA, alg="RS256", kid="new")
        )

        assert Refusal.KEY_UNKNOWN == await bench.refuse(text)

    async def test_remembers_under_new_keys_too(self) -> None:
        """After a change of keys a token is verified once again, and then remembered."""
        bench, text = Bench(), good()
        await bench.ask(text)
        bench.document = key_set(jwk(issuer.ED25519, "ed"))
        bench.hands.move(11)
        await bench.refuse(token(oidc_claims(), issuer.RSA, alg="RS256", kid="new"))
        await bench.ask(text)
        await bench.ask(text)

        assert ["token-verified", "token-verified", "token-remembered"] == bench.events

    async def test_remembers_no_more_than_it_may(self) -> None:
        """The memory is bounded; the token that was used least lately goes first."""
        bench = Bench(entries=2)
        one, two, three = (good(jti=number) for number in range(3))
        for text in (one, two, one, three, one, two):
            await bench.ask(text)

        verified, remembered = "token-verified", "token-remembered"
        expected = [verified, verified, remembered, verified, remembered, verified]
        assert expected == bench.events

    async def test_a_refusal_is_not_remembered(self) -> None:
        """A token that comes too early is accepted when its time has come."""
        bench, text = Bench(), good(nbf=EPOCH + 60)
        assert Refusal.NOT_YET_VALID == await bench.refuse(text)
        bench.hands.move(60)

        assert "loyalty" == (await bench.ask(text)).name

    async def test_many_at_once(self) -> None:
        """What is remembered for one token says nothing about another."""
        bench = Bench()
        await bench.ask(good())

        assert Refusal.REQUIRED_CLAIM == await bench.refuse(good(tier="silver"))
        assert Refusal.SIGNATURE_WRONG == await bench.refuse(good()[:-8] + "AAAAAAAA")

    @pytest.mark.parametrize("algorithms", [[], ["none"], ["HS256"], ["RS256", "HS256"]], ids=str)
    def test_algorithms_are_asymmetric(self, algorithms: list[str]) -> None:
        """An empty list, or one with a shared secret in it, is a fault at the start."""
        with pytest.raises(ValueError, match="asymmetric"):
            LocalRules(
                issuer=OIDC,
                rules=Rules(audiences=frozenset({"a"})),
                algorithms=algorithms,
                owner=owner_by("sub"),
            )

    async def test_issuers_do_not_mix(self) -> None:
        """Each issuer's tokens prove identities of that issuer's authentication only."""
        house = House()
        by_cluster = await house.identify(bearer(token(account_claims())))
        by_idp = await house.identify(bearer(good()))

        assert ("cluster", "idp") == (by_cluster.identity.via, by_idp.identity.via)


class TestRules:
    def test_an_audience_is_needed(self) -> None:
        """A configuration that accepts any audience is a fault at the start."""
        with pytest.raises(ValueError, match="audience"):
            Rules(audiences=frozenset())

    @pytest.mark.parametrize(
        ("wanted", "claimed", "expected"),
        [
            ("gold", "gold", None),
            ("gold", "Gold", Refusal.REQUIRED_CLAIM),
            (True, True, None),
            (True, 1, Refusal.REQUIRED_CLAIM),
            (1, True, Refusal.REQUIRED_CLAIM),
            (1, 1.0, Refusal.REQUIRED_CLAIM),
            (0, None, Refusal.REQUIRED_CLAIM),
            ("", ..., Refusal.REQUIRED_CLAIM),
        ],
    )
    def test_required_claims_are_equal_in_type_too(
        self, wanted: Any, claimed: Any, expected: Refusal | None
    ) -> None:
        """A required claim must be there, of that type and value."""
        rules = Rules(audiences=frozenset({AUDIENCE}), required={"c": wanted})

        assert expected == refusal(oidc_claims(c=claimed), rules, EPOCH)

    VALUE = (
        st.none()
        | st.booleans()
        | st.integers(-(10**12), 10**15)
        | st.floats(allow_nan=False)
        | st.text(max_size=4)
        | st.lists(st.sampled_from([AUDIENCE, "x", 1]), max_size=2)
    )

    @given(
        st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "aud", "tier"]), VALUE, max_size=5),
        st.floats(0, 4e9),
    )
    @settings(max_examples=300, deadline=None)
    def test_what_passes_satisfies_the_rules(self, claims: dict[str, Any], now: float) -> None:
        """Whatever is claimed, rules never fail, and what they let pass is what was asked for."""
        rules = Rules(audiences=frozenset({AUDIENCE}), leeway=5, required={"tier": "gold"})
        if refusal(claims, rules, now) is None:
            assert now < claims["exp"] + 5
            assert max(claims.get("nbf", 0), claims.get("iat", 0)) <= now + 5
            assert AUDIENCE == claims["aud"] or AUDIENCE in claims["aud"]
            assert "gold" == claims["tier"]
