from dataclasses import replace
from typing import Any

import pytest

from service.gigya.keys import PartnerKey
from service.gigya.live_check import Findings, check_live, expiry_form
from service.gigya.sealing import Mode, Scope
from service.gigya.terms import Terms
from service.model import Exchange
from service.simulator.expiries import ExpiryForm
from service.simulator.knobs import Seal
from service.simulator.seeds import EVERYTHING
from service.simulator.signing import ProviderUidForm
from service.simulator.world import Connection
from tests.gigya.rig import Rig, sealing
from tests.virtual_time import EPOCH, VIRTUAL

SENTINEL = "s3nt1nel-of-a-token"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Time is virtual in this module."""
    return VIRTUAL


async def check(rig: Rig, uid: str = EVERYTHING) -> Findings:
    """Check the simulator live."""
    return await check_live(
        rig.client,
        rig.ring.value,
        rig.terms,
        rig.query(uid=uid),
        rig.deadline(),
        nonce=lambda: "context-of-a-check",
    )


class TestCheckLive:
    async def test_tells_what_is_as_documented(self) -> None:
        """Against a Gigya as documented every open point is settled in one call."""
        rig = Rig(ahead=30)
        connection = Connection(
            auth_token=SENTINEL,
            token_secret=SENTINEL,
            provider_uid="4711",
            token_expires_at=EPOCH + 99,
        )
        rig.seeded.world.connect(rig.seeded.api_key, EVERYTHING, "twitter", connection)
        findings = await check(rig)
        assert (
            Findings(
                exchange=Exchange(
                    error_code=0, call_id=findings.exchange.call_id, attempts=1, milliseconds=0.0
                ),
                knows_all_parameters=True,
                authentication_slot="current",
                shapes={
                    "authToken": "plain",
                    "tokenSecret": "sealed",
                    "tokenExpirationUTC": "plain",
                    "IV": "plain",
                    "providerUID": "plain",
                    "timestamp": "plain",
                    "providerUIDSig": "plain",
                },
                opening="opened",
                key_slot=0,
                context_is_echoed=True,
                expiry_forms={"tokenExpirationUTC": "date-time-without-zone"},
                signature_forms=("session_info",),
                clock_offset=findings.clock_offset,
            )
            == findings
        )
        assert pytest.approx(30, abs=1) == findings.clock_offset
        assert "true" == rig.last["checkParams"]

    async def test_shows_no_value(self) -> None:
        """Findings can be printed: shapes and verdicts, never a token or an id."""
        rig = Rig()
        connection = Connection(auth_token=SENTINEL, token_secret=SENTINEL, provider_uid=SENTINEL)
        rig.seeded.world.connect(rig.seeded.api_key, EVERYTHING, "twitter", connection)
        for seal in (None, Seal.PLAIN, Seal.WRONG_KEY):
            rig.knobs.clear()
            rig.knobs.turn(seal=seal)
            assert SENTINEL not in repr(await check(rig))

    async def test_finds_a_parameter_that_is_not_known(self) -> None:
        """Where checkParams is the only thing that fails, the call is made again without."""
        rig = Rig()
        rig.seeded.world.change(rig.seeded.api_key, ignores=frozenset({"encrypt"}))
        findings = await check(rig)
        assert (False, ("encrypt",)) == (findings.knows_all_parameters, findings.ignored)
        assert ("plain", None) == (findings.opening, findings.problem)
        assert 2 == len(rig.calls)

    @pytest.mark.parametrize(
        ("terms", "knob", "expected"),
        [
            (Terms(), {}, "opened"),
            (sealing(scope=Scope.ALL), {}, "opened"),
            (Terms(), {"seal": Seal.WRONG_KEY}, "unopened"),
            (Terms(), {"seal": Seal.PLAIN}, "plain"),
            (sealing(mode=Mode.PREFERRED), {"seal": Seal.PLAIN}, "nothing-sealed"),
            (Terms(), {"members": {"tokenSecret": None}}, "nothing-sealed"),
        ],
        ids=["opened", "all opened", "unopened", "plain", "plain and may", "nothing to seal"],
    )
    async def test_tells_what_opens(
        self, terms: Terms, knob: dict[str, Any], expected: str
    ) -> None:
        """Whether the site's keys open what comes is said in a word."""
        rig = Rig(terms=terms)
        rig.knobs.turn(**knob)
        assert expected == (await check(rig)).opening

    @pytest.mark.parametrize(
        ("knob", "expected"),
        [
            ({"provider_uid_form": ProviderUidForm.SESSION_INFO}, ("session_info",)),
            ({"provider_uid_form": ProviderUidForm.IDENTITY}, ("identity",)),
            ({"wrong_signature": True}, ()),
            ({"members": {"providerUIDSig": None}}, None),
        ],
        ids=["session info", "identity", "neither", "none"],
    )
    async def test_tells_which_signature_fits(
        self, knob: dict[str, Any], expected: tuple[str, ...] | None
    ) -> None:
        """Which of the two documented texts was signed is found by trying both."""
        rig = Rig()
        rig.knobs.turn(**knob)
        assert expected == (await check(rig)).signature_forms

    async def test_tells_which_slots_serve(self) -> None:
        """The slot that decrypts and the one that authenticates are named."""
        probe = Rig()
        wrong = replace(probe.bearer(), user_key="unknown")
        rig = Rig(
            credentials=wrong,
            previous=probe.bearer(),
            keys=(PartnerKey(bytes(32)), probe.partner_key),
            seeded=probe.seeded,
        )
        findings = await check(rig)
        assert ("previous", 1) == (findings.authentication_slot, findings.key_slot)

    async def test_tells_what_went_wrong(self) -> None:
        """A call that fails is described, with its code."""
        findings = await check(Rig(), uid="nobody-knows")
        assert 403005 == findings.exchange.error_code
        assert findings.problem is not None
        assert findings.problem.startswith("Gigya answered 403005")

    @pytest.mark.parametrize(
        ("context", "expected"), [(None, True), ("", None), ("another", False)], ids=str
    )
    async def test_tells_whether_the_context_comes_back(
        self, context: str | None, *, expected: bool | None
    ) -> None:
        """An echo is true or false, and absent where there is none."""
        rig = Rig()
        rig.knobs.turn(context=context)
        assert expected is (await check(rig)).context_is_echoed


class TestExpiryForm:
    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            (ExpiryForm.DATE_TIME, "date-time-without-zone"),
            (ExpiryForm.ISO, "date-time-with-zone"),
            (ExpiryForm.ISO_OFFSET, "date-time-with-zone"),
            (ExpiryForm.SECONDS, "seconds-since-1970"),
            (ExpiryForm.MILLISECONDS, "milliseconds-since-1970"),
            (ExpiryForm.RELATIVE, "seconds-left"),
            (ExpiryForm.GARBAGE, "unknown"),
        ],
    )
    async def test_has_a_name(self, form: ExpiryForm, expected: str) -> None:
        """The form in which the site writes its expiries is named."""
        rig = Rig()
        rig.knobs.turn(expiry_form=form)
        connection = Connection(auth_token="a", provider_uid="b", token_expires_at=EPOCH + 99)
        rig.seeded.world.connect(rig.seeded.api_key, EVERYTHING, "twitter", connection)
        assert {"tokenExpirationUTC": expected} == (await check(rig)).expiry_forms

    def test_of_zero_is_seconds_left(self) -> None:
        """Zero is digits, too."""
        assert "seconds-left" == expiry_form("0")
