"""Every code of Gigya's to what a caller gets and what the audit keeps (design.md's table)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from service.simulator import Body, Seal, Wire
from tests.house import House

NO_SESSION: Final = (403005, 404000, 404003, 400106)
REAUTHENTICATE: Final = (403009, 403011, 403012, 403017, 403022, 403023, 500014)
BUSY: Final = (403048, 409030, 403024)
UNAVAILABLE: Final = (100001, 500001, 500023, 500028, 500034)
TIMEOUT: Final = (504001, 504002)
UNKNOWN_PROVIDER: Final = (400096,)
REJECTED: Final = (
    *(301001, 500002, 500003, 500031),
    *(400001, 400002, 400003, 400004, 400006, 400007, 400008, 400011, 400012, 400013, 400014),
    *(400015, 400030, 400093, 400120, 400122),
    *(403000, 403001, 403002, 403003, 403004, 403006, 403007, 403008, 403010, 403015, 403025),
    *(403026, 403035, 403036, 403041, 403042, 403043, 403047, 403120),
    405001,
)
"""The other codes of facts.md §5 that begin with 4, and four more."""
INVALID: Final = (1, 123456, 503001, 999999)
"""Codes in no list."""

EXPECTED: Final[Mapping[int, tuple[int, str, str | None]]] = {
    **dict.fromkeys(NO_SESSION, (404, "no-session", None)),
    **dict.fromkeys(REAUTHENTICATE, (409, "reauthentication-required", None)),
    **dict.fromkeys(BUSY, (503, "upstream-busy", "5")),
    **dict.fromkeys(UNAVAILABLE, (503, "upstream-unavailable", "2")),
    **dict.fromkeys(TIMEOUT, (504, "upstream-timeout", "2")),
    **dict.fromkeys(UNKNOWN_PROVIDER, (400, "unknown-provider", None)),
    **dict.fromkeys(REJECTED, (502, "upstream-rejected", None)),
    **dict.fromkeys(INVALID, (502, "upstream-invalid", None)),
}


def house(directory: Path) -> House:
    """Return a house that asks Gigya once: these tests are not about retries."""
    made = House(directory)
    made.settings["upstream"] = {"attempts": 1}
    return made


class TestCodes:
    @pytest.mark.parametrize("code", EXPECTED)
    async def test_has_its_problem_and_its_record(self, code: int, tmp_path: Path) -> None:
        """The caller gets status, code and advice; the audit keeps Gigya's code and its call."""
        status, problem, retry_after = EXPECTED[code]
        gigya = house(tmp_path)
        gigya.simulator.knobs.turn(error_code=code)

        async with gigya.open() as visitor:
            answer = await visitor.ask()

        told = answer.json()
        assert (status, problem) == (answer.status_code, told["code"])
        assert (retry_after is not None) is told["retryable"]
        assert retry_after == answer.headers.get("retry-after")
        [record] = gigya.records()
        assert (problem, status) == (record["outcome"], record["status"])
        reason = "gigya-unlisted-code" if code in INVALID else f"gigya-{code}"
        assert reason == record["reason"]
        assert code == record["upstream"]["error_code"]
        assert 32 == len(record["upstream"]["call_id"])
        assert ("allow", "crm/grants[0]") == (record["decision"], record["rule"])
        assert not {"released", "names_released", "tokens"} & set(record)

    async def test_success_without_a_token_is_none(self, tmp_path: Path) -> None:
        """``errorCode`` 0 without ``authToken`` is no answer."""
        gigya = house(tmp_path)
        gigya.simulator.knobs.turn(members={"authToken": None})

        async with gigya.open() as visitor:
            answer = await visitor.ask()

        assert (502, "upstream-invalid") == (answer.status_code, answer.json()["code"])
        assert "gigya-no-auth-token" == gigya.records()[0]["reason"]

    def test_each_code_is_in_one_row(self) -> None:
        """The table above says one thing of each code."""
        rows = (NO_SESSION, REAUTHENTICATE, BUSY, UNAVAILABLE, TIMEOUT, UNKNOWN_PROVIDER, REJECTED)
        assert len(EXPECTED) == sum(map(len, rows)) + len(INVALID)

    async def test_the_expected_signature_is_nobodys(self, tmp_path: Path) -> None:
        """What 403003 brings along is a valid signature: neither caller nor record nor log has."""
        gigya = house(tmp_path)
        gigya.files["/secrets/user"] = b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
        gigya.settings["sites"]["shop"]["authentication"]["current"]["method"] = "user_key_signed"

        async with gigya.open() as visitor:
            answer = await visitor.ask()

        assert (502, "upstream-rejected") == (answer.status_code, answer.json()["code"])
        call = gigya.simulator.calls.last
        assert 403003 == call.error_code
        everything = answer.text + gigya.log.getvalue() + str(gigya.records())
        assert "expectedSignature" not in everything
        assert call.parameters["sig"] not in everything


SEALS: Final[Mapping[str, tuple[dict[str, Any], str, str]]] = {
    "wrong key": ({"seal": Seal.WRONG_KEY}, "undecryptable", "undecryptable"),
    "wrong padding": ({"seal": Seal.WRONG_PADDING}, "undecryptable", "undecryptable"),
    "no IV": ({"seal": Seal.NO_IV}, "undecryptable", "undecryptable"),
    "short IV": ({"seal": Seal.SHORT_IV}, "undecryptable", "undecryptable"),
    "plain": ({"seal": Seal.PLAIN}, "upstream-rejected", "came-back-plain"),
    "not base64": ({"seal": Seal.NOT_BASE64}, "upstream-rejected", "came-back-plain"),
    "part of a block": ({"seal": Seal.PART_OF_A_BLOCK}, "upstream-rejected", "came-back-plain"),
    "encrypt ignored": (
        {"ignores": frozenset({"encrypt"})},
        "upstream-rejected",
        "came-back-plain",
    ),
}
BODIES: Final[Mapping[str, str]] = {
    "empty": "malformed-reply",
    "garbage": "malformed-reply",
    "html": "malformed-reply",
    "huge": "too-large",
    "gzip": "encoded-body",
    "gzip_bomb": "encoded-body",
    "half": "malformed-reply",
    "array": "malformed-reply",
    "number": "malformed-reply",
    "not_utf8": "malformed-reply",
    "byte_order_mark": "malformed-reply",
    "deep": "too-large",
    "nan": "malformed-reply",
    "duplicate": "malformed-reply",
}
STATUSES: Final[Mapping[int, tuple[int, str]]] = {
    301: (502, "upstream-invalid"),
    302: (502, "upstream-invalid"),
    404: (502, "upstream-invalid"),
    429: (503, "upstream-busy"),
    500: (503, "upstream-unavailable"),
    502: (503, "upstream-unavailable"),
    503: (503, "upstream-unavailable"),
}
"""HTTP statuses of what stands in Gigya's place, with a page for people."""


class TestWhatIsNoReply:
    @pytest.mark.parametrize("fault", SEALS)
    async def test_what_cannot_be_opened(self, fault: str, tmp_path: Path) -> None:
        """All failures to decrypt look alike; what came back plain names the switch."""
        knob, code, reason = SEALS[fault]
        gigya = house(tmp_path)
        gigya.simulator.knobs.turn(**knob)

        async with gigya.open() as visitor:
            answer = await visitor.ask()

        assert (502, code) == (answer.status_code, answer.json()["code"])
        assert reason == gigya.records()[0]["reason"]
        if reason == "came-back-plain":
            assert "encryption.mode" in answer.json()["detail"]

    @pytest.mark.parametrize("body", BODIES)
    async def test_a_body_that_is_no_reply(self, body: str, tmp_path: Path) -> None:
        """Whatever comes in place of a reply is a problem of Gigya's, never a fault of ours."""
        gigya = house(tmp_path)
        gigya.simulator.knobs.turn(body=Body(body))

        async with gigya.open() as visitor:
            answer = await visitor.ask()

        assert (502, "upstream-invalid") == (answer.status_code, answer.json()["code"])
        assert BODIES[body] == gigya.records()[0]["reason"]

    @pytest.mark.parametrize("status", STATUSES)
    async def test_a_gateways_page(self, status: int, tmp_path: Path) -> None:
        """A page for people is judged by its status."""
        gigya = house(tmp_path)
        gigya.simulator.knobs.turn(http_status=status, body=Body.HTML, headers={"retry-after": "7"})

        async with gigya.open() as visitor:
            answer = await visitor.ask()

        assert STATUSES[status] == (answer.status_code, answer.json()["code"])
        assert ("7" if answer.json()["retryable"] else None) == answer.headers.get("retry-after")

    async def test_a_reply_to_another_request(self, tmp_path: Path) -> None:
        """A reply that echoes another context is another's session, and is not released."""
        gigya = house(tmp_path)
        gigya.simulator.knobs.turn(context="of another request")

        async with gigya.open() as visitor:
            answer = await visitor.ask()

        assert (502, "upstream-invalid") == (answer.status_code, answer.json()["code"])
        assert "foreign-context" == gigya.records()[0]["reason"]

    async def test_a_connection_that_breaks(self, tmp_path: Path) -> None:
        """Without an answer Gigya is not available."""
        gigya = house(tmp_path)
        gigya.simulator.knobs.turn(wire=Wire.RESET)

        async with gigya.open() as visitor:
            answer = await visitor.ask()

        assert (503, "upstream-unavailable") == (answer.status_code, answer.json()["code"])
        assert "unreachable-connection-lost" == gigya.records()[0]["reason"]
