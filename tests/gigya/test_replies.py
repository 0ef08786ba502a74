import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import errors
from service.errors import ServiceError
from service.gigya import replies
from service.gigya.replies import MalformedReply, Reply, Verdict
from service.gigya.sites import DATA_CENTERS
from service.model import Exchange

EXCHANGE = Exchange(error_code=1, call_id="c" * 32, attempts=1)
OK: dict[str, Any] = {"errorCode": 0, "statusCode": 200, "statusReason": "OK"}

CONTRACT: dict[type[ServiceError], tuple[int, ...]] = {
    errors.NoSession: (403005, 404000, 404003, 400106),
    errors.ReauthenticationRequired: (403009, 403011, 403012, 403017, 403022, 403023, 500014),
    errors.UpstreamBusy: (403048, 409030, 403024),
    errors.UpstreamUnavailable: (100001, 500001, 500023, 500028, 500034),
    errors.UpstreamTimeout: (504001, 504002),
    errors.UnknownProvider: (400096,),
    errors.UpstreamRejected: (
        *(301001, 500002, 500003, 500031),
        *(400001, 400002, 400003, 400004, 400006, 400007, 400008),
        *(400011, 400012, 400013, 400014, 400015, 400030, 400093, 400120, 400122),
        *(403000, 403001, 403002, 403003, 403004, 403006, 403007, 403008, 403010, 403015),
        *(403025, 403026, 403035, 403036, 403041, 403042, 403043, 403047, 403120, 405001),
    ),
    errors.UpstreamInvalid: (200001, 200003, 200008, 500000, 500026, 500033),
}
"""design.md's sentence on Gigya's codes, written out from facts.md §5 by hand."""

VERDICTS: dict[Verdict, tuple[int, ...]] = {
    Verdict.RESYNC: (403002,),
    Verdict.RENONCE: (403004,),
    Verdict.RENEW_TOKEN: (403025,),
    Verdict.BACK_OFF: (
        *(100001, 403024, 403048, 409030),
        *(500001, 500023, 500026, 500028, 500034, 504001, 504002),
    ),
}
"""facts.md §5, last column; every other code is never tried again."""

CODES = [(code, error) for error, codes in CONTRACT.items() for code in codes]


def parsed(**members: Any) -> Reply:
    """Parse a reply with these members."""
    return replies.parse(json.dumps(members).encode())


class TestCodes:
    def test_are_those_of_the_contract(self) -> None:
        """The table has each code that the contract names and no other."""
        assert {code for code, _ in CODES} == set(replies.CODES)
        assert len(CODES) == len(replies.CODES)

    @pytest.mark.parametrize(("code", "error"), CODES)
    def test_become_the_error_of_the_contract(self, code: int, error: type[ServiceError]) -> None:
        """What each code becomes, with the exchange for the audit and the code as its reason."""
        failure = replies.failure(Reply(error_code=code), EXCHANGE)
        assert (error, f"gigya-{code}", EXCHANGE) == (
            type(failure),
            failure.reason,
            failure.exchange,
        )

    @pytest.mark.parametrize("code", [code for code, _ in CODES])
    def test_have_the_verdict_of_the_facts(self, code: int) -> None:
        """Which codes another attempt can help, and with what."""
        expected = [verdict for verdict, codes in VERDICTS.items() if code in codes]
        assert (expected or [Verdict.NEVER]) == [replies.verdict_of(code)]

    @pytest.mark.parametrize("code", [code for code, _ in CODES])
    def test_say_what_to_do(self, code: int) -> None:
        """The code, Gigya's name of it, and a sentence of advice."""
        detail = replies.failure(Reply(error_code=code), EXCHANGE).detail
        assert re.fullmatch(rf"Gigya answered {code} \([A-Z][^)]+\)\. [A-Z].{{15,}}\.", detail)

    @pytest.mark.parametrize("code", [1, 42, 206001, 400999, 403999, 500999, 503001, 999999])
    def test_that_nobody_lists_are_invalid(self, code: int) -> None:
        """A code in no list is not understood, so it is neither retried nor explained away."""
        failure = replies.failure(Reply(error_code=code), EXCHANGE)
        assert (errors.UpstreamInvalid, "gigya-unlisted-code", Verdict.NEVER) == (
            type(failure),
            failure.reason,
            replies.verdict_of(code),
        )
        assert str(code) not in failure.detail

    @pytest.mark.parametrize(("code", "error"), CODES)
    def test_tell_when_to_ask_again(self, code: int, error: type[ServiceError]) -> None:
        """Waiting helps where Gigya is busy, away or slow, and nowhere else."""
        helps = {errors.UpstreamBusy, errors.UpstreamUnavailable, errors.UpstreamTimeout}
        failure = replies.failure(Reply(error_code=code), EXCHANGE)
        assert (error in helps) == (failure.retry_after is not None)


class TestFailure:
    def test_of_a_success_is_that_it_holds_no_token(self) -> None:
        """``errorCode`` 0 without ``authToken`` is not what the documentation promises."""
        failure = replies.failure(parsed(**OK), EXCHANGE)
        assert (errors.UpstreamInvalid, "gigya-no-auth-token", EXCHANGE) == (
            type(failure),
            failure.reason,
            failure.exchange,
        )

    @pytest.mark.parametrize("row", DATA_CENTERS.values(), ids=list(DATA_CENTERS))
    def test_names_the_right_data_center(self, row: Any) -> None:
        """301001 says where the key lives; we say which row that is, and never go there."""
        reply = parsed(errorCode=301001, apiDomain=row.domain.upper(), location="https://evil")
        assert row.domain == reply.api_domain
        detail = replies.failure(reply, EXCHANGE).detail
        assert detail.endswith(f"lives in data center {row.name}: configure that.")

    @pytest.mark.parametrize("domain", ["evil.example", "eu1.gigya.com.evil.example", "", None, 1])
    def test_names_no_other_domain(self, domain: Any) -> None:
        """A domain that is in no row is not repeated."""
        reply = parsed(errorCode=301001, apiDomain=domain)
        detail = replies.failure(reply, EXCHANGE).detail
        assert (None, True) == (reply.api_domain, detail.endswith("look it up in Gigya's console."))

    def test_mentions_a_data_center_for_301001_alone(self) -> None:
        """Another code with an ``apiDomain`` keeps its own advice."""
        failure = replies.failure(parsed(errorCode=403003, apiDomain="eu1.gigya.com"), EXCHANGE)
        assert "data center" not in failure.detail

    def test_holds_nothing_that_gigya_wrote(self) -> None:
        """Messages may quote parameters, and ``expectedSignature`` is a valid signature."""
        reply = parsed(
            errorCode=403003,
            errorMessage="sentinel-1",
            errorDetails="sentinel-2",
            baseString="sentinel-3",
            expectedSignature="sentinel-4",
            authToken="sentinel-5",
        )
        failure = replies.failure(reply, EXCHANGE)
        kept = [reply.context, reply.call_id, *reply.ignored, *reply.fields, failure.detail]
        assert "sentinel" not in repr([reply, failure, vars(failure), kept])
        assert {} == reply.fields


class TestParse:
    def test_keeps_the_fields_of_session_info(self) -> None:
        """Gigya's names, values as they came, all secret."""
        values = {name: f"value of {name}" for name in replies.WANTED}
        reply = parsed(**OK, **values, apiVersion=2, operation="x", time="2015-01-04T08:48:28.5Z")
        assert values == {name: value.reveal() for name, value in reply.fields.items()}
        assert "value of" not in repr(reply)

    @pytest.mark.parametrize("empty", ["", None])
    def test_empty_is_absent(self, empty: str | None) -> None:
        """The documented sample has empty fields; they mean nothing."""
        reply = parsed(**OK, authToken="token", tokenSecret=empty, sessionHandle=empty)
        assert ["authToken"] == list(reply.fields)

    def test_a_number_is_its_digits(self) -> None:
        """Expiries and ids are documented as strings, but digits without quotes lose nothing."""
        reply = parsed(**OK, tokenExpiration=1700000000, providerUID=10150001234567890)
        assert ["1700000000", "10150001234567890"] == [v.reveal() for v in reply.fields.values()]

    @pytest.mark.parametrize("name", [*replies.WANTED, "context"])
    @pytest.mark.parametrize("value", [True, 1.5, [], {}, ["a"], {"a": "b"}])
    def test_a_field_of_another_type_is_malformed(self, name: str, value: Any) -> None:
        """Nothing is made of what is neither text nor digits."""
        with pytest.raises(MalformedReply, match="not a string"):
            parsed(**OK, **{name: value})

    def test_tells_what_was_ignored(self) -> None:
        """The names of parameters that Gigya did not take, in their order."""
        rows = [{"paramName": n, "warningCode": 403007, "message": "m"} for n in ("encrypt", "cid")]
        assert ("encrypt", "cid") == parsed(**OK, ignoredParams=rows).ignored

    @pytest.mark.parametrize(
        ("rows", "names"),
        [
            (None, ()),
            ("encrypt", ()),
            ({"paramName": "encrypt"}, ()),
            (["encrypt", None, 1], ()),
            ([{}, {"paramName": None}, {"paramName": 1}, {"paramName": "cid"}], ("cid",)),
            ([{"paramName": "a b"}, {"paramName": "x\n"}, {"paramName": ""}], ()),
            ([{"paramName": "x" * 65}, {"paramName": "x" * 64}], ("x" * 64,)),
            ([{"paramName": f"p{n}"} for n in range(40)], tuple(f"p{n}" for n in range(32))),
        ],
    )
    def test_malformed_advice_costs_only_the_advice(
        self, rows: Any, names: tuple[str, ...]
    ) -> None:
        """Names that could harm a log are left out, and no more than 32 are kept."""
        assert names == parsed(**OK, ignoredParams=rows).ignored

    @pytest.mark.parametrize(
        ("given_", "kept"),
        [
            ("b0cce660845e4e40bf3d4663953564f3", "b0cce660845e4e40bf3d4663953564f3"),
            ("line\nend", None),
            ("", None),
            ("c" * 65, None),
            (7, None),
            (None, None),
        ],
    )
    def test_keeps_a_harmless_call_id(self, given_: Any, kept: str | None) -> None:
        """It is shown to callers and written to logs, so it must be a plain name."""
        assert kept == parsed(**OK, callId=given_).call_id

    def test_keeps_the_context(self) -> None:
        """The echo tells that the reply is to our request."""
        assert "abc" not in repr(parsed(**OK, context="abc"))
        assert ["abc", None, ""] == [
            parsed(**OK, context="abc").context,
            parsed(**OK, context=None).context,
            parsed(**OK, context="").context,
        ]

    @pytest.mark.parametrize(
        "code", ["true", "false", "null", '"0"', "0.0", "-0.0", "0e0", "[0]", "{}", "-1", "1000000"]
    )
    def test_success_is_the_integer_zero(self, code: str) -> None:
        """Nothing that merely resembles 0 is taken for success, nor a strange number for a code."""
        with pytest.raises(MalformedReply, match="errorCode"):
            replies.parse(f'{{"errorCode": {code}, "authToken": "token"}}'.encode())

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b"0",
            b'"text"',
            b"{}",
            b'{"statusCode": 200, "authToken": "token"}',
            b'{"errorCode": 0} {}',
            b'{"errorCode": 0, "errorCode": 0}',
            b'{"errorCode": 403005, "errorCode": 0}',
            b'{"errorCode": 0, "authToken": "a", "authToken": "b"}',
            b'{"errorCode": 0, "x": NaN}',
            b'{"errorCode": 0, "x": "\xff"}',
            b'{"errorCode": 0, "x": "\\ud800"}',
            b'{"errorCode": 0, "x": ' + b"[" * 100 + b"]" * 100 + b"}",
            b"gigya.callback({});",
            b"<html>502</html>",
            b'<?xml version="1.0"?><socialize.getSessionInfoResponse/>',
            b"\x1f\x8b\x08",
        ],
    )
    def test_refuses_what_is_no_json_object(self, body: bytes) -> None:
        """One JSON object with one meaning; the error holds nothing of the body."""
        with pytest.raises(MalformedReply) as caught:
            replies.parse(body)
        cause = caught.value.__cause__
        assert (True, None) == (cause is caught.value.__context__, cause and cause.__context__)

    @given(body=st.binary(max_size=60))
    def test_any_octets_are_a_reply_or_malformed(self, body: bytes) -> None:
        """No body raises anything else."""
        try:
            reply = replies.parse(body)
        except MalformedReply:
            return
        assert 0 <= reply.error_code <= 999_999

    @given(
        document=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [*replies.WANTED, "errorCode", "context", "callId", "apiDomain"]
                    ),
                    inner,
                    max_size=6,
                )
            ),
            max_leaves=8,
        )
    )
    def test_any_document_is_a_reply_or_malformed(self, document: Any) -> None:
        """Whatever stands in which member: kept values are text that is not empty."""
        try:
            reply = replies.parse(json.dumps(document).encode())
        except MalformedReply:
            return
        assert all(value.reveal() != "" for value in reply.fields.values())
