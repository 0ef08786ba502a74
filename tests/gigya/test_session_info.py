import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from service.errors import ServiceError, Undecryptable, UpstreamInvalid, UpstreamRejected
from service.gigya.cipher import Padding
from service.gigya.keys import PartnerKey
from service.gigya.sealing import Mode, Scope, Sealing
from service.gigya.session_info import OTHER, RELEASED_TEXTS, Opening
from service.gigya.signature import BaseString
from service.gigya.terms import Terms
from service.model import Session
from service.secret import Secret
from service.simulator.expiries import ExpiryForm
from service.simulator.knobs import Seal
from service.simulator.providers import FAMILIES
from service.simulator.seeds import AWKWARD, EVERYTHING
from service.simulator.signing import ProviderUidForm
from service.simulator.world import Connection
from tests.gigya.rig import Rig, sealing
from tests.virtual_time import EPOCH, VIRTUAL

SENTINEL = "s3nt1nel-of-a-token"
OLD = PartnerKey(bytes(range(32)))
OLDER = PartnerKey(bytes(range(1, 25)))
PREFERRED = sealing(mode=Mode.PREFERRED)
HEX = "0123456789abcdef" * 4
"""A plain token that has the form of a sealed one: base64 of three blocks."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Time is virtual in this module."""
    return VIRTUAL


def shown(session: Session) -> dict[str, str]:
    """Return what a session holds, revealed."""
    fields = {
        "auth_token": session.auth_token,
        "token_secret": session.token_secret,
        "session_handle": session.session_handle,
        "provider_uid": session.provider_uid,
    }
    return {name: each.reveal() for name, each in fields.items() if each is not None}


def held(connection: Connection) -> dict[str, str]:
    """Return what the simulator holds of it."""
    fields = {
        "auth_token": connection.auth_token,
        "token_secret": connection.token_secret,
        "session_handle": connection.session_handle,
        "provider_uid": connection.provider_uid,
    }
    return {name: each for name, each in fields.items() if each}


def connect(rig: Rig, **fields: Any) -> Connection:
    """Give the user of everything another session with twitter."""
    connection = Connection(**{"auth_token": SENTINEL, "provider_uid": "4711", **fields})
    rig.seeded.world.connect(rig.seeded.api_key, EVERYTHING, "twitter", connection)
    return connection


BASE = {
    "UID": EVERYTHING,
    "provider": "twitter",
    "context": "context-0",
    "format": "json",
    "httpStatusCodes": "false",
}
SEALED = {**BASE, "encrypt": "true", "paddingMode": "PKCS7"}


class TestParameters:
    @pytest.mark.parametrize(
        ("terms", "more", "expected"),
        [
            (Terms(), {}, SEALED),
            (sealing(scope=Scope.ALL), {}, {**BASE, "encryptAll": "true", "paddingMode": "PKCS7"}),
            (sealing(padding=Padding.PKCS5), {}, {**SEALED, "paddingMode": "PKCS5"}),
            (sealing(padding=Padding.ZEROS), {}, {**SEALED, "paddingMode": "ZEROS"}),
            (PREFERRED, {}, SEALED),
            (Terms(), {"cid": "report"}, {**SEALED, "cid": "report"}),
            (Terms(), {"sign_ids": True}, {**SEALED, "signIDs": "true"}),
        ],
        ids=["plain terms", "all", "PKCS5", "ZEROS", "preferred", "cid", "signIDs"],
    )
    async def test_are_these_and_no_others(
        self, terms: Terms, more: dict[str, Any], expected: Mapping[str, str]
    ) -> None:
        """What is sent is exactly what the terms and the query call for."""
        rig = Rig(terms=terms)
        await rig.session(**more)
        assert {**expected, "apiKey": rig.seeded.api_key} == rig.last

    async def test_ask_for_a_signature_where_there_are_several_keys(self) -> None:
        """With more than one partner secret the signature is to tell which one it was."""
        rig = Rig()
        rig = Rig(keys=(rig.partner_key, OLD), seeded=rig.seeded)
        await rig.session()
        assert {**SEALED, "signIDs": "true", "apiKey": rig.seeded.api_key} == rig.last

    async def test_do_not_for_one_key_that_is_written_twice(self) -> None:
        """The same secret in two files is one key."""
        rig = Rig()
        rig = Rig(keys=(rig.partner_key, rig.partner_key), seeded=rig.seeded)
        await rig.session()
        assert "signIDs" not in rig.last

    async def test_ask_for_nothing_sealed_without_a_key(self) -> None:
        """What nobody could open is not asked for."""
        rig = Rig(keys=(), terms=PREFERRED)
        await rig.session()
        assert {**BASE, "encrypt": "false", "apiKey": rig.seeded.api_key} == rig.last

    async def test_carry_awkward_ids(self) -> None:
        """A UID arrives as it is, whatever characters it has."""
        rig = Rig()
        await rig.session(uid=AWKWARD)
        assert AWKWARD == rig.last["UID"]

    async def test_have_a_new_context_each_time(self) -> None:
        """The context names the request and is never used twice."""
        rig = Rig()
        await rig.session()
        await rig.session()
        assert ["context-0", "context-1"] == [c.parameters["context"] for c in rig.calls]


class TestSession:
    @pytest.mark.parametrize("provider", FAMILIES)
    @pytest.mark.parametrize("scope", list(Scope))
    async def test_holds_what_gigya_holds(self, provider: str, scope: Scope) -> None:
        """For each provider the session is the simulator's, sealed in part or in whole."""
        for padding in Padding:
            rig = Rig(terms=sealing(scope=scope, padding=padding))
            session = await rig.session(provider)
            connection = rig.seeded.site.users[EVERYTHING][provider]
            assert held(connection) == shown(session)

    async def test_knows_its_time_and_its_call(self) -> None:
        """Expiries are in UTC; the exchange names call, attempts and key slot."""
        rig = Rig()
        session = await rig.session("yahoo", uid="user-yahoo-oauth1")
        connection = rig.seeded.site.users["user-yahoo-oauth1"]["yahoo"]
        assert connection.token_expires_at is not None
        assert datetime.fromtimestamp(connection.token_expires_at, UTC) == session.token_expires_at
        assert connection.session_expires_at is not None
        at = datetime.fromtimestamp(connection.session_expires_at, UTC)
        assert at == session.session_expires_at
        exchange = session.exchange
        assert (0, 1, 0) == (exchange.error_code, exchange.attempts, exchange.key_slot)
        assert (EPOCH, None) == (session.fetched_at, session.provider_uid_verified)

    async def test_takes_empty_for_absent(self) -> None:
        """Fields that are there and empty are not there, and an IV alone proves nothing."""
        rig = Rig()
        rig.seeded.world.change(rig.seeded.api_key, empty_fields=True)
        session = await rig.session("facebook")
        assert (None, None) == (session.token_secret, session.session_handle)
        assert ([], None) == (rig.openings, session.exchange.key_slot)

    async def test_needs_an_auth_token(self) -> None:
        """Success without authToken is no session."""
        rig = Rig()
        rig.knobs.turn(members={"authToken": None})
        with pytest.raises(UpstreamInvalid) as caught:
            await rig.session()
        assert "gigya-no-auth-token" == caught.value.reason

    async def test_shows_nothing_of_itself(self) -> None:
        """Nothing of a session can be read from its representation."""
        rig = Rig()
        connect(rig, token_secret=SENTINEL, session_handle=SENTINEL)
        assert SENTINEL not in repr(await rig.session())


class TestOpening:
    @pytest.mark.parametrize("mode", list(Mode))
    @pytest.mark.parametrize(
        "seal", [Seal.WRONG_KEY, Seal.WRONG_PADDING, Seal.NO_IV, Seal.SHORT_IV]
    )
    async def test_what_does_not_open_is_never_taken_for_plain(
        self, mode: Mode, seal: Seal
    ) -> None:
        """A sealed value that no key opens ends the request, whatever is preferred."""
        rig = Rig(terms=sealing(mode=mode))
        rig.knobs.turn(seal=seal)
        with pytest.raises(Undecryptable) as caught:
            await rig.session()
        assert [(Opening.UNOPENED, None)] == rig.openings
        assert caught.value.exchange is not None
        assert 0 == caught.value.exchange.error_code

    @pytest.mark.parametrize("seal", [Seal.PLAIN, Seal.NOT_BASE64, Seal.PART_OF_A_BLOCK])
    @pytest.mark.parametrize("scope", list(Scope))
    async def test_what_is_no_ciphertext_came_back_plain(self, seal: Seal, scope: Scope) -> None:
        """A value that cannot be sealed is refused, and the operator told which switch decides."""
        rig = Rig(terms=sealing(scope=scope))
        rig.knobs.turn(seal=seal)
        with pytest.raises(UpstreamRejected) as caught:
            await rig.session()
        assert "came-back-plain" == caught.value.reason
        assert "encryption.mode" in caught.value.detail
        assert [(Opening.PLAIN_REFUSED, None)] == rig.openings

    @pytest.mark.parametrize("scope", list(Scope))
    @pytest.mark.parametrize("provider", ["twitter", "google"])
    async def test_an_ignored_switch_is_plain(self, scope: Scope, provider: str) -> None:
        """Gigya ignoring the switch is refused where sealing is required, and taken elsewhere."""
        for mode in Mode:
            rig = Rig(terms=sealing(mode=mode, scope=scope))
            rig.knobs.turn(ignores=frozenset({"encrypt", "encryptAll"}))
            if mode is Mode.REQUIRED:
                with pytest.raises(UpstreamRejected):
                    await rig.session(provider)
            else:
                session = await rig.session(provider)
                assert held(rig.seeded.site.users[EVERYTHING][provider]) == shown(session)
                assert session.exchange.key_slot is None

    @pytest.mark.parametrize("mode", list(Mode))
    async def test_nothing_to_seal_is_nothing_to_refuse(self, mode: Mode) -> None:
        """A reply without secrets is fine although the switch was ignored."""
        rig = Rig(terms=sealing(mode=mode))
        rig.knobs.turn(ignores=frozenset({"encrypt"}))
        session = await rig.session("facebook")
        assert held(rig.seeded.site.users[EVERYTHING]["facebook"]) == shown(session)

    async def test_a_plain_token_in_the_form_of_a_sealed_one(self) -> None:
        """Only Gigya's own word that it ignored the switch lets it pass, and only if preferred."""
        for mode, ignores, expected in (
            (Mode.PREFERRED, True, None),
            (Mode.PREFERRED, False, Undecryptable),
            (Mode.REQUIRED, True, UpstreamRejected),
            (Mode.REQUIRED, False, Undecryptable),
        ):
            rig = Rig(terms=sealing(mode=mode))
            connect(rig, token_secret=HEX)
            if ignores:
                rig.knobs.turn(ignores=frozenset({"encrypt"}))
            else:
                rig.knobs.turn(seal=Seal.PLAIN)
            if expected is None:
                assert HEX == shown(await rig.session())["token_secret"]
            else:
                with pytest.raises(expected):
                    await rig.session()

    async def test_without_a_key_ciphertext_is_not_handed_out(self) -> None:
        """A Gigya that seals unasked is found out by its IV."""
        rig = Rig(keys=(), terms=PREFERRED)
        changes = {"encrypts_by_default": True, "ignores": frozenset({"encrypt"})}
        rig.seeded.world.change(rig.seeded.api_key, **changes)
        with pytest.raises(Undecryptable):
            await rig.session()

    @pytest.mark.parametrize("also", [frozenset[str](), frozenset({"providerUID"})])
    async def test_all_may_mean_more_or_less(self, also: frozenset[str]) -> None:
        """Under encryptAll a field that no document speaks of may be sealed or plain."""
        rig = Rig(terms=sealing(scope=Scope.ALL))
        names = rig.seeded.site.encrypt_all | also
        rig.seeded.world.change(rig.seeded.api_key, encrypt_all=names)
        connection = connect(rig, token_secret="a", provider_uid=HEX, token_expires_at=EPOCH + 60)
        session = await rig.session()
        assert held(connection) == shown(session)
        assert datetime.fromtimestamp(EPOCH + 60, UTC) == session.token_expires_at


class TestSlots:
    @pytest.mark.parametrize("slot", [0, 1, 2])
    @pytest.mark.parametrize("form", list(ProviderUidForm))
    async def test_the_signature_tells_which_key(self, slot: int, form: ProviderUidForm) -> None:
        """With several partner secrets the one that Gigya used opens, and is named."""
        rig = Rig()
        others = [OLD, OLDER]
        keys = (*others[:slot], rig.partner_key, *others[slot:])
        rig = Rig(keys=keys, seeded=rig.seeded)
        rig.seeded.world.change(rig.seeded.api_key, provider_uid_form=form)
        session = await rig.session()
        assert held(rig.seeded.site.users[EVERYTHING]["twitter"]) == shown(session)
        assert slot == session.exchange.key_slot
        assert [(Opening.OPENED, slot)] == rig.openings

    @pytest.mark.parametrize("is_signed", [True, False])
    async def test_only_the_signature_tells_a_key_for_what_is_no_token(
        self, *, is_signed: bool
    ) -> None:
        """What does not look like a token opens if the reply's signature says by which key."""
        rig = Rig()
        rig = Rig(keys=(OLD, rig.partner_key), seeded=rig.seeded)
        rig.knobs.turn(ignores=frozenset[str]() if is_signed else frozenset({"signIDs"}))
        connection = connect(rig, token_secret="zwei Wörter", provider_uid="123")
        if is_signed:
            assert held(connection) == shown(await rig.session())
        else:
            with pytest.raises(Undecryptable):
                await rig.session()

    async def test_a_signature_that_is_ignored_leaves_plausibility(self) -> None:
        """Without a signature the one key with plausible plaintext opens."""
        rig = Rig()
        rig = Rig(keys=(OLD, rig.partner_key), seeded=rig.seeded)
        rig.knobs.turn(ignores=frozenset({"signIDs"}))
        assert 1 == (await rig.session()).exchange.key_slot

    async def test_none_of_them_is_undecryptable(self) -> None:
        """Where no secret fits, none is guessed."""
        rig = Rig(keys=(OLD, OLDER))
        with pytest.raises(Undecryptable):
            await rig.session()


class TestProviderUid:
    @pytest.mark.parametrize("form", list(ProviderUidForm))
    @pytest.mark.parametrize("base_string", list(BaseString))
    async def test_is_verified_by_the_form_that_is_configured(
        self, form: ProviderUidForm, base_string: BaseString
    ) -> None:
        """A signature over the configured text verifies, one over the other does not."""
        rig = Rig(terms=Terms(base_string=base_string))
        rig.knobs.turn(provider_uid_form=form)
        session = await rig.session(sign_ids=True)
        fits = base_string is BaseString.EITHER or base_string.value == form.value
        assert fits is session.provider_uid_verified

    @pytest.mark.parametrize(
        ("knob", "expected"),
        [
            ({}, True),
            ({"wrong_signature": True}, False),
            ({"signature_age": 179.0}, True),
            ({"signature_age": 181.0}, False),
            ({"signature_age": -181.0}, False),
            ({"ignores": frozenset({"signIDs"})}, False),
            ({"members": {"providerUID": None}}, False),
            ({"members": {"providerUID": "another"}}, False),
            ({"members": {"timestamp": "2009-06-21 17:00:00"}}, False),
            ({"members": {"timestamp": None}}, False),
            ({"members": {"providerUIDSig": "not base64"}}, False),
        ],
        ids=str,
    )
    async def test_is_not_verified_by_anything_else(
        self, knob: dict[str, Any], *, expected: bool
    ) -> None:
        """A signature must be there, fresh, of that provider UID and by the partner secret."""
        rig = Rig()
        rig.knobs.turn(**knob)
        assert expected is (await rig.session(sign_ids=True)).provider_uid_verified

    async def test_freshness_is_by_gigyas_clock(self) -> None:
        """Where our clock is known to be off, Gigya's counts."""
        rig = Rig(ahead=1000)
        assert True is (await rig.session(sign_ids=True)).provider_uid_verified


class TestExpiries:
    @pytest.mark.parametrize("field", ["tokenExpiration", "tokenExpirationUTC"])
    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            *((form, 3600) for form in (
                ExpiryForm.DATE_TIME, ExpiryForm.ISO, ExpiryForm.ISO_OFFSET,
                ExpiryForm.SECONDS, ExpiryForm.MILLISECONDS)),
            (ExpiryForm.EMPTY, None),
            (ExpiryForm.ZERO, None),
        ],
    )  # fmt: skip
    async def test_are_read_in_every_form(
        self, field: str, form: ExpiryForm, expected: int | None
    ) -> None:
        """Each form that was seen is the same moment, under either name."""
        rig = Rig()
        rig.knobs.turn(expiry_form=form, expiry_field=field)
        connect(rig, token_expires_at=EPOCH + 3600)
        at = None if expected is None else datetime.fromtimestamp(EPOCH + expected, UTC)
        assert at == (await rig.session()).token_expires_at

    @pytest.mark.parametrize("form", [ExpiryForm.GARBAGE, ExpiryForm.RELATIVE])
    async def test_that_cannot_be_read_are_no_session(self, form: ExpiryForm) -> None:
        """An expiry in no known form is a reply that is not what it should be."""
        rig = Rig()
        rig.knobs.turn(expiry_form=form)
        connect(rig, token_expires_at=EPOCH + 3600)
        with pytest.raises(UpstreamInvalid) as caught:
            await rig.session()
        assert "unreadable-expiry" == caught.value.reason

    async def test_are_relative_where_the_site_says_so(self) -> None:
        """Seconds left are seconds from now."""
        rig = Rig(terms=Terms(relative_expiries=True))
        rig.knobs.turn(expiry_form=ExpiryForm.RELATIVE)
        connect(rig, token_expires_at=EPOCH + 3600)
        at = datetime.fromtimestamp(EPOCH + 3600, UTC)
        assert at == (await rig.session()).token_expires_at

    async def test_are_in_the_zone_of_the_site(self) -> None:
        """A time without a zone is in the site's, unless its name says UTC."""
        zone = ZoneInfo("Asia/Tokyo")
        rig = Rig(terms=Terms(zone=zone))
        rig.knobs.turn(expiry_field="tokenExpiration")
        connect(rig, token_expires_at=EPOCH)
        at = datetime.fromtimestamp(EPOCH, UTC).replace(tzinfo=zone).astimezone(UTC)
        assert at == (await rig.session()).token_expires_at


class TestTexts:
    @pytest.mark.parametrize("name", RELEASED_TEXTS)
    async def test_with_control_characters_are_refused(self, name: str) -> None:
        """A caller puts a token into a header: a line break in it would be another header."""
        rig = Rig(terms=PREFERRED)
        rig.knobs.turn(members={name: "token\r\nx-injected: 1"})
        with pytest.raises(UpstreamInvalid) as caught:
            await rig.session()
        assert "control-characters" == caught.value.reason


class TestContext:
    async def test_of_another_request_is_refused(self) -> None:
        """A reply that echoes another context is somebody else's session."""
        rig = Rig()
        rig.knobs.turn(context="context-of-another")
        with pytest.raises(UpstreamInvalid) as caught:
            await rig.session()
        assert "foreign-context" == caught.value.reason

    async def test_need_not_be_echoed(self) -> None:
        """A Gigya that echoes nothing is believed."""
        rig = Rig()
        rig.knobs.turn(context="")
        assert await rig.session()


class TestIgnored:
    async def test_parameters_are_counted_by_names_we_know(self) -> None:
        """What Gigya ignored of what was sent is told by name, the rest is one label."""
        rig = Rig()
        rows = [{"paramName": name, "warningCode": 403007} for name in ("encrypt", "made-up")]
        rig.knobs.turn(members={"ignoredParams": rows})
        await rig.session()
        assert ["encrypt", OTHER] == rig.ignored


class TestLeaks:
    @pytest.mark.parametrize(
        "knob",
        [
            {"seal": Seal.WRONG_KEY},
            {"seal": Seal.PLAIN},
            {"context": SENTINEL},
            {"members": {"tokenExpirationUTC": SENTINEL}},
            {"members": {"authToken": None, "providerUID": SENTINEL}},
            {"members": {"authToken": [SENTINEL]}},
        ],
        ids=str,
    )
    async def test_errors_hold_nothing_of_a_reply(self, knob: dict[str, Any]) -> None:
        """No error, nor anything that hangs on it, holds a token."""
        rig = Rig()
        connect(rig, token_secret=SENTINEL)
        rig.knobs.turn(**knob)
        with pytest.raises(ServiceError) as caught:
            await rig.session(uid=EVERYTHING)
        error = caught.value
        texts = "".join(traceback.format_exception(error)) + f"{error!r}{vars(error)}"
        assert SENTINEL not in texts
        assert (None, None) == (error.__cause__, error.__context__)


class TestSealing:
    def test_shows_its_switch(self) -> None:
        """Each scope has its parameter."""
        expected = {Scope.SECRETS: "encrypt", Scope.ALL: "encryptAll"}
        assert expected == {scope: Sealing(scope=scope).switch for scope in Scope}

    def test_a_session_can_be_made_by_hand(self) -> None:
        """The rig's helpers agree with the model."""
        connection = Connection(auth_token="a", provider_uid="b")
        assert {"auth_token": "a", "provider_uid": "b"} == held(replace(connection))
        assert Secret("a").matches("a")
