import asyncio
import contextlib
import traceback
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from service.errors import (
    NoSession,
    ReauthenticationRequired,
    ServiceError,
    UnknownProvider,
    UpstreamBusy,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from service.gigya.authentication import (
    Bearer,
    Credentials,
    OAuth2,
    PartnerSecret,
    Signed,
    UserKey,
    UserKeySigned,
)
from service.gigya.cures import CURES, REST, Cure
from service.gigya.keys import HmacKey, RsaKey
from service.gigya.replies import CODES, Verdict
from service.gigya.slots import TRIAL, Slots
from service.gigya.troubles import _OUTBOUND, CREDENTIAL_CODES, Result
from service.outbound import OutboundError, Unreachable
from service.secret import Secret
from service.simulator.knobs import Body
from service.simulator.seeds import pem, throwaway_key
from tests.gigya.rig import ORIGIN, Rig
from tests.virtual_time import EPOCH, VIRTUAL

INVALID, AWAY = UpstreamInvalid, UpstreamUnavailable
SENTINEL = "s3nt1nelS3cretValue"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Time is virtual in this module."""
    return VIRTUAL


def wrong_bearer(rig: Rig | None = None) -> Bearer:
    """Return a bearer whose key Gigya does not know."""
    user_key = rig.seeded.user_key if rig is not None else "unknown"
    return Bearer(user_key=user_key, key=RsaKey.from_pem(pem(throwaway_key(1))))


class Script(httpx.AsyncBaseTransport):
    """Answers with one thing after another, the last one for ever; or raises it."""

    def __init__(self, *outcomes: httpx.Response | Exception) -> None:
        self.outcomes = list(outcomes)
        self.sent = 0

    async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
        """Answer."""
        self.sent += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class TwoSecrets(httpx.AsyncBaseTransport):
    """A Gigya that takes one of two user keys; the user called slow is slow, and fails once."""

    old, new = (UserKey(user_key=name, secret=Secret("s")) for name in ("old", "new"))

    def __init__(self) -> None:
        self.active = "old"
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        form = (await request.aread()).decode()
        is_taken = f"userKey={self.active}" in form
        if is_taken and "UID=slow" in form and not self.go.is_set():
            self.reached.set()
            await self.go.wait()
            return reply(500001)
        return reply(0 if is_taken else 403010)


class Slow403048(httpx.AsyncBaseTransport):
    """A Gigya that takes some user keys, and asks for a pause the first time for the user slow."""

    def __init__(self, *active: str) -> None:
        self.active = set(active)
        self.paused = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        form = (await request.aread()).decode()
        if not any(f"userKey={name}" in form for name in self.active):
            return reply(403010)
        if "UID=slow" in form and not self.paused:
            self.paused = True
            return reply(403048)
        return reply()


def named(user_key: str) -> UserKey:
    """Return the credentials of a user key."""
    return UserKey(user_key=user_key, secret=Secret("s"))


def reply(code: int = 0, *, status: int = 200, date: str | None = None) -> httpx.Response:
    """Return a reply of Gigya's."""
    return httpx.Response(
        status,
        headers={} if date is None else {"date": date},
        content=b'{"errorCode": %d, "callId": "c1", "authToken": "t"}' % code,
    )


def page(status: int, body: bytes = b"<html>", **headers: str) -> httpx.Response:
    """Return what is not Gigya's."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, stream=httpx.ByteStream(body))


class TestWays:
    async def test_bearer(self) -> None:
        """A token in the header, and the API key in the form."""
        rig = Rig()
        got, exchange = await rig.call()
        assert (0, 1, [Result.OK]) == (got.error_code, exchange.attempts, rig.results)
        assert {
            "UID": "user-everything",
            "provider": "twitter",
            "format": "json",
            "httpStatusCodes": "false",
            "apiKey": rig.seeded.api_key,
        } == rig.last
        assert "application/x-www-form-urlencoded" == rig.calls[0].headers["content-type"]
        assert ("POST", f"{ORIGIN}/socialize.getSessionInfo") == (
            rig.calls[0].http_method,
            rig.calls[0].url,
        )

    @pytest.mark.parametrize("way", ["user_key", "user_key_signed", "oauth2"])
    async def test_others_that_gigya_takes_today(self, way: str) -> None:
        """Each way of today's Gigya works through the whole path."""
        probe = Rig()
        secret, user_key = probe.seeded.user_secret, probe.seeded.user_key
        credentials: dict[str, Credentials] = {
            "user_key": UserKey(user_key=user_key, secret=Secret(secret)),
            "user_key_signed": UserKeySigned(user_key=user_key, key=HmacKey.from_base64(secret)),
            "oauth2": OAuth2(user_key=user_key, secret=Secret(secret)),
        }
        rig = Rig(credentials=credentials[way], seeded=probe.seeded)
        got, _ = await rig.call()
        assert 0 == got.error_code

    @pytest.mark.parametrize("way", ["partner_secret", "signed", "oauth2"])
    async def test_the_partner_secret_is_dead(self, way: str) -> None:
        """Gigya refuses the partner secret in whatever form, and that is a rejection of ours."""
        probe = Rig()
        secret = probe.seeded.partner_secret
        credentials: dict[str, Credentials] = {
            "partner_secret": PartnerSecret(secret=Secret(secret)),
            "signed": Signed(key=HmacKey.from_base64(secret)),
            "oauth2": OAuth2(secret=Secret(secret)),
        }
        rig = Rig(credentials=credentials[way], seeded=probe.seeded)
        with pytest.raises(UpstreamRejected):
            await rig.call()
        assert [Result.CREDENTIALS_REJECTED] == rig.results


class TestOutcomes:
    @pytest.mark.parametrize("code", [*sorted(CODES), 987654], ids=str)
    async def test_every_code_is_an_error_with_its_exchange(self, code: int) -> None:
        """Whatever Gigya answers, the request ends with the code's error and tells the call."""
        rig = Rig(transport=Script(reply(code)))
        with pytest.raises(ServiceError) as caught:
            await rig.call()
        error = CODES[code].error if code in CODES else UpstreamInvalid
        exchange = caught.value.exchange
        assert exchange is not None
        assert (error, code, "c1") == (type(caught.value), exchange.error_code, exchange.call_id)
        assert exchange.attempts == len(rig.results)

    @pytest.mark.parametrize(
        "code", sorted(c for c, m in CODES.items() if m.verdict is Verdict.NEVER), ids=str
    )
    async def test_what_no_attempt_can_change_is_asked_once(self, code: int) -> None:
        """A verdict of never is one call and no waiting."""
        script = Script(reply(code))
        rig = Rig(transport=script)
        with pytest.raises(ServiceError):
            await rig.call()
        assert (1, 0.0) == (script.sent, rig.clock.monotonic())

    @pytest.mark.parametrize(
        "code", sorted(c for c, m in CODES.items() if m.verdict is Verdict.BACK_OFF), ids=str
    )
    async def test_what_passes_is_asked_again(self, code: int) -> None:
        """A transient code is tried again after a pause, three times in all."""
        script = Script(reply(code))
        rig = Rig(transport=script)
        with pytest.raises(ServiceError):
            await rig.call()
        assert 3 == script.sent
        assert rig.clock.monotonic() > 0

    @pytest.mark.parametrize(
        ("answer", "kind", "reason", "result", "calls"),
        [
            (page(200), INVALID, "malformed-reply", Result.MALFORMED, 3),
            (page(200, b""), INVALID, "malformed-reply", Result.MALFORMED, 3),
            (page(200, b"[]"), INVALID, "malformed-reply", Result.MALFORMED, 3),
            (page(200, b'{"errorCode":"0"}'), INVALID, "malformed-reply", Result.MALFORMED, 3),
            (page(200, content_encoding="gzip"), INVALID, "encoded-body", Result.MALFORMED, 1),
            (page(200, b"x" * 70_000), INVALID, "too-large", Result.MALFORMED, 1),
            (page(302, location="//x"), INVALID, "redirect", Result.MALFORMED, 1),
            (reply(0, status=302), INVALID, "redirect", Result.MALFORMED, 1),
            (page(403), INVALID, "not-gigya", Result.MALFORMED, 1),
            (page(408), AWAY, "gateway-error", Result.DOWN, 3),
            (page(429), UpstreamBusy, "http-429", Result.RATE_LIMITED, 3),
            (page(500), AWAY, "gateway-error", Result.DOWN, 3),
            (page(503), AWAY, "gateway-error", Result.DOWN, 3),
            (httpx.ConnectError("x"), AWAY, "unreachable-refused", Result.DOWN, 3),
            (ConnectionResetError(), AWAY, "unreachable-connection-lost", Result.DOWN, 3),
            (httpx.RemoteProtocolError("x"), INVALID, "broken-reply", Result.MALFORMED, 3),
            (httpx.UnsupportedProtocol("x"), AWAY, "unreachable-bad-url", Result.DOWN, 1),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_what_is_not_gigya_has_its_name(
        self,
        answer: httpx.Response | Exception,
        kind: type[ServiceError],
        reason: str,
        result: Result,
        calls: int,
    ) -> None:
        """What is no reply becomes an error, is counted by kind, and tried again if it passes."""
        script = Script(answer)
        rig = Rig(transport=script)
        with pytest.raises(kind) as caught:
            await rig.call()
        assert (reason, calls) == (caught.value.reason, script.sent)
        assert [result] * calls == rig.results

    async def test_gigyas_word_counts_whatever_the_status(self) -> None:
        """A gateway's status does not overrule a reply of Gigya's."""
        rig = Rig(transport=Script(reply(403009, status=500)))
        with pytest.raises(ReauthenticationRequired):
            await rig.call()

    @pytest.mark.parametrize("body", list(Body))
    async def test_no_body_is_a_surprise(self, body: Body) -> None:
        """Whatever the simulator does to a body is an error of ours, or no trouble at all."""
        rig = Rig()
        rig.knobs.turn(body=body)
        outcomes = await asyncio.gather(rig.call(), return_exceptions=True)
        errors = [each for each in outcomes if isinstance(each, BaseException)]
        assert {type(each) for each in errors} <= {UpstreamInvalid}

    async def test_the_exchange_tells_the_time(self) -> None:
        """Milliseconds are of the whole call, pauses included."""
        rig = Rig(transport=Script(reply(500001), reply(0)))
        _, exchange = await rig.call()
        assert (2, pytest.approx(50.0)) == (exchange.attempts, exchange.milliseconds)


class TestPauses:
    async def test_heals_what_passes(self) -> None:
        """Two failures and then an answer are an answer."""
        rig = Rig(transport=Script(reply(500001), page(502), reply(0)))
        _, exchange = await rig.call()
        assert 3 == exchange.attempts
        assert [Result.DOWN, Result.DOWN, Result.OK] == rig.results

    @pytest.mark.parametrize(("code", "seconds"), [(403048, 1.0), (409030, 0.1), (100001, 0.5)])
    async def test_honours_a_limit(self, code: int, seconds: float) -> None:
        """A code that asks for patience gets it before any jitter."""
        rig = Rig(transport=Script(reply(code), reply(0)))
        await rig.call()
        assert pytest.approx(seconds + 0.05) == rig.clock.monotonic()

    async def test_honours_retry_after(self) -> None:
        """A gateway that says when to come back is not asked sooner."""
        rig = Rig(transport=Script(page(503, retry_after="4"), reply(0)))
        await rig.call()
        assert pytest.approx(4.05) == rig.clock.monotonic()

    async def test_does_not_wait_beyond_the_deadline(self) -> None:
        """A pause that would outlast the deadline is not begun, and the caller is told why."""
        script = Script(page(503, retry_after="60"))
        rig = Rig(transport=script)
        with pytest.raises(UpstreamUnavailable) as caught:
            await rig.call(seconds=10)
        assert (1, 0.0, 60.0) == (script.sent, rig.clock.monotonic(), caught.value.retry_after)

    async def test_stays_within_the_deadline(self) -> None:
        """A silent Gigya ends with the deadline, and is not asked again."""
        rig = Rig()
        rig.knobs.turn(hold=asyncio.Event())
        with pytest.raises(UpstreamTimeout) as caught:
            await rig.call(seconds=4)
        exchange = caught.value.exchange
        assert exchange is not None
        assert (4.0, 1) == (rig.clock.monotonic(), exchange.attempts)
        assert [Result.TIMEOUT] == rig.results

    async def test_asks_nothing_after_the_deadline(self) -> None:
        """With no time left Gigya is not called."""
        rig = Rig()
        with pytest.raises(UpstreamTimeout):
            await rig.call(seconds=0)
        assert [] == rig.calls

    async def test_extra_calls_stay_within_the_budget(self) -> None:
        """With every call failing, Gigya gets a tenth more calls, and the reserve."""
        script = Script(reply(500001))
        rig = Rig(transport=script)
        for _ in range(500):
            with pytest.raises(UpstreamUnavailable):
                await rig.call()
        assert 500 + 50 <= script.sent <= 500 + 50 + 10

    async def test_without_a_budget_there_are_none(self) -> None:
        """A budget of nothing is one attempt."""
        script = Script(reply(500001))
        with pytest.raises(UpstreamUnavailable):
            await Rig(transport=script, share=0.0).call()
        assert 1 == script.sent

    async def test_each_attempt_is_new(self) -> None:
        """Nonce, jti and timestamp are fresh each time."""
        probe = Rig()
        signed = UserKeySigned(
            user_key=probe.seeded.user_key, key=HmacKey.from_base64(probe.seeded.user_secret)
        )
        rig = Rig(credentials=signed, seeded=probe.seeded)
        rig.knobs.turn(error_code=403048, times=2)
        await rig.call()
        sent = [call.parameters for call in rig.calls]
        assert ["nonce-0", "nonce-1", "nonce-2"] == [each["nonce"] for each in sent]
        assert 3 == len({each["timestamp"] for each in sent})
        assert 3 == len({each["sig"] for each in sent})


class TestClock:
    @pytest.mark.parametrize("ahead", [-7200.0, -300.0, 300.0, 50_000.0])
    async def test_is_corrected_once_and_remembered(self, ahead: float) -> None:
        """A clock that is off costs one call more, once."""
        rig = Rig(ahead=ahead)
        await rig.call()
        await rig.call()
        assert [Result.CLOCK, Result.OK, Result.OK] == rig.results
        assert [Cure.RESYNC] == rig.cures
        assert pytest.approx(ahead, abs=1) == rig.client.clock_offset

    async def test_is_corrected_for_all_that_are_under_way(self) -> None:
        """Calls that were sent with the old clock profit from what one of them learnt."""
        rig = Rig(ahead=-900)
        go = asyncio.Event()
        rig.knobs.turn(hold=go, times=2)
        calls = [asyncio.create_task(rig.call()) for _ in range(2)]
        await rig.simulator.calls.arrive(2)
        go.set()
        await asyncio.gather(*calls)
        assert [Cure.RESYNC] * 2 == rig.cures
        assert 4 == len(rig.calls)

    async def test_can_change_its_mind(self) -> None:
        """When the clocks agree again, the offset goes."""
        rig = Rig(ahead=900)
        await rig.call()
        rig.ahead = 0
        await rig.call()
        assert pytest.approx(0, abs=1) == rig.client.clock_offset

    @pytest.mark.parametrize(
        "date",
        [
            None,
            "yesterday",
            "",
            formatdate(EPOCH, usegmt=True),
            formatdate(EPOCH + 200_000, usegmt=True),
        ],
        ids=["missing", "garbage", "empty", "the same", "absurd"],
    )
    async def test_is_left_alone_by_a_date_that_teaches_nothing(self, date: str | None) -> None:
        """Without a date that explains the refusal there is no second attempt."""
        script = Script(reply(403002, date=date))
        rig = Rig(transport=script)
        with pytest.raises(UpstreamRejected):
            await rig.call()
        assert (1, 0.0) == (script.sent, rig.client.clock_offset)

    async def test_is_not_corrected_for_ever(self) -> None:
        """Where the correction does not help, others do not try it for a while."""
        dates = (reply(403002, date=formatdate(EPOCH + n * 60, usegmt=True)) for n in range(1, 99))
        script = Script(*dates)
        rig = Rig(transport=script)
        for _ in range(20):
            with pytest.raises(UpstreamRejected):
                await rig.call()
        assert 21 == script.sent
        await asyncio.sleep(REST)
        with pytest.raises(UpstreamRejected):
            await rig.call()
        assert 23 == script.sent

    async def test_tells_what_the_last_answer_said(self) -> None:
        """The offset of the last Date is there for who looks."""
        rig = Rig(ahead=45)
        await rig.call()
        assert pytest.approx(45, abs=1) == rig.client.date_offset


class TestNonce:
    async def test_is_renewed_once(self) -> None:
        """A refused nonce costs one more call."""
        rig = Rig()
        rig.knobs.turn(error_code=403004, times=1)
        await rig.call()
        assert ([Result.NONCE, Result.OK], [Cure.RENONCE]) == (rig.results, rig.cures)

    async def test_is_not_renewed_twice(self) -> None:
        """A fresh nonce that is refused as well is the end, and for a while nobody tries."""
        script = Script(reply(403004))
        rig = Rig(transport=script)
        for _ in range(10):
            with pytest.raises(UpstreamRejected):
                await rig.call()
        assert 11 == script.sent


class TestToken:
    def oauth(self, rig: Rig) -> OAuth2:
        """Return credentials of that way."""
        return OAuth2(user_key=rig.seeded.user_key, secret=Secret(rig.seeded.user_secret))

    async def test_is_asked_for_once(self) -> None:
        """Calls share one token."""
        probe = Rig()
        rig = Rig(credentials=self.oauth(probe), seeded=probe.seeded)
        await asyncio.gather(*(rig.call() for _ in range(5)))
        assert 1 == rig.simulator.calls.by_method["socialize.getToken"]
        assert "oauth_token" in rig.last
        assert "apiKey" not in rig.last

    async def test_is_renewed_when_gigya_refuses_it(self) -> None:
        """A token that was revoked is replaced, for that very call."""
        probe = Rig()
        rig = Rig(credentials=self.oauth(probe), seeded=probe.seeded)
        await rig.call()
        rig.simulator.tokens.revoke_all()
        await rig.call()
        assert 2 == rig.simulator.calls.by_method["socialize.getToken"]
        assert [Cure.RENEW_TOKEN] == rig.cures

    async def test_is_renewed_once_for_all(self) -> None:
        """Many calls that hold a revoked token ask for one new one together."""
        probe = Rig()
        rig = Rig(credentials=self.oauth(probe), seeded=probe.seeded)
        await rig.call()
        rig.simulator.tokens.revoke_all()
        await asyncio.gather(*(rig.call() for _ in range(5)))
        assert 2 == rig.simulator.calls.by_method["socialize.getToken"]

    async def test_that_is_refused_when_new_is_a_matter_of_the_credentials(self) -> None:
        """A new token that is refused like the old one leads to the other slot, if there is one."""
        probe = Rig()
        rig = Rig(credentials=self.oauth(probe), previous=probe.bearer(), seeded=probe.seeded)
        rig.knobs.turn(method="socialize.getSessionInfo", error_code=403025, times=2)
        await rig.call()
        assert [Cure.RENEW_TOKEN, Cure.OTHER_SLOT] == rig.cures
        assert ["previous"] == rig.slots_seen

    @pytest.mark.parametrize("seconds", [0.0, 1.0, REST - 1])
    async def test_that_is_refused_is_never_held_on_to(self, seconds: float) -> None:
        """Two tokens refused in a row fail one call; the next one asks for a third."""
        probe = Rig()
        rig = Rig(credentials=self.oauth(probe), seeded=probe.seeded)
        rig.knobs.turn(method="socialize.getSessionInfo", error_code=403025, times=2)
        with pytest.raises(UpstreamRejected):
            await rig.call()
        await asyncio.sleep(seconds)
        await rig.call()
        await rig.call()
        assert 3 == rig.simulator.calls.by_method["socialize.getToken"]

    async def test_that_is_revoked_soon_after_is_renewed_all_the_same(self) -> None:
        """A token that was taken ends the rest of the cure: the next revocation costs nobody."""
        probe = Rig()
        rig = Rig(credentials=self.oauth(probe), seeded=probe.seeded)
        rig.knobs.turn(method="socialize.getSessionInfo", error_code=403025, times=2)
        with pytest.raises(UpstreamRejected):
            await rig.call()
        await rig.call()
        rig.simulator.tokens.revoke_all()
        await rig.call()

    async def test_of_nobody_is_never_renewed(self) -> None:
        """403025 for credentials without a token ends the request."""
        script = Script(reply(403025))
        with pytest.raises(UpstreamRejected):
            await Rig(transport=script).call()
        assert 1 == script.sent

    async def test_failing_transiently_is_asked_for_again(self) -> None:
        """A token that cannot be had right now is a transient trouble of the call."""
        probe = Rig()
        rig = Rig(credentials=self.oauth(probe), seeded=probe.seeded)
        rig.knobs.turn(method="socialize.getToken", http_status=503, body=Body.HTML, times=1)
        await rig.call()
        assert [Result.DOWN, Result.OK, Result.OK] == rig.results


class TestClosing:
    async def test_ends_the_flight_of_a_token(self) -> None:
        """Nothing goes on once the client is closed; who waited gets an error."""
        probe = Rig()
        wanted = OAuth2(user_key=probe.seeded.user_key, secret=Secret(probe.seeded.user_secret))
        rig = Rig(credentials=wanted, previous=probe.bearer(), seeded=probe.seeded)
        rig.knobs.turn(method="socialize.getToken", hold=asyncio.Event())
        before = asyncio.all_tasks()
        call = asyncio.create_task(rig.call())
        await rig.simulator.calls.arrive(1)
        await rig.client.aclose()
        with pytest.raises(UpstreamTimeout):
            await call
        assert before == asyncio.all_tasks()

    async def test_without_a_token_has_nothing_to_end(self) -> None:
        """Closing is always allowed."""
        rig = Rig()
        await rig.call()
        await rig.client.aclose()


class TestSlots:
    async def test_a_replaced_one_is_not_pinned(self) -> None:
        """A call that ends well with replaced credentials changes nothing for the new ones."""
        rig = Rig()
        go = asyncio.Event()
        rig.knobs.turn(hold=go, times=1)
        task = asyncio.create_task(rig.call())
        await rig.simulator.calls.arrive(1)
        rig.slots.replace(Slots(current=wrong_bearer(), previous=rig.bearer()))
        assert "current" == rig.client.working_slot
        go.set()
        await task
        assert "current" == rig.client.working_slot

    async def test_a_replaced_one_is_not_pinned_where_both_were_tried(self) -> None:
        """A call that has chosen between replaced credentials chooses nothing for the new ones."""
        probe = Rig()
        rig = Rig(credentials=wrong_bearer(probe), previous=probe.bearer(), seeded=probe.seeded)
        first, second = asyncio.Event(), asyncio.Event()
        rig.knobs.turn(hold=first, times=1)
        task = asyncio.create_task(rig.call())
        await rig.simulator.calls.arrive(1)
        rig.knobs.turn(hold=second, times=1)
        first.set()
        await rig.simulator.calls.arrive(2)
        rig.slots.replace(Slots(current=rig.bearer(), previous=wrong_bearer(probe)))
        assert "current" == rig.client.working_slot
        second.set()
        await task
        assert ("current", []) == (rig.client.working_slot, rig.pins)

    async def test_previous_serves_where_current_is_rejected(self) -> None:
        """A key that is not active yet costs one call more, once; what works is pinned."""
        probe = Rig()
        rig = Rig(credentials=wrong_bearer(probe), previous=probe.bearer(), seeded=probe.seeded)
        for _ in range(3):
            await rig.call()
        assert [Result.CREDENTIALS_REJECTED, Result.OK, Result.OK, Result.OK] == rig.results
        assert (["previous"] * 3, "previous") == (rig.slots_seen, rig.client.working_slot)

    async def test_a_pin_is_told_once(self) -> None:
        """Which credentials serve is told when it changes, not with each call."""
        probe = Rig()
        rig = Rig(credentials=wrong_bearer(probe), previous=probe.bearer(), seeded=probe.seeded)
        for _ in range(3):
            await rig.call()
            await asyncio.sleep(TRIAL)
        assert ["previous"] == rig.pins

    async def test_a_pin_after_both_were_refused_is_told(self) -> None:
        """Whichever slot it is that works again, it is told when it serves."""
        bad = reply(403010)
        rig = Rig(transport=Script(bad, bad, bad, reply()), previous=wrong_bearer())
        while not rig.slots_seen:
            with contextlib.suppress(UpstreamRejected):
                await rig.call()
        assert (["previous"], ["previous"]) == (rig.slots_seen, rig.pins)

    async def test_current_is_tried_now_and_then(self) -> None:
        """Once in an interval one call begins with current, and fails for nobody."""
        probe = Rig()
        rig = Rig(credentials=wrong_bearer(probe), previous=probe.bearer(), seeded=probe.seeded)
        for _ in range(2):
            await asyncio.gather(*(rig.call() for _ in range(5)))
            await asyncio.sleep(TRIAL)
        await asyncio.gather(*(rig.call() for _ in range(5)))
        rejected = [result for result in rig.results if result is not Result.OK]
        assert ([Result.CREDENTIALS_REJECTED] * 3, 15) == (rejected, rig.results.count(Result.OK))

    async def test_current_serves_as_soon_as_gigya_takes_it(self) -> None:
        """A trial that succeeds ends the pin: its metric tells that the old key may go."""
        good, bad = reply(), reply(403010)
        script = Script(bad, good, good, good)
        rig = Rig(transport=script, previous=wrong_bearer())
        await rig.call()
        await asyncio.sleep(TRIAL)
        await rig.call()
        await rig.call()
        assert ["previous", "current", "current"] == rig.slots_seen
        assert ["previous", "current"] == rig.pins

    async def test_a_call_that_began_before_the_trial_pins_nothing(self) -> None:
        """A call with the pinned credentials that ends after the trial tells nothing new."""
        probe = Rig()
        seeded = probe.seeded
        rig = Rig(credentials=wrong_bearer(probe), previous=probe.bearer(), seeded=seeded)
        await rig.call()
        go = asyncio.Event()
        rig.knobs.turn(hold=go, times=1)
        slow = asyncio.create_task(rig.call(seconds=2 * TRIAL))
        await rig.simulator.calls.arrive(3)
        known = seeded.site.user_keys[seeded.user_key].public_keys
        keys = (*known, throwaway_key(1).public_key())
        seeded.world.change(
            seeded.api_key, user_keys={seeded.user_key: _key(seeded, public_keys=keys)}
        )
        await asyncio.sleep(TRIAL)
        await rig.call()
        go.set()
        await slow
        assert ["previous", "current", "previous"] == rig.slots_seen
        assert "current" == rig.client.working_slot

    @pytest.mark.parametrize("code", [400006, 400093, 403036, 403041], ids=str)
    async def test_a_trial_fails_for_nobody(self, code: int) -> None:
        """Whatever Gigya says to a trial, the pinned credentials serve the call."""
        script = Script(reply(403010), reply(), reply(code), reply())
        rig = Rig(transport=script, previous=wrong_bearer())
        await rig.call()
        await asyncio.sleep(TRIAL)
        await rig.call()
        assert ["previous", "previous"] == rig.slots_seen

    async def test_current_serves_again_when_previous_goes(self) -> None:
        """When the pinned one is switched off at Gigya, the other is tried, and pinned."""
        rig = Rig()
        seeded = rig.seeded
        secret = Secret(seeded.user_secret)
        rig = Rig(
            credentials=wrong_bearer(rig),
            previous=UserKey(user_key=seeded.user_key, secret=secret),
            seeded=seeded,
        )
        await rig.call()
        both = throwaway_key(1).public_key()
        rotated = {seeded.user_key: _key(seeded, secrets=(), public_keys=(both,))}
        seeded.world.change(seeded.api_key, user_keys=rotated)
        await rig.call()
        assert ["previous", "current"] == rig.slots_seen

    async def test_a_replacement_begins_with_current(self) -> None:
        """The pin is forgotten when the credentials are replaced."""
        probe = Rig()
        rig = Rig(credentials=wrong_bearer(probe), previous=probe.bearer(), seeded=probe.seeded)
        await rig.call()
        rig.slots.replace(Slots(current=probe.bearer(), previous=wrong_bearer()))
        await rig.call()
        assert ["previous", "current"] == rig.slots_seen

    async def test_a_replacement_serves_a_call_under_way(self) -> None:
        """A call whose key was switched off meanwhile takes the new one."""
        probe = Rig()
        rig = Rig(credentials=wrong_bearer(probe), seeded=probe.seeded)
        go = asyncio.Event()
        rig.knobs.turn(hold=go, times=1)
        task = asyncio.create_task(rig.call())
        await rig.simulator.calls.arrive(1)
        rig.slots.replace(Slots(current=probe.bearer()))
        go.set()
        await task
        assert ["current"] == rig.slots_seen

    @pytest.mark.parametrize("code", sorted(CREDENTIAL_CODES))
    async def test_both_rejected_is_two_calls_and_then_one(self, code: int) -> None:
        """Where both are rejected, only the first call tries both for a while."""
        script = Script(reply(code))
        rig = Rig(transport=script, previous=wrong_bearer())
        for _ in range(10):
            with pytest.raises(UpstreamRejected):
                await rig.call()
        assert 11 == script.sent
        await asyncio.sleep(REST)
        with pytest.raises(UpstreamRejected):
            await rig.call()
        assert 13 == script.sent

    async def test_one_bad_moment_is_no_rest(self) -> None:
        """A call that met both slots at bad times says nothing once another call has got through.

        It tried the first before Gigya knew it, and the second when Gigya knew it no more.
        """
        bad, good = reply(403010), reply()
        script = Script(bad, bad, good, bad, good)
        rig = Rig(transport=script, previous=wrong_bearer())
        with pytest.raises(UpstreamRejected):
            await rig.call()
        await rig.call()
        await rig.call()
        assert 5 == script.sent

    async def test_a_slow_call_goes_round_once(self) -> None:
        """A call that met both slots at bad times tries the first again, and misleads nobody.

        It began before Gigya knew the new secret, paused, and went on when the old one had gone.
        """
        gigya = TwoSecrets()
        rig = Rig(transport=gigya, credentials=gigya.new, previous=gigya.old)
        slow = asyncio.create_task(rig.call(UID="slow"))
        await gigya.reached.wait()
        await rig.call()
        gigya.active = "new"
        gigya.go.set()
        await slow

        await asyncio.gather(*(rig.call() for _ in range(3)))

    async def test_a_trial_that_meets_the_switch_fails_for_nobody(self) -> None:
        """Current is refused, Gigya switches, previous is refused: current is tried once more."""
        bad, good = reply(403010), reply()
        script = Script(bad, good, good, bad, bad, good)
        rig = Rig(transport=script, previous=wrong_bearer())
        await rig.call()
        await asyncio.sleep(TRIAL)
        rig.client._cures.proved()  # as other calls do all the time
        await rig.call()
        await rig.call()
        assert ["previous", "current", "current"] == rig.slots_seen

    async def test_goes_round_once_and_no_more(self) -> None:
        """Where both are refused although one has just served, it is three calls, then one."""
        script = Script(reply(), reply(403010))
        rig = Rig(transport=script, previous=wrong_bearer())
        for _ in range(5):
            with contextlib.suppress(UpstreamRejected):
                await rig.call()
        assert 1 + 3 + 1 + 1 + 1 == script.sent

    async def test_a_call_of_older_credentials_speaks_for_those_alone(self) -> None:
        """What it met with replaced credentials keeps nobody from trying both of the new ones.

        It was under way over one rotation and into the next; it tries the newer ones, too.
        """
        gigya = Slow403048("k0")
        rig = Rig(transport=gigya, credentials=named("k1"), previous=named("k0"))
        slow = asyncio.create_task(rig.call(UID="slow"))
        await asyncio.sleep(0.3)
        gigya.active = {"k1"}
        await rig.call()
        gigya.active = {"k1", "k2"}
        rig.slots.replace(Slots(current=named("k1"), previous=named("k2")))
        await rig.call()
        gigya.active = {"k2"}
        await slow
        await rig.call()

    async def test_a_replacement_ends_the_rest(self) -> None:
        """New credentials are given both their chances at once."""
        script = Script(reply(403010))
        rig = Rig(transport=script, previous=wrong_bearer())
        with pytest.raises(UpstreamRejected):
            await rig.call()
        rig.slots.replace(Slots(current=wrong_bearer(), previous=wrong_bearer()))
        with pytest.raises(UpstreamRejected):
            await rig.call()
        assert 4 == script.sent

    @pytest.mark.parametrize(
        "code", sorted(c for c, m in CODES.items() if c not in CREDENTIAL_CODES
                       and m.verdict is Verdict.NEVER), ids=str,
    )  # fmt: skip
    async def test_other_codes_try_no_other_slot(self, code: int) -> None:
        """What does not speak of the credentials is not asked with others."""
        script = Script(reply(code))
        with pytest.raises(ServiceError):
            await Rig(transport=script, previous=wrong_bearer()).call()
        assert 1 == script.sent

    async def test_oauth_that_is_refused_gives_way(self) -> None:
        """A client that getToken does not know is rejected credentials, too."""
        probe = Rig()
        wrong = OAuth2(user_key=probe.seeded.user_key, secret=Secret("d3Jvbmc="))
        rig = Rig(credentials=wrong, previous=probe.bearer(), seeded=probe.seeded)
        await rig.call()
        assert ["previous"] == rig.slots_seen


def _key(seeded: Any, **changes: Any) -> Any:
    return replace(seeded.site.user_keys[seeded.user_key], **changes)


class TestTables:
    def test_every_result_has_at_most_one_cure(self) -> None:
        """Cures are for four results, and each has its own."""
        assert set(Cure) == set(CURES.values())
        assert len(CURES) == len(set(CURES.values()))

    def test_credential_codes_are_rejections(self) -> None:
        """A code that another slot can cure is one that Gigya's table calls a rejection."""
        assert {UpstreamRejected} == {CODES[code].error for code in CREDENTIAL_CODES}

    def test_errors_of_outbound_are_all_known(self) -> None:
        """Each error of the door has its trouble."""
        assert set(OutboundError.__subclasses__()) == {*_OUTBOUND, Unreachable}

    def test_errors_are_those_of_the_contract(self) -> None:
        """An unknown provider is the one error of a caller's that Gigya finds."""
        assert UnknownProvider is CODES[400096].error
        assert NoSession is CODES[400106].error


def _texts(error: BaseException) -> Iterator[str]:
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        seen.append(at)
        yield "".join(traceback.format_exception(at))
        yield f"{at!r} {at.args!r} {getattr(at, '__dict__', {})!r}"
        at = at.__cause__ or at.__context__


class TestLeaks:
    @pytest.mark.parametrize(
        "outcome",
        [
            httpx.ConnectError(SENTINEL),
            page(200, SENTINEL.encode()),
            page(500, SENTINEL.encode()),
            page(200, b'{"errorCode":0,"authToken":["%s"]}' % SENTINEL.encode()),
            page(200, b'{"errorCode":403003,"expectedSignature":"%s"}' % SENTINEL.encode()),
            page(200, b'{"errorCode":403010,"errorDetails":"%s"}' % SENTINEL.encode()),
            page(200, SENTINEL.encode() * 9000),
            page(302, location=f"https://{SENTINEL}/"),
        ],
        ids=str,
    )
    async def test_no_error_holds_what_was_sent_or_received(
        self, outcome: httpx.Response | Exception
    ) -> None:
        """Errors, with all that hangs on them, hold neither secrets nor replies."""
        credentials = UserKey(user_key="k", secret=Secret(SENTINEL))
        rig = Rig(credentials=credentials, transport=Script(outcome))
        with pytest.raises(ServiceError) as caught:
            await rig.call(UID=SENTINEL)
        assert not [text for text in _texts(caught.value) if SENTINEL in text]
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)
