from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from service.audit.record import Entry
from service.broker import Broker, Release, Site
from service.catalogue import Catalogue
from service.deadline import Clock, Deadline
from service.errors import (
    AccessDenied,
    AuditUnavailable,
    InvalidRequest,
    Missing,
    NoSession,
    ReauthenticationRequired,
    TokenExpiring,
    UnknownProvider,
)
from service.grants import CallerRules, Grant
from service.live import Live
from service.model import (
    Caller,
    CallerName,
    Exchange,
    Field,
    Identity,
    ProviderName,
    Session,
    SessionQuery,
    SiteName,
    TokenRequest,
    Uid,
    UidSignature,
)
from service.policy import Policy
from service.provider_rows import OAUTH2
from service.providers import Naming
from service.secret import Secret

NOW = 1_800_000_000.0
CLOCK = Clock(wall=lambda: NOW, monotonic=lambda: 0.0)
CRM = Caller(name=CallerName("crm"), identity=Identity(via="tokens", subject="crm"))
SHOP = SiteName("shop")
ALL = frozenset({Field.AUTH_TOKEN, Field.TOKEN_SECRET, Field.SESSION_HANDLE, Field.PROVIDER_UID})


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


def session(**changes: Any) -> Session:
    given: dict[str, Any] = {
        "auth_token": Secret("token"),
        "token_secret": Secret("secret"),
        "provider_uid": Secret("42"),
        "token_expires_at": at(3600),
        "fetched_at": NOW - 7,
        "exchange": Exchange(error_code=0, call_id="call", attempts=1, milliseconds=12),
    }
    return Session(**{**given, **changes})


@dataclass
class Sessions:
    """Answers with what it was given, in turn, and remembers what it was asked."""

    answers: list[Session | Exception] = field(default_factory=lambda: [session()])
    asked: list[tuple[SessionQuery, int | None]] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    at_hand: Session | None = None

    def kept(self, query: SessionQuery, *, max_age: int | None) -> Session | None:
        assert query.site == SHOP
        return None if max_age == 0 else self.at_hand

    async def fetched(
        self, query: SessionQuery, *, max_age: int | None, deadline: Deadline
    ) -> Session:
        assert not deadline.is_past
        self.asked.append((query, max_age))
        self.meanwhile()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Proofs:
    """Vouches for the signature "good"."""

    def vouches(self, uid: Uid, proof: UidSignature, *, now: float) -> bool:
        return (uid, proof.signature, now) == ("u-1", "good", NOW)


def policy(*grants: Grant, fields: frozenset[Field] = ALL) -> Policy:
    grant = Grant(site=SHOP, providers=frozenset({ProviderName("twitter")}), fields=fields)
    return Policy([CallerRules(name=CRM.name, grants=grants or (grant,))])


class House:
    """A broker, what is around it, and the entry of the request it serves."""

    def __init__(self, rules: Policy | None = None, *answers: Session | Exception) -> None:
        self.policy = Live(rules or policy())
        self.sessions = Sessions(list(answers or [session()]))
        self.entry = Entry(audit_id="0" * 32)
        own = Catalogue({"saml-acme": OAUTH2})
        sites = {
            SHOP: Site(catalogue=own, naming=Naming.REPLY, user_proofs=Proofs()),
            SiteName("blog"): Site(catalogue=own, naming=Naming.REPLY, user_proofs=Proofs()),
        }
        self.unrecordable: AuditUnavailable | None = None
        self.broker = Broker(
            policy=self.policy,
            sites=sites,
            sessions=self.sessions,
            clock=CLOCK,
            require_sinks=self.require_sinks,
        )

    def require_sinks(self) -> None:
        if self.unrecordable is not None:
            raise self.unrecordable

    async def release(self, **asked: Any) -> Release:
        request = TokenRequest(**{"uid": Uid("u-1"), "provider": "twitter", **asked})
        deadline = Deadline.after(9, CLOCK)
        inquiry = self.broker.inquiry(CRM, request, self.entry)
        return self.broker.at_hand(inquiry) or await self.broker.fetched(inquiry, deadline)


class TestRelease:
    async def test_hands_out_what_is_granted(self) -> None:
        """The site may be left out where there is one; the names are the provider's."""
        house = House(policy(fields=frozenset({Field.AUTH_TOKEN})))

        release = await house.release()

        tokens = release.provider_tokens
        assert {"oauth_token", "oauth_expires_in"} == set(tokens.tokens)
        assert ("oauth_token_secret",) == tokens.withheld_names
        assert (SHOP, "twitter", 7) == (
            release.site,
            release.row.name,
            release.at - release.session.fetched_at,
        )

    async def test_does_not_wait_for_what_is_at_hand(self) -> None:
        """A session from the cache is released as one from Gigya, who is not asked."""
        house, other = House(), House()
        house.sessions.at_hand = session()

        at_hand, from_gigya = await house.release(), await other.release()

        assert [] == house.sessions.asked
        assert from_gigya.provider_tokens.tokens.keys() == at_hand.provider_tokens.tokens.keys()
        assert (other.entry.site, other.entry.exchange) == (house.entry.site, house.entry.exchange)

    async def test_notes_what_becomes_known(self) -> None:
        """The entry knows site, provider, rule, what was asked, and what Gigya was asked."""
        house = House()

        await house.release(site="shop", fields=("oauth_token",))

        entry = house.entry
        assert ("shop", "twitter", (Field.AUTH_TOKEN,)) == (entry.site, entry.provider, entry.asked)
        assert ("allow", "crm/grants[0]") == (entry.decision, entry.rule)
        assert (at(3600), "call") == (entry.token_expires_at, entry.exchange.call_id)  # type: ignore[union-attr]  # noted

    async def test_asks_gigya_for_exactly_that(self) -> None:
        """What makes a call the same call goes into the query; the alias does not."""
        house = House(
            policy(Grant(site=SHOP, providers=None, fields=ALL)), session(token_secret=None)
        )

        await house.release(provider="googleplus", cid="c", verify_provider_uid=True, max_age=5)

        query = SessionQuery(
            site=SHOP, provider=ProviderName("google"), uid=Uid("u-1"), cid="c", sign_ids=True
        )
        assert [(query, 5)] == house.sessions.asked

    async def test_a_verdict_on_the_provider_uid_goes_with_it(self) -> None:
        """It is told to whoever asked for it and may have the provider's UID."""
        signed = session(provider_uid_verified=True)
        narrow = policy(fields=frozenset({Field.AUTH_TOKEN}))

        granted = await House(None, signed).release(verify_provider_uid=True)
        unasked = await House(None, signed).release()
        ungranted = await House(narrow, signed).release(verify_provider_uid=True)

        assert [True, None, None] == [
            one.provider_uid_verified for one in (granted, unasked, ungranted)
        ]


class TestRefusals:
    async def test_come_before_gigya_is_asked(self) -> None:
        """Whoever may not have it makes no call."""
        house = House()

        with pytest.raises(AccessDenied):
            await house.release(provider="facebook")

        assert [] == house.sessions.asked
        assert ("deny", "missing-provider") == (house.entry.decision, house.entry.reason)

    async def test_unknown_and_ungranted_sites_look_the_same(self) -> None:
        """Nobody learns which sites there are; what they made up is not in the record."""
        unknown, ungranted = House(), House()

        with pytest.raises(AccessDenied) as of_unknown:
            await unknown.release(site="made-up")
        with pytest.raises(AccessDenied) as of_ungranted:
            await ungranted.release(site="blog")

        assert Missing.SITE is of_unknown.value.missing is of_ungranted.value.missing
        assert of_unknown.value.detail == of_ungranted.value.detail
        assert (None, "blog") == (unknown.entry.site, ungranted.entry.site)

    @pytest.mark.parametrize("site", ["made-up", "blog"])
    async def test_a_sites_own_providers_are_its_callers_business(self, site: str) -> None:
        """Whoever has no grant there is told just that, whatever it calls a provider or a field."""
        recorded = []
        for names in ({"provider": "saml-acme"}, {"provider": "facebook", "fields": ("jwt",)}):
            house = House()
            with pytest.raises(AccessDenied) as refused:
                await house.release(site=site, **names)

            assert Missing.SITE is refused.value.missing
            recorded.append((house.entry.provider, house.entry.asked))
        assert [(None, ()), ("facebook", ())] == recorded

    async def test_a_name_that_a_granted_site_does_not_know_is_told(self) -> None:
        """Where the caller may ask, what is no provider is a mistake of the request's."""
        with pytest.raises(UnknownProvider):
            await House().release(provider="saml-acme2")

    async def test_the_site_must_be_named_where_there_are_several(self) -> None:
        """With two sites granted, leaving it out is a mistake of the request's."""
        grants = [Grant(site=SiteName(s), providers=None, fields=ALL) for s in ("shop", "blog")]

        with pytest.raises(InvalidRequest):
            await House(policy(*grants)).release()

    async def test_unknown_fields_are_refused_before_policy(self) -> None:
        """A name that no column gives the provider is a mistake of the request's."""
        with pytest.raises(InvalidRequest):
            await House().release(provider="facebook", fields=("nonsense",))

    async def test_proof_of_the_user_is_asked_where_a_grant_says_so(self) -> None:
        """A good signature opens the grant, none and a bad one do not."""
        grant = Grant(site=SHOP, providers=None, fields=ALL, needs_user_proof=True)
        good, bad = (UidSignature(timestamp="1", signature=s) for s in ("good", "bad"))

        assert await House(policy(grant)).release(uid_signature=good)
        for proof in (None, bad):
            with pytest.raises(AccessDenied) as refused:
                await House(policy(grant)).release(uid_signature=proof)
            assert Missing.USER_PROOF is refused.value.missing

    async def test_a_release_that_nothing_could_record_asks_nobody(self) -> None:
        """While no sink takes records no session is opened, and what is denied is denied still."""
        house = House()
        house.unrecordable = AuditUnavailable("out")
        with pytest.raises(AuditUnavailable):
            await house.release()
        with pytest.raises(AccessDenied):
            await house.release(provider="facebook")
        assert [] == house.sessions.asked

    async def test_errors_of_gigyas_pass_through(self) -> None:
        """What Gigya says of the user is what the caller hears."""
        with pytest.raises(NoSession):
            await House(None, NoSession("none")).release()


class TestChangesMeanwhile:
    async def test_a_grant_taken_away_holds_at_once(self) -> None:
        """A caller that lost its grant while Gigya was asked gets nothing."""
        house = House()
        house.sessions.meanwhile = lambda: house.policy.replace(Policy())

        with pytest.raises(AccessDenied):
            await house.release()

        assert "deny" == house.entry.decision

    async def test_a_grant_widened_meanwhile_gives_no_more(self) -> None:
        """What goes out was allowed both before and after."""
        house = House(policy(fields=frozenset({Field.AUTH_TOKEN})))
        house.sessions.meanwhile = lambda: house.policy.replace(policy())

        release = await house.release()

        assert (Field.AUTH_TOKEN, Field.TOKEN_EXPIRATION) == release.provider_tokens.released

    async def test_a_grant_exchanged_meanwhile_gives_nothing(self) -> None:
        """Where nothing was allowed both before and after, nothing goes out, and it is a denial."""
        house = House(policy(fields=frozenset({Field.AUTH_TOKEN})))
        house.sessions.meanwhile = lambda: house.policy.replace(
            policy(fields=frozenset({Field.TOKEN_SECRET}))
        )

        with pytest.raises(AccessDenied) as refused:
            await house.release()

        assert Missing.FIELD is refused.value.missing
        assert ("deny", "missing-field") == (house.entry.decision, house.entry.reason)


class TestWhatWasKept:
    @pytest.mark.parametrize(
        ("lives", "error"), [(60, TokenExpiring), (-1, ReauthenticationRequired)]
    )
    async def test_is_asked_anew_when_it_lives_too_short(
        self, lives: float, error: type[Exception]
    ) -> None:
        """A cached session that cannot serve this request is not the last word; Gigya's is."""
        kept = session(token_expires_at=at(lives))
        kept = replace(kept, exchange=Exchange(cached=True))

        house = House()
        house.sessions.at_hand = kept
        release = await house.release(min_ttl=100)
        assert NOW + 3600 == release.provider_tokens.tokens["oauth_expires_in"]
        assert [0] == [max_age for _, max_age in house.sessions.asked]

        house = House(None, session(token_expires_at=at(lives)))
        house.sessions.at_hand = kept
        with pytest.raises(error):
            await house.release(min_ttl=100)

    async def test_what_gigya_just_said_is(self) -> None:
        """A fresh session that lives too short is refused without another call."""
        house = House(None, session(token_expires_at=at(60)))

        with pytest.raises(TokenExpiring):
            await house.release(min_ttl=100)

        assert 1 == len(house.sessions.asked)
