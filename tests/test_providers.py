from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from math import floor
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.catalogue import describe, describe_catalogue
from service.errors import (
    InvalidRequest,
    ReauthenticationRequired,
    TokenExpiring,
    UnknownProvider,
)
from service.model import Exchange, Field, ProviderTokens, Session
from service.providers import (
    BASE,
    FACEBOOK,
    OAUTH1,
    OAUTH2,
    ROWS,
    Catalogue,
    FieldNames,
    Naming,
    Source,
    field_names,
    names_for,
    provider_tokens,
    require_life,
    resolve,
    with_followers,
)
from service.secret import Secret

NOW: Final = 1_800_000_000.0
ALL: Final = frozenset(
    {Field.AUTH_TOKEN, Field.TOKEN_SECRET, Field.SESSION_HANDLE, Field.PROVIDER_UID}
)


def words(text: str) -> list[str]:
    """Return the words of ``text``."""
    return text.split()


COLUMN_B: Final = words("twitter google yahoo hi5 kaixin linkedin skyrock vznet")
COLUMN_C: Final = words("foursquare microsoft mixi qq renren sina vkontakte")
UNMAPPED: Final = words("livejournal aol livedoor netlog orangefr")


def session(
    *,
    secret: bool = False,
    handle: bool = False,
    token_life: float | None = None,
    handle_life: float | None = None,
    uid: bool = False,
) -> Session:
    """Return a session whose expiries are seconds from now."""
    return Session(
        auth_token=Secret("token"),
        token_secret=Secret("secret") if secret else None,
        token_expires_at=_moment(token_life),
        session_handle=Secret("handle") if handle else None,
        session_expires_at=_moment(handle_life),
        provider_uid=Secret("4711") if uid else None,
        fetched_at=NOW,
        exchange=Exchange(),
    )


def _moment(life: float | None) -> datetime | None:
    return None if life is None else datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=life)


def tokens(
    provider: str,
    what: Session,
    *,
    allowed: frozenset[Field] = ALL,
    naming: Naming = Naming.REPLY,
    min_ttl: int = 0,
    asked: frozenset[Field] | None = None,
    catalogue: Catalogue = BASE,
) -> ProviderTokens:
    """Return the provider tokens if they live at ``NOW``."""
    row = catalogue.row(provider)
    released = provider_tokens(row, what, allowed=allowed, naming=naming, asked=asked)
    require_life(released, now=NOW, min_ttl=min_ttl)
    return released


def plain(released: ProviderTokens) -> dict[str, str | int]:
    """Return the tokens as they would be answered."""
    return {
        name: value.reveal() if isinstance(value, Secret) else floor(value - NOW)
        for name, value in released.tokens.items()
    }


def told(released: ProviderTokens) -> dict[str, Any]:
    """Return all that is said of provider tokens."""
    uid = released.provider_uid
    shown = {"tokens": plain(released), "provider_uid": None if uid is None else uid.reveal()}
    return {**{each.name: getattr(released, each.name) for each in fields(released)}, **shown}


class TestTable:
    def test_has_the_documented_columns(self) -> None:
        """The rows of the 2015 table stand in their documented columns."""
        documented = {row.name: row.names for row in ROWS if row.source is Source.DOCUMENTED}
        expected = {
            "facebook": FACEBOOK,
            **dict.fromkeys(COLUMN_B, OAUTH1),
            **dict.fromkeys(COLUMN_C, OAUTH2),
        }
        assert expected == documented

    @pytest.mark.parametrize(
        "name",
        [
            *words("facebook twitter googleplus yahoo hi5 kaixin linkedin skyrock vznet"),
            *words("foursquare messenger mixi qq renren sina vkontakte odnoklassniki xing"),
            *words("instagram wordpress google microsoft yahoojapan spiceworks amazon wechat"),
            *words("blogger paypaloauth line myspace orkut apple kakao naver"),
        ],
    )
    def test_knows_every_provider_that_a_document_names(self, name: str) -> None:
        """Every named provider with a usable token has a row, by its name or an alias."""
        row = BASE.row(name)
        assert name in (row.name, *row.aliases)

    def test_says_where_each_row_comes_from(self) -> None:
        """A row is documented, inferred, or has no mapping; nothing is guessed silently."""
        assert all(row.evidence for row in ROWS)
        assert {row.name for row in ROWS if row.names is None} == set(UNMAPPED)

    def test_names_are_unique(self) -> None:
        """No name or alias stands for two rows."""
        names = [name for row in ROWS for name in (row.name, *row.aliases)]
        assert len(names) == len(set(names))

    def test_no_name_means_two_fields(self) -> None:
        """Whatever column answers, a name stands for the same Gigya field."""
        meanings = {
            (name, field)
            for row in ROWS
            for column in row.columns
            for field, name in column.by_field().items()
        }
        assert len(meanings) == len({name for name, _ in meanings})


class TestCatalogue:
    @pytest.mark.parametrize(
        ("alias", "canonical"),
        [("googleplus", "google"), ("messenger", "microsoft"), ("paypal", "paypaloauth")],
    )
    def test_answers_the_canonical_name(self, alias: str, canonical: str) -> None:
        """A documented alias is accepted, and its row has today's name."""
        assert canonical == BASE.row(alias).name

    @pytest.mark.parametrize(
        ("name", "canonical"),
        [("googleplus", "google"), ("orangefrance", "orangefr"), ("qq", "qq"), ("new", "new")],
    )
    def test_knows_canonical_names(self, name: str, canonical: str) -> None:
        """Every alias has its canonical name, with a mapping or without."""
        assert canonical == BASE.canonical(name)

    @pytest.mark.parametrize("name", ["Facebook", "FACEBOOK", " facebook", "", "saml-acme", "x"])
    def test_case_is_exact(self, name: str) -> None:
        """What is not a name is unknown; a SAML name is one only where a site configures it."""
        with pytest.raises(UnknownProvider) as caught:
            BASE.row(name)
        assert "acme" not in caught.value.detail

    @pytest.mark.parametrize("name", [*UNMAPPED, "orangefrance"])
    def test_does_not_guess(self, name: str) -> None:
        """A provider of assertions has no mapping until the site gives it one."""
        with pytest.raises(UnknownProvider) as caught:
            BASE.row(name)
        assert "unmapped-provider" == caught.value.reason
        assert OAUTH2 == Catalogue({name: OAUTH2}).row(name).names

    def test_takes_the_sites_own_names(self) -> None:
        """A configured SAML or OIDC name has the column that the site says."""
        row = Catalogue({"saml-acme": OAUTH2}).row("saml-acme")
        assert (OAUTH2, Source.CONFIGURED, True) == (row.names, row.source, row.is_fixed)

    def test_an_override_by_alias_is_one_of_the_row(self) -> None:
        """Overriding googleplus overrides google."""
        catalogue = Catalogue({"googleplus": OAUTH2})
        assert OAUTH2 == catalogue.row("google").names
        assert catalogue.row("google") is catalogue.row("googleplus")

    def test_facebook_is_always_facebook(self) -> None:
        """Facebook's row cannot be overridden."""
        with pytest.raises(ValueError, match="Facebook"):
            Catalogue({"facebook": OAUTH2})

    def test_leaves_the_table_alone(self) -> None:
        """One site's override is not another's."""
        Catalogue({"xing": OAUTH2})
        assert OAUTH1 == BASE.row("xing").names

    def test_lists_each_row_once(self) -> None:
        """The rows are the table's and the site's own."""
        rows = Catalogue({"oidc-x": OAUTH2, "xing": OAUTH1}).rows
        assert sorted([*(row.name for row in ROWS), "oidc-x"]) == sorted(row.name for row in rows)


class TestFieldNames:
    @pytest.mark.parametrize(
        ("family", "names"), [("oauth1", OAUTH1), ("oauth2", OAUTH2), ("facebook", FACEBOOK)]
    )
    def test_knows_the_families(self, family: str, names: FieldNames) -> None:
        """A family's name stands for its column."""
        assert names == field_names(family)

    def test_takes_names_by_field(self) -> None:
        """Names can be given one by one; what is left out has none."""
        given_names = {"authToken": "jwt", "sessionHandle": "renewal"}
        assert given_names == field_names(given_names).by_field()

    @pytest.mark.parametrize(
        "value",
        [
            "oauth3",
            {},
            {"tokenSecret": "s"},
            {"authToken": ""},
            {"authToken": "t", "tokenSecret": "t"},
            {"authToken": "t", "providerUID": "u"},
            {"authToken": "t", "sentinel": "u"},
        ],
    )
    def test_refuses_the_rest_and_quotes_nothing(self, value: str | Mapping[str, str]) -> None:
        """A column names authToken, no field twice, and none that has no name at a provider."""
        with pytest.raises(ValueError, match=r"^(is|has|does)") as caught:
            field_names(value)
        assert "sentinel" not in str(caught.value)


class TestNames:
    """The four cases of design.md, by a table that is written out here."""

    @pytest.mark.parametrize(
        ("provider", "naming", "has_secret", "expected"),
        [
            ("twitter", Naming.REPLY, True, OAUTH1),
            ("twitter", Naming.REPLY, False, OAUTH2),
            ("vkontakte", Naming.REPLY, True, OAUTH1),
            ("vkontakte", Naming.REPLY, False, OAUTH2),
            ("google", Naming.REPLY, False, OAUTH2),
            ("google", Naming.DOCUMENTED, False, OAUTH1),
            ("vkontakte", Naming.DOCUMENTED, True, OAUTH2),
            ("instagram", Naming.DOCUMENTED, True, OAUTH2),
            ("facebook", Naming.REPLY, True, FACEBOOK),
            ("facebook", Naming.REPLY, False, FACEBOOK),
            ("facebook", Naming.DOCUMENTED, True, FACEBOOK),
        ],
    )
    def test_follow_the_reply_unless_pinned(
        self, *, provider: str, naming: Naming, has_secret: bool, expected: FieldNames
    ) -> None:
        """A token secret means OAuth 1; a pin means the table; Facebook is always Facebook."""
        assert expected == names_for(BASE.row(provider), naming, has_token_secret=has_secret)

    @pytest.mark.parametrize("naming", Naming)
    @pytest.mark.parametrize("has_secret", [True, False])
    def test_an_override_beats_both(self, *, naming: Naming, has_secret: bool) -> None:
        """What a site configures for a provider holds whatever the reply and the pin say."""
        row = Catalogue({"twitter": FACEBOOK}).row("twitter")
        assert FACEBOOK == names_for(row, naming, has_token_secret=has_secret)


class TestResolve:
    @pytest.mark.parametrize(
        ("provider", "name", "field"),
        [
            ("facebook", "expires", Field.TOKEN_EXPIRATION),
            ("facebook", "access_token", Field.AUTH_TOKEN),
            ("twitter", "oauth_token_secret", Field.TOKEN_SECRET),
            ("twitter", "access_token", Field.AUTH_TOKEN),
            ("twitter", "oauth_authorization_expires_in", Field.SESSION_EXPIRATION),
            ("google", "refresh_token", Field.SESSION_HANDLE),
            ("google", "oauth_session_handle", Field.SESSION_HANDLE),
            ("vkontakte", "expires_in", Field.TOKEN_EXPIRATION),
            *(("qq", field.value, field) for field in Field),
            ("qq", "tokenExpirationUTC", Field.TOKEN_EXPIRATION),
        ],
    )
    def test_takes_every_name_that_may_be_answered(
        self, provider: str, name: str, field: Field
    ) -> None:
        """A name of any column that may answer for the provider, or Gigya's, is its field."""
        assert (field,) == resolve(BASE.row(provider), [name])

    @pytest.mark.parametrize(
        ("provider", "name"),
        [("facebook", "expires_in"), ("facebook", "oauth_token"), ("qq", "expires"), ("qq", "x")],
    )
    def test_refuses_the_rest_by_position(self, provider: str, name: str) -> None:
        """A name that no column gives the provider is refused, and not echoed as sent."""
        with pytest.raises(InvalidRequest, match=r"fields\[1\]: "):
            resolve(BASE.row(provider), ["authToken", name])

    def test_does_not_quote(self) -> None:
        """What was sent is not in the refusal."""
        with pytest.raises(InvalidRequest) as caught:
            resolve(BASE.row("qq"), ["sentinel"])
        assert "sentinel" not in caught.value.detail

    def test_names_each_field_once_in_order(self) -> None:
        """Two names of one field are one wish."""
        wanted = ["expires_in", "access_token", "oauth_token", "authToken"]
        expected = (Field.TOKEN_EXPIRATION, Field.AUTH_TOKEN)
        assert expected == resolve(BASE.row("qq"), wanted)

    def test_an_override_has_its_own_names_only(self) -> None:
        """Where a site names a provider's fields, those are the names."""
        row = Catalogue({"qq": field_names({"authToken": "jwt"})}).row("qq")
        assert (Field.AUTH_TOKEN,) == resolve(row, ["jwt"])
        with pytest.raises(InvalidRequest):
            resolve(row, ["access_token"])


class TestProviderTokens:
    def test_renames_oauth1(self) -> None:
        """A reply with a token secret is answered under OAuth 1 names, all of them."""
        what = session(secret=True, handle=True, token_life=3541.9, handle_life=86400)
        expected = {
            "oauth_token": "token",
            "oauth_token_secret": "secret",
            "oauth_expires_in": 3541,
            "oauth_session_handle": "handle",
            "oauth_authorization_expires_in": 86400,
        }
        assert expected == plain(tokens("twitter", what))

    def test_renames_oauth2(self) -> None:
        """A reply without one is answered under OAuth 2 names."""
        what = session(handle=True, token_life=60, handle_life=70)
        expected = {"access_token": "token", "expires_in": 60, "refresh_token": "handle"}
        assert expected == plain(tokens("vkontakte", what))

    def test_renames_facebook(self) -> None:
        """Facebook calls the seconds left ``expires``."""
        assert {"access_token": "token", "expires": 60} == plain(
            tokens("facebook", session(token_life=60))
        )

    def test_what_has_no_name_is_not_answered(self) -> None:
        """A pinned OAuth 2 row has no name for a token secret; it is neither out nor withheld."""
        released = tokens("qq", session(secret=True), naming=Naming.DOCUMENTED)
        assert {"access_token": "token"} == plain(released)
        assert ((Field.AUTH_TOKEN,), ()) == (released.released, released.withheld)

    def test_withholds_what_is_not_allowed(self) -> None:
        """What the reply held and policy refused is named, under both kinds of names."""
        what = session(secret=True, handle=True, token_life=60, handle_life=70, uid=True)
        released = tokens("twitter", what, allowed=frozenset({Field.AUTH_TOKEN}))
        assert {"oauth_token": "token", "oauth_expires_in": 60} == plain(released)
        assert (
            Field.TOKEN_SECRET,
            Field.SESSION_HANDLE,
            Field.SESSION_EXPIRATION,
            Field.PROVIDER_UID,
        ) == released.withheld
        assert (
            "oauth_token_secret",
            "oauth_session_handle",
            "oauth_authorization_expires_in",
        ) == released.withheld_names

    def test_what_was_not_asked_is_not_withheld(self) -> None:
        """A caller that asks for less than it has is refused nothing."""
        only = frozenset({Field.AUTH_TOKEN})
        released = tokens("twitter", session(secret=True, uid=True), allowed=only, asked=only)
        assert ((), ()) == (released.withheld, released.withheld_names)

    def test_absent_is_absent(self) -> None:
        """Granted, but not in the reply: absent."""
        assert {"access_token": "token"} == plain(tokens("qq", session()))

    def test_an_expiry_can_be_asked_alone(self) -> None:
        """The expiry is released without its token where only it is asked."""
        only = frozenset({Field.TOKEN_EXPIRATION})
        released = tokens("qq", session(token_life=60), allowed=only, asked=only)
        assert {"expires_in": 60} == plain(released)

    def test_the_provider_uid_needs_its_grant(self) -> None:
        """The provider UID is apart from the tokens, and released only where allowed."""
        released = tokens("qq", session(uid=True))
        assert released.provider_uid is not None
        assert "4711" == released.provider_uid.reveal()
        assert "4711" not in plain(released).values()
        assert tokens("qq", session(uid=True), allowed=frozenset()).provider_uid is None

    def test_tells_expiries_of_what_it_releases_only(self) -> None:
        """The moments follow the fields."""
        what = session(handle=True, token_life=60, handle_life=70)
        both = tokens("qq", what)
        none = tokens("qq", what, allowed=frozenset({Field.PROVIDER_UID}))
        assert (_moment(60), _moment(70)) == (both.expires_at, both.session_expires_at)
        assert (None, None) == (none.expires_at, none.session_expires_at)

    @given(
        provider=st.sampled_from(["twitter", "qq", "facebook", "own"]),
        naming=st.sampled_from(Naming),
        life=st.tuples(st.none() | st.integers(1, 99), st.none() | st.integers(1, 99)),
        has=st.tuples(st.booleans(), st.booleans(), st.booleans()),
        allowed=st.frozensets(st.sampled_from(Field)),
        asked=st.none() | st.frozensets(st.sampled_from(Field)),
    )
    def test_says_of_each_field_what_comes_of_it(
        self,
        *,
        provider: str,
        naming: Naming,
        life: tuple[int | None, int | None],
        has: tuple[bool, bool, bool],
        allowed: frozenset[Field],
        asked: frozenset[Field] | None,
    ) -> None:
        """Field by field: out where held, named and allowed, else withheld where it was asked."""
        secret, handle, uid = has
        what = session(
            secret=secret, handle=handle, token_life=life[0], handle_life=life[1], uid=uid
        )
        own = Catalogue({"own": FieldNames("a", None, None, "b", "c")})
        row = own.row(provider)
        names = names_for(row, naming, has_token_secret=secret)
        values = {
            Field.AUTH_TOKEN: "token",
            Field.TOKEN_SECRET: "secret" if secret else None,
            Field.TOKEN_EXPIRATION: life[0],
            Field.SESSION_HANDLE: "handle" if handle else None,
            Field.SESSION_EXPIRATION: life[1] if handle else None,
        }
        may = with_followers(allowed)
        wanted = frozenset(Field) if asked is None else with_followers(asked)
        there = [
            (field, name)
            for (field, value), name in zip(values.items(), names, strict=True)
            if name is not None and value is not None
        ]
        out = [(field, name) for field, name in there if field in may]
        kept = [(field, name) for field, name in there if field in wanted - may]
        last = [Field.PROVIDER_UID] if uid else []

        told = tokens(provider, what, allowed=allowed, naming=naming, asked=asked, catalogue=own)

        assert [(name, values[field]) for field, name in out] == list(plain(told).items())
        assert [f for f, _ in out] + [f for f in last if f in may] == list(told.released)
        assert [f for f, _ in kept] + [f for f in last if f in wanted - may] == list(told.withheld)
        assert [name for _, name in kept] == list(told.withheld_names)
        assert (uid and Field.PROVIDER_UID in may) is (told.provider_uid is not None)
        ends = [
            moment if field in may else None
            for field, moment in [
                (Field.TOKEN_EXPIRATION, what.token_expires_at),
                (Field.SESSION_EXPIRATION, what.session_expires_at if handle else None),
            ]
        ]
        assert ends == [told.expires_at, told.session_expires_at]


class TestLife:
    @pytest.mark.parametrize("life", [-86400.0, -0.5, 0.0, 0.999])
    def test_a_dead_token_is_not_released(self, life: float) -> None:
        """Past, or less than a whole second left: the user must log in again."""
        with pytest.raises(ReauthenticationRequired) as caught:
            tokens("qq", session(token_life=life))
        assert "token-expired" == caught.value.reason

    def test_a_second_is_enough(self) -> None:
        """One whole second left is life."""
        assert 1 == plain(tokens("qq", session(token_life=1.0)))["expires_in"]

    def test_a_dead_token_does_not_keep_the_provider_uid(self) -> None:
        """Where no token is released, its death does not matter."""
        only = frozenset({Field.PROVIDER_UID})
        released = tokens("qq", session(token_life=-1, uid=True), allowed=only, min_ttl=60)
        assert (Field.PROVIDER_UID,) == released.released

    def test_a_dead_handle_is_not_released(self) -> None:
        """A handle past its expiry is refused, and the token can be had without it."""
        what = session(handle=True, token_life=60, handle_life=-1)
        with pytest.raises(ReauthenticationRequired) as caught:
            tokens("twitter", what)
        assert "session-handle-expired" == caught.value.reason
        only = frozenset({Field.AUTH_TOKEN})
        assert "token" in plain(tokens("qq", what, allowed=only, asked=only)).values()

    def test_an_expiry_without_its_handle_says_nothing(self) -> None:
        """Where the reply holds no handle, its expiry is neither answered nor judged."""
        released = tokens("twitter", session(secret=True, handle_life=-1))
        assert {"oauth_token": "token", "oauth_token_secret": "secret"} == plain(released)
        assert released.session_expires_at is None

    @pytest.mark.parametrize(("life", "is_released"), [(59.9, False), (60.0, True), (None, True)])
    def test_min_ttl_is_honoured(self, *, life: float | None, is_released: bool) -> None:
        """Sooner than min_ttl is token-expiring; no known expiry is not sooner than anything."""
        if is_released:
            assert "access_token" in tokens("qq", session(token_life=life), min_ttl=60).tokens
        else:
            with pytest.raises(TokenExpiring):
                tokens("qq", session(token_life=life), min_ttl=60)


def _holds(what: Session, field: Field) -> bool:
    """Whether a session has that field; a handle's expiry is nothing without the handle."""
    held = {
        Field.AUTH_TOKEN: True,
        Field.TOKEN_SECRET: what.token_secret is not None,
        Field.TOKEN_EXPIRATION: what.token_expires_at is not None,
        Field.SESSION_HANDLE: what.session_handle is not None,
        Field.SESSION_EXPIRATION: what.session_handle is not None
        and what.session_expires_at is not None,
        Field.PROVIDER_UID: what.provider_uid is not None,
    }
    return held[field]


LIVES = st.none() | st.integers(2, 10**7)
SESSIONS = st.builds(
    session,
    secret=st.booleans(),
    handle=st.booleans(),
    token_life=LIVES,
    handle_life=LIVES,
    uid=st.booleans(),
)
ANY_REQUEST: Final[dict[str, Any]] = {
    "provider": st.sampled_from([row.name for row in ROWS if row.names]),
    "what": SESSIONS,
    "allowed": st.frozensets(st.sampled_from(Field)),
    "asked": st.none() | st.frozensets(st.sampled_from(Field), min_size=1),
    "naming": st.sampled_from(Naming),
}


class TestProperties:
    @given(SESSIONS, st.lists(st.fixed_dictionaries(ANY_REQUEST), max_size=6))
    def test_what_is_remembered_is_what_is_asked(
        self, kept: Session, asked: list[dict[str, Any]]
    ) -> None:
        """A session that was asked for before gives each caller what one just fetched would."""
        for each in asked:
            again, afresh = (tokens(**{**each, "what": what}) for what in (kept, replace(kept)))
            assert told(afresh) == told(again)

    @given(**ANY_REQUEST)
    def test_released_is_allowed(
        self,
        provider: str,
        what: Session,
        allowed: frozenset[Field],
        asked: frozenset[Field] | None,
        naming: Naming,
    ) -> None:
        """Nothing comes out that was not allowed, and released and withheld never overlap."""
        released = tokens(provider, what, allowed=allowed, asked=asked, naming=naming)
        may = set(allowed)
        may |= {Field.TOKEN_EXPIRATION} if Field.AUTH_TOKEN in may else set()
        may |= {Field.SESSION_EXPIRATION} if Field.SESSION_HANDLE in may else set()
        assert set(released.released) <= may
        assert not set(released.withheld) & may
        named = [field for field in released.released if field is not Field.PROVIDER_UID]
        assert len(named) == len(released.tokens)
        assert set(released.tokens).isdisjoint(released.withheld_names)

    @given(**ANY_REQUEST)
    def test_each_field_is_released_or_withheld_or_no_concern(
        self,
        provider: str,
        what: Session,
        allowed: frozenset[Field],
        asked: frozenset[Field] | None,
        naming: Naming,
    ) -> None:
        """Field by field and in the table's order, by a second reading of the rules."""
        row = BASE.row(provider)
        names = names_for(row, naming, has_token_secret=what.token_secret is not None).by_field()
        held = [field for field in Field if _holds(what, field)]
        known = [field for field in held if field in names or field is Field.PROVIDER_UID]
        may, wanted = with_followers(allowed), with_followers(asked or frozenset(Field))
        refused = [field for field in known if field in wanted and field not in may]
        released = tokens(provider, what, allowed=allowed, asked=asked, naming=naming)
        assert tuple(field for field in known if field in may) == released.released
        assert tuple(refused) == released.withheld
        assert tuple(names[f] for f in refused if f in names) == released.withheld_names
        assert [names[f] for f in released.released if f in names] == list(released.tokens)


class TestDescribe:
    def test_shows_a_row(self) -> None:
        """A row is shown with its column, its source, and who decides about names."""
        expected = {
            "provider": "facebook",
            "aliases": [],
            "source": "documented",
            "evidence": "getSessionInfo of 6 Jan 2015, mapping table, column Facebook",
            "names": {"authToken": "access_token", "tokenExpiration": "expires"},
            "decided_by": "row",
        }
        assert expected == describe(BASE.row("facebook"))

    def test_shows_that_there_is_no_mapping(self) -> None:
        """A row without a mapping has no names to show."""
        shown = {row["provider"]: row for row in describe_catalogue(BASE)["providers"]}
        assert "names" not in shown["livejournal"]
        assert "reply" == shown["google"]["decided_by"]
        assert len(ROWS) == len(shown)
