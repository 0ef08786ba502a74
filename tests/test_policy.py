import itertools
import random
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest, Missing
from service.grants import (
    CallerRules,
    Grant,
    IdentityRule,
    PolicyFault,
    describe_grant,
    policy_faults,
)
from service.model import (
    FOLLOWS,
    GRANTABLE,
    CallerName,
    Exchange,
    Field,
    Identity,
    ProviderName,
    Session,
    SiteName,
)
from service.policy import DENIALS, Decision, Policy, decide, refusal
from service.providers import BASE, ROWS, Naming, provider_tokens, with_followers
from service.secret import Secret
from tests import policy_oracle as oracle

SHOP: Final = SiteName("shop")
CRM: Final = CallerName("crm-sync")
TOKEN: Final = Field.AUTH_TOKEN
SECRET: Final = Field.TOKEN_SECRET
HANDLE: Final = Field.SESSION_HANDLE
UID: Final = Field.PROVIDER_UID


def grant(
    *fields: Field, site: str = "shop", providers: str | None = "facebook", proof: bool = False
) -> Grant:
    """Return a grant; ``providers`` are words."""
    listed = None if providers is None else frozenset(map(ProviderName, providers.split()))
    return Grant(
        site=SiteName(site), providers=listed, fields=frozenset(fields), needs_user_proof=proof
    )


def policy(*grants: Grant, candidates: tuple[Grant, ...] = (), is_blocked: bool = False) -> Policy:
    """Return a policy of one caller."""
    rules = CallerRules(name=CRM, grants=grants, candidate_grants=candidates, is_blocked=is_blocked)
    return Policy([rules])


def ask(
    rules: Policy,
    *fields: Field,
    caller: str = "crm-sync",
    site: str = "shop",
    provider: str = "facebook",
    proof: bool = False,
) -> Decision:
    """Return the decision; no fields: all that is granted."""
    return decide(
        rules,
        caller=CallerName(caller),
        site=site,
        provider=provider,
        fields=fields or None,
        has_user_proof=proof,
    )


class TestDecide:
    def test_allows_what_is_granted(self) -> None:
        """All that was asked is granted: it is allowed, and the rule says by which grant."""
        decision = ask(policy(grant(UID), grant(TOKEN, SECRET)), TOKEN)
        expected = Decision(allowed=frozenset({TOKEN}), rule="crm-sync/grants[1]")
        assert expected == decision

    def test_joins_grants(self) -> None:
        """Several grants of the same site and provider add up, and all of them are named."""
        rules = policy(grant(TOKEN), grant(UID, site="other"), grant(SECRET, providers=None))
        assert frozenset({TOKEN, SECRET}) == ask(rules).allowed
        assert "crm-sync/grants[0,2]" == ask(rules, SECRET, TOKEN).rule
        assert "crm-sync/grants[0]" == ask(rules, TOKEN).rule

    def test_expiries_follow_their_field(self) -> None:
        """An expiry may be asked where its field is granted, and only there."""
        rules = policy(grant(TOKEN))
        assert frozenset({Field.TOKEN_EXPIRATION}) == ask(rules, Field.TOKEN_EXPIRATION).allowed
        assert Missing.FIELD is ask(rules, Field.SESSION_EXPIRATION).missing

    @pytest.mark.parametrize(
        ("rules", "missing"),
        [
            (policy(), Missing.SITE),
            (policy(grant(TOKEN, site="other")), Missing.SITE),
            (policy(grant(TOKEN, providers="twitter")), Missing.PROVIDER),
            (policy(grant(SECRET)), Missing.FIELD),
            (policy(grant(TOKEN, proof=True)), Missing.USER_PROOF),
            (policy(grant(TOKEN), is_blocked=True), Missing.BLOCKED),
        ],
        ids=["nothing", "site", "provider", "field", "user-proof", "blocked"],
    )
    def test_denies_by_default(self, rules: Policy, missing: Missing) -> None:
        """What no grant gives is denied, and the caller is told what is missing."""
        decision = ask(rules, TOKEN)
        assert (missing, frozenset()) == (decision.missing, decision.allowed)
        assert f"missing-{missing}" == decision.reason

    def test_an_unknown_caller_has_nothing(self) -> None:
        """A caller that a reload has just removed is denied."""
        decision = ask(policy(grant(TOKEN)), caller="gone")
        assert (Missing.SITE, "unknown-caller") == (decision.missing, decision.reason)

    def test_an_unknown_site_looks_like_one_not_granted(self) -> None:
        """Nobody learns which sites there are by asking."""
        both = [policy(grant(TOKEN)), policy(grant(TOKEN), grant(TOKEN, site="other"))]
        first, second = (ask(rules, TOKEN, site="nowhere") for rules in both)
        assert first == second == ask(both[0], TOKEN, site="other")

    def test_asking_for_too_much_gets_nothing(self) -> None:
        """One field that is not granted denies the request."""
        assert Missing.FIELD is ask(policy(grant(TOKEN)), TOKEN, SECRET).missing

    def test_asking_for_no_field_gets_nothing(self) -> None:
        """An empty wish is denied, not taken for a wish for everything."""
        decision = decide(
            policy(grant(TOKEN)),
            caller=CRM,
            site="shop",
            provider="facebook",
            fields=(),
            has_user_proof=False,
        )
        assert Missing.FIELD is decision.missing


class TestUserProof:
    RULES: Final = policy(grant(TOKEN, SECRET, proof=True), grant(TOKEN))

    def test_counts_with_proof_only(self) -> None:
        """Without proof only what needs none is allowed; with it, all."""
        assert frozenset({TOKEN}) == ask(self.RULES).allowed
        assert frozenset({TOKEN, SECRET}) == ask(self.RULES, proof=True).allowed

    def test_is_what_is_missing(self) -> None:
        """Where proof would do, that is what is missing, and the rule that asks for it is named."""
        decision = ask(self.RULES, SECRET)
        expected = (Missing.USER_PROOF, "crm-sync/grants[0]", True)
        assert expected == (decision.missing, decision.rule, decision.needs_user_proof)

    def test_is_not_missing_where_it_would_not_do(self) -> None:
        """A field that nothing grants is missing before any proof is."""
        assert Missing.FIELD is ask(self.RULES, SECRET, HANDLE).missing

    def test_is_relied_on_where_it_must_only(self) -> None:
        """A decision that a grant without proof carries does not rest on the proof."""
        assert not ask(self.RULES, TOKEN, proof=True).needs_user_proof
        assert ask(self.RULES, SECRET, proof=True).needs_user_proof


class TestCandidates:
    def test_release_nothing(self) -> None:
        """What only a candidate gives is denied."""
        rules = policy(grant(TOKEN), candidates=(grant(TOKEN, SECRET),))
        decision = ask(rules, SECRET)
        assert (Missing.FIELD, None) == (decision.missing, decision.would_deny(()))

    @pytest.mark.parametrize(
        ("released", "expected"),
        [
            ((), False),
            ((TOKEN, Field.TOKEN_EXPIRATION), False),
            ((TOKEN, HANDLE), True),
            ((TOKEN, HANDLE, Field.SESSION_EXPIRATION), True),
        ],
        ids=["nothing", "no handle", "a handle", "with expiry"],
    )
    def test_take_only_what_there_is(self, *, released: tuple[Field, ...], expected: bool) -> None:
        """What the reply does not hold, candidates do not take away."""
        rules = policy(grant(TOKEN, HANDLE), candidates=(grant(TOKEN),))
        assert expected is ask(rules).would_deny(released)

    def test_take_a_whole_answer(self) -> None:
        """Where they refuse, that is a denial, whatever little was released."""
        rules = policy(grant(TOKEN), candidates=(grant(TOKEN, site="other"),))
        assert ask(rules).would_deny(())

    def test_say_nothing_of_what_is_denied_anyhow(self) -> None:
        """A request that is refused now is nothing that candidates could deny."""
        rules = policy(grant(TOKEN), candidates=(grant(TOKEN),))
        assert ask(rules, SECRET).would_allow is None

    @pytest.mark.parametrize(
        ("candidates", "fields", "expected"),
        [
            ((), (), None),
            ((grant(TOKEN, SECRET),), (), False),
            ((grant(TOKEN),), (), True),
            ((grant(TOKEN),), (TOKEN,), False),
            ((grant(TOKEN),), (TOKEN, SECRET), True),
            ((grant(TOKEN),), (TOKEN, HANDLE), None),
            ((grant(TOKEN, SECRET, site="other"),), (TOKEN,), True),
            ((grant(TOKEN, SECRET, proof=True),), (TOKEN,), True),
        ],
        ids=["none", "same", "less", "enough", "too-little", "denied", "elsewhere", "with-proof"],
    )
    def test_report_what_they_would_deny(
        self,
        *,
        candidates: tuple[Grant, ...],
        fields: tuple[Field, ...],
        expected: bool | None,
    ) -> None:
        """A candidate denies if it gives less than is released now."""
        decision = ask(policy(grant(TOKEN, SECRET), candidates=candidates), *fields)
        released = decision.allowed if decision.missing is None else ()
        assert expected is decision.would_deny(released)

    def test_say_nothing_of_the_blocked(self) -> None:
        """A blocked caller is not a matter of grants."""
        rules = policy(grant(TOKEN), candidates=(grant(TOKEN),), is_blocked=True)
        assert ask(rules).would_allow is None


class TestSites:
    def test_sites_of(self) -> None:
        """They are those of all grants, each once; the blocked and the unknown have none."""
        grants = (grant(TOKEN), grant(SECRET), grant(TOKEN, site="other"))
        assert {SHOP, "other"} == policy(*grants).sites_of(CRM)
        assert set() == policy(*grants, is_blocked=True).sites_of(CRM)
        assert set() == policy(*grants).sites_of(CallerName("gone"))

    def test_site_for(self) -> None:
        """A named site is taken; one that must be named and is not, refused."""
        several = policy(grant(TOKEN), grant(TOKEN, site="other"))
        assert "any" == several.site_for(CRM, "any")
        assert SHOP == policy(grant(TOKEN), grant(SECRET)).site_for(CRM, None)
        with pytest.raises(InvalidRequest):
            several.site_for(CRM, None)

    def test_nothing_granted_is_denied_later(self) -> None:
        """Without any grant there is no site to mean, and policy says so."""
        site = policy().site_for(CRM, None)
        assert Missing.SITE is ask(policy(), TOKEN, site=site).missing

    def test_reaches(self) -> None:
        """A caller reaches the sites of its grants; a blocked one reaches none."""
        assert policy(grant(TOKEN)).reaches(CRM, "shop")
        assert not policy(grant(TOKEN)).reaches(CRM, "other")
        assert not policy(grant(TOKEN), is_blocked=True).reaches(CRM, "shop")
        assert not policy(grant(TOKEN)).reaches(CallerName("gone"), "shop")


class TestGrantedToAnyone:
    def test_joins_callers(self) -> None:
        """What some caller may have of a provider at a site; the blocked may have nothing."""
        rules = Policy(
            [
                CallerRules(name=CallerName("a"), grants=(grant(TOKEN),)),
                CallerRules(name=CallerName("b"), grants=(grant(SECRET, providers=None),)),
                CallerRules(name=CallerName("c"), grants=(grant(HANDLE),), is_blocked=True),
            ]
        )
        of_facebook = rules.granted_to_anyone(SHOP, ProviderName("facebook"))
        assert frozenset({TOKEN, SECRET}) == of_facebook
        assert frozenset({SECRET}) == rules.granted_to_anyone(SHOP, ProviderName("qq"))
        assert frozenset() == rules.granted_to_anyone(SiteName("other"), ProviderName("qq"))


def identities(*rules: IdentityRule) -> tuple[CallerRules, ...]:
    """Return callers ``c0``, ``c1``, … with one identity each."""
    return tuple(
        CallerRules(name=CallerName(f"c{at}"), identities=(rule,)) for at, rule in enumerate(rules)
    )


def exact(subject: str, via: str = "cluster") -> IdentityRule:
    """Return an exact identity."""
    return IdentityRule(via=via, subject=subject)


def pattern(subject: str, via: str = "cluster") -> IdentityRule:
    """Return a pattern of identities."""
    return IdentityRule(via=via, subject=subject, is_pattern=True)


class TestCallerOf:
    RULES: Final = Policy(
        identities(
            exact("crm/sync-admin"),
            pattern("crm/sync-*"),
            exact("crm/sync-admin", via="mesh"),
            pattern("*/probe"),
        )
    )

    @pytest.mark.parametrize(
        ("via", "subject", "caller"),
        [
            ("cluster", "crm/sync-admin", "c0"),
            ("cluster", "crm/sync-worker", "c1"),
            ("mesh", "crm/sync-admin", "c2"),
            ("cluster", "any/probe", "c3"),
            ("cluster", "crm/sync-a/b", None),
            ("cluster", "x-crm/sync-a", None),
            ("cluster", "any/probe\n", None),
            ("cluster", "a/b/probe", None),
            ("mesh", "crm/sync-worker", None),
            ("tokens", "crm/sync-admin", None),
            ("cluster", "", None),
        ],
    )
    def test_is_by_authentication_and_subject(
        self, via: str, subject: str, caller: str | None
    ) -> None:
        """An identity is (authentication, subject): no part of it is borrowed from another."""
        identity = Identity(via=via, subject=subject)
        assert [caller] * 2 == [self.RULES.caller_of(identity) for _ in range(2)]

    def test_is_the_same_for_any_number_of_workloads(self) -> None:
        """However many workloads a pattern has, each is its caller's, each time it is asked."""
        rules = Policy(identities(pattern("crm/*"), pattern("web/*")))
        for _ in range(2):
            for at in range(100):
                for namespace, caller in (("crm", "c0"), ("web", "c1")):
                    identity = Identity(via="cluster", subject=f"{namespace}/{at}")
                    assert caller == rules.caller_of(identity)
                    assert rules.caller_of(Identity(via="mesh", subject=identity.subject)) is None

    def test_a_star_in_an_exact_subject_is_a_star(self) -> None:
        """An exact subject has no wildcards."""
        rules = Policy(identities(exact("a/*")))
        assert rules.caller_of(Identity(via="cluster", subject="a/b")) is None
        assert "c0" == rules.caller_of(Identity(via="cluster", subject="a/*"))


class TestFaults:
    @pytest.mark.parametrize(
        "rules",
        [
            identities(exact("a"), exact("a")),
            identities(pattern("a/*"), pattern("*/b")),
            identities(pattern("a*"), pattern("*")),
        ],
    )
    def test_an_identity_is_one_caller(self, rules: tuple[CallerRules, ...]) -> None:
        """Two callers that one identity could be are a fault, whatever the order."""
        assert ["callers[1].identities[0]"] == [path for path, _ in policy_faults(rules)]
        with pytest.raises(PolicyFault):
            Policy(rules)

    @pytest.mark.parametrize(
        "rules",
        [
            identities(exact("a"), pattern("*")),
            identities(exact("a"), exact("a", via="mesh")),
            identities(pattern("a/*"), pattern("b/*")),
            identities(pattern("a/*"), pattern("a/*/c")),
        ],
    )
    def test_apart_is_apart(self, rules: tuple[CallerRules, ...]) -> None:
        """An exact subject may stand inside a pattern; others must not meet."""
        assert [] == policy_faults(rules)

    def test_names_are_unique(self) -> None:
        """Two rows of one name are a fault."""
        rows = [CallerRules(name=CRM), CallerRules(name=CRM)]
        assert ["callers[1].name"] == [path for path, _ in policy_faults(rows)]

    @pytest.mark.parametrize("fields", [(), (Field.TOKEN_EXPIRATION,)])
    def test_grants_give_what_can_be_granted(self, fields: tuple[Field, ...]) -> None:
        """A grant gives something, and an expiry is not given by itself."""
        rows = [CallerRules(name=CRM, grants=(grant(*fields),), candidate_grants=(grant(*fields),))]
        expected = ["callers[0].grants[0].fields", "callers[0].candidate_grants[0].fields"]
        assert expected == [path for path, _ in policy_faults(rows)]


class TestWords:
    def test_every_denial_has_its_sentence(self) -> None:
        """Whatever is missing, there is a sentence for it."""
        assert set(Missing) == set(DENIALS)
        assert [DENIALS[missing] for missing in Missing] == [refusal(m).detail for m in Missing]

    def test_a_grant_is_shown_as_it_is_written(self) -> None:
        """What /v1/grants shows reads like the configuration."""
        shown = describe_grant(grant(SECRET, TOKEN, providers="twitter facebook", proof=True))
        expected = {
            "site": "shop",
            "providers": ["facebook", "twitter"],
            "fields": ["authToken", "tokenSecret"],
            "user_proof": "uid_signature",
        }
        assert expected == shown
        assert "all" == describe_grant(grant(TOKEN, providers=None))["providers"]


SITES: Final = ("shop", "blog", "nowhere")
PROVIDERS: Final = tuple(row.name for row in ROWS if row.names)[:20]
WISHES: Final = (TOKEN, SECRET, HANDLE, UID)
REPLIES: Final = ((), (TOKEN,), (TOKEN, Field.TOKEN_EXPIRATION, SECRET), (HANDLE, UID))
"""What may have been released of replies that hold more or less."""


def random_grants(source: random.Random, at_most: int) -> list[dict[str, Any]]:
    """Return grants as they would be written; no grant is for ``nowhere``."""
    return [
        {
            "site": source.choice(SITES[:2]),
            "providers": source.choice(["all", source.sample(PROVIDERS, source.randint(1, 6))]),
            "fields": source.sample(GRANTABLE, source.randint(1, 4)),
            "user_proof": source.choice(["none", "none", "uid_signature"]),
        }
        for _ in range(source.randint(0, at_most))
    ]


def random_callers(source: random.Random) -> dict[str, dict[str, Any]]:
    """Return ten callers as they would be written, the first of them blocked."""
    return {
        f"caller-{at}": {
            "blocked": at == 0,
            "grants": random_grants(source, 5),
            "candidate_grants": random_grants(source, 2),
        }
        for at in range(10)
    }


def compiled(callers: dict[str, dict[str, Any]]) -> Policy:
    """Return the policy of what is written."""
    return Policy(
        CallerRules(
            name=CallerName(name),
            grants=tuple(map(_grant, row["grants"])),
            candidate_grants=tuple(map(_grant, row["candidate_grants"])),
            is_blocked=row["blocked"],
        )
        for name, row in callers.items()
    )


def _grant(row: dict[str, Any]) -> Grant:
    providers = row["providers"]
    return Grant(
        site=row["site"],
        providers=None if providers == "all" else frozenset(providers),
        fields=frozenset(row["fields"]),
        needs_user_proof=row["user_proof"] != "none",
    )


class TestMemory:
    def test_the_same_question_has_the_same_answer(self) -> None:
        """A decision is made once, and neither another question nor a new policy gets it."""
        rules = policy(grant(TOKEN))
        first = ask(rules, TOKEN)

        assert ask(rules, TOKEN) is first
        assert first.allowed
        assert Missing.FIELD is ask(rules, SECRET).missing
        assert Missing.FIELD is ask(policy(grant(SECRET)), TOKEN).missing


class TestCrossProduct:
    @pytest.mark.parametrize("seed", range(5))
    def test_equals_the_oracle(self, seed: int) -> None:
        """10 callers x 3 sites x 20 providers x 4 fields, with and without proof."""
        callers = random_callers(random.Random(seed))
        rules = compiled(callers)
        wishes = [None, *((field,) for field in WISHES)]
        for name, site, provider, fields, proof in itertools.product(
            callers, SITES, PROVIDERS, wishes, (False, True)
        ):
            decision = decide(
                rules,
                caller=CallerName(name),
                site=site,
                provider=provider,
                fields=fields,
                has_user_proof=proof,
            )
            said = (
                decision.missing or "allow",
                decision.allowed,
                *map(decision.would_deny, REPLIES),
            )
            args = (callers[name], site, provider, fields)
            what, allowed = oracle.verdict(*args, proof=proof)
            replies = REPLIES if what == "allow" else [None] * len(REPLIES)
            lost = (oracle.would_deny(*args, proof=proof, released=reply) for reply in replies)
            assert (what, allowed, *lost) == said, (name, site, provider, fields, proof)

    @pytest.mark.parametrize("seed", range(5))
    def test_agrees_with_what_is_shown(self, seed: int) -> None:
        """What /v1/grants lists is what is released, and nothing else is."""
        callers = random_callers(random.Random(seed))
        rules = compiled(callers)
        for name, site, provider, field in itertools.product(callers, SITES, PROVIDERS, WISHES):
            caller = CallerName(name)
            shown = [describe_grant(row) for row in rules.grants_of(caller)]
            is_shown = any(
                row["site"] == site
                and (row["providers"] == "all" or provider in row["providers"])
                and field in row["fields"]
                for row in shown
            )
            decision = ask(rules, field, caller=name, site=site, provider=provider, proof=True)
            assert is_shown is (decision.missing is None)


GRANTS: Final = st.builds(
    Grant,
    site=st.sampled_from([SiteName("shop"), SiteName("blog")]),
    providers=st.none() | st.frozensets(st.sampled_from(PROVIDERS), min_size=1, max_size=5),
    fields=st.frozensets(st.sampled_from(GRANTABLE), min_size=1),
    needs_user_proof=st.booleans(),
)
SECRETS: Final = st.none() | st.just("sealed").map(Secret)
MOMENTS: Final = st.none() | st.integers(60, 7200).map(lambda at: datetime.fromtimestamp(at, UTC))
SESSIONS: Final = st.builds(
    Session,
    auth_token=st.just("token").map(Secret),
    token_secret=SECRETS,
    token_expires_at=MOMENTS,
    session_handle=SECRETS,
    session_expires_at=MOMENTS,
    provider_uid=SECRETS,
    fetched_at=st.just(0.0),
    exchange=st.just(Exchange()),
)


class TestProperties:
    @given(
        grants=st.lists(GRANTS, max_size=5).map(tuple),
        candidates=st.lists(GRANTS, max_size=3).map(tuple),
        provider=st.sampled_from(PROVIDERS),
        fields=st.none() | st.lists(st.sampled_from(Field), min_size=1, unique=True),
        proof=st.booleans(),
        session=SESSIONS,
        naming=st.sampled_from(Naming),
    )
    def test_released_is_granted(
        self,
        *,
        grants: tuple[Grant, ...],
        candidates: tuple[Grant, ...],
        provider: ProviderName,
        fields: list[Field] | None,
        proof: bool,
        session: Session,
        naming: Naming,
    ) -> None:
        """For any grants and any reply, what is released some grant gives, candidates or not."""
        decision = ask(
            policy(*grants, candidates=candidates),
            *(fields or ()),
            provider=provider,
            proof=proof,
        )
        granted = {
            field
            for row in grants
            if row.site == "shop" and row.covers(provider) and (proof or not row.needs_user_proof)
            for field in row.fields
        }
        assert {FOLLOWS.get(field, field) for field in decision.allowed} <= granted
        assert (decision.missing is None) is bool(decision.allowed)
        released = provider_tokens(
            BASE.row(provider),
            session,
            allowed=decision.allowed,
            naming=naming,
            asked=None if fields is None else frozenset(fields),
        )
        assert set(released.released) <= with_followers(frozenset(granted))
        wanted = set(Field) if fields is None else with_followers(frozenset(fields))
        assert {*released.released, *released.withheld} <= wanted
        assert released.expires_at is None or TOKEN in granted
        assert released.session_expires_at is None or HANDLE in granted
