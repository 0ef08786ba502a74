import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.answer_members import ANSWER_MEMBERS
from service.api.answers import JsonAnswer, release_answer
from service.api.headers import headers_of, lines_of
from service.api.members import LONGEST_CONTEXT
from service.broker import Release
from service.model import Exchange, Field, ProviderTokens, Session, SiteName, TokenRequest, Uid
from service.providers import BASE
from service.secret import Secret
from service.strict_json import loads

NOW = datetime(2027, 1, 15, 8, 0, 0, 987654, UTC)
FETCHED = NOW.timestamp() - 60
"""UNIX seconds."""


def release(tokens: ProviderTokens | None = None, **changes: Any) -> Release:
    """Return a release that holds a token and nothing else."""
    given: dict[str, Any] = {
        "site": SiteName("shop"),
        "row": BASE.row("facebook"),
        "provider_tokens": tokens or tokens_of(),
        "provider_uid_verified": None,
        "at": FETCHED,
        "session": Session(
            auth_token=Secret("token"), fetched_at=FETCHED, exchange=Exchange(call_id="call")
        ),
    }
    return Release(**{**given, **changes})


def tokens_of(**changes: Any) -> ProviderTokens:
    least: dict[str, Any] = {
        "tokens": {"access_token": Secret("token")},
        "released": (Field.AUTH_TOKEN,),
        "withheld": (),
        "withheld_names": (),
    }
    return ProviderTokens(**{**least, **changes})


def request(**changes: Any) -> TokenRequest:
    return TokenRequest(uid=Uid("u"), provider="facebook", **changes)


def answered(a_release: Release, asked: TokenRequest | None = None) -> dict[str, Any]:
    answer = release_answer(a_release, asked or request(), "0" * 32)
    document: dict[str, Any] = json.loads(bytes(answer.body))
    return document


LEAST: dict[str, Any] = {
    "site": "shop",
    "provider": "facebook",
    "tokens": {"access_token": "token"},
    "withheld": [],
    "cached": False,
    "age": 0,
    "gigya_call_id": "call",
    "audit_id": "0" * 32,
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**60), max_value=10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner)
    ),
    max_leaves=10,
)


class TestReleaseAnswer:
    def test_what_does_not_apply_is_absent(self) -> None:
        """The least answer has these members and no other."""
        assert LEAST == answered(release())

    def test_what_applies_is_there(self) -> None:
        """Each optional member appears where it applies, with its own form."""
        tokens = tokens_of(
            tokens={"access_token": Secret("token"), "expires": FETCHED + 67.5},
            withheld_names=("refresh_token",),
            provider_uid=Secret("42"),
            expires_at=NOW,
            session_expires_at=NOW + timedelta(hours=5),
        )

        told = answered(release(tokens, provider_uid_verified=False, at=FETCHED + 7.9))

        assert {
            **LEAST,
            "tokens": {"access_token": "token", "expires": 59},
            "withheld": ["refresh_token"],
            "provider_uid": "42",
            "provider_uid_verified": False,
            "expires_at": "2027-01-15T08:00:00Z",
            "session_expires_at": "2027-01-15T13:00:00Z",
            "age": 7,
        } == told

    def test_members_stand_in_the_documented_order(self) -> None:
        """All members at once come as the documentation lists them, but for the context: last."""
        tokens = tokens_of(provider_uid=Secret("42"), expires_at=NOW, session_expires_at=NOW)
        asked = request(context=1, has_context=True)

        told = answered(release(tokens, provider_uid_verified=True), asked)

        listed = [member.name for member in ANSWER_MEMBERS if member.name != "context"]
        assert [*listed, "context"] == list(told)

    def test_nothing_is_null(self) -> None:
        """Each member that is documented as one that may be absent is so where it is unknown."""
        session = Session(auth_token=Secret("token"), fetched_at=FETCHED, exchange=Exchange())

        told = answered(release(session=session))

        assert {member.name for member in ANSWER_MEMBERS if member.is_always} == told.keys()

    def test_nobody_between_may_keep_it(self) -> None:
        """The answer says that it must not be stored."""
        assert b"no-store" == dict(headers_of(JsonAnswer({}).lines("")))[b"cache-control"]

    def test_has_what_a_whole_answer_needs(self) -> None:
        """Its headers are lines that say how long it is, and which record tells of it."""
        answer = JsonAnswer({"a": "é"})
        expected = [
            (b"cache-control", b"no-store"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer.body)),
            (b"audit-id", b"0" * 32),
        ]
        assert expected == headers_of(answer.lines("0" * 32))
        assert lines_of(expected) == answer.lines("0" * 32)

    @pytest.mark.parametrize("context", [None, False, 0, "", [], {}, {"a": None}], ids=repr)
    def test_an_empty_context_is_handed_back(self, context: Any) -> None:
        """What was sent comes back, also where it is null or empty; what was not does not."""
        told = answered(release(), request(context=context, has_context=True))

        assert {**LEAST, "context": context} == told

    @pytest.mark.parametrize(
        "text",
        [
            "123456789012345678901234567890",
            "-9223372036854775809",
            "18446744073709551616",
            "9" * 4000,
        ],
        ids=["thirty digits", "below 64 bits", "above 64 bits", "all that 4 KiB hold"],
    )
    def test_a_number_of_any_length_is_handed_back(self, text: str) -> None:
        """A number that 64 bits cannot hold is JSON too, and comes back as it was sent."""
        answer = release_answer(
            release(), request(context=loads(text.encode()), has_context=True), "0" * 32
        )

        assert f'"context":{text}}}'.encode() in bytes(answer.body)

    @given(json_values)
    def test_any_context_is_handed_back(self, context: Any) -> None:
        """Any JSON that a request may hold is the same JSON in the answer."""
        sent = json.dumps(context).encode()
        taken = loads(sent) if len(sent) <= LONGEST_CONTEXT else None

        told = answered(release(), request(context=taken, has_context=True))

        assert json.dumps(taken, sort_keys=True) == json.dumps(told["context"], sort_keys=True)
