import json
from contextlib import suppress
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.members import (
    LONGEST_CONTEXT,
    LONGEST_NAME,
    LONGEST_UID,
    MEMBERS,
    MOST_FIELDS,
    MOST_SECONDS,
)
from service.api.openapi import document
from service.api.requests import LARGEST_BODY, parse, require_json
from service.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from service.model import TokenRequest, Uid, UidSignature

LEAST: Final = {"uid": "u-1", "provider": "facebook"}
FULL: Final = {
    "uid": "u-1",
    "provider": "facebook",
    "site": "shop",
    "fields": ["access_token", "expires"],
    "min_ttl": 60,
    "max_age": 0,
    "cid": "news",
    "context": {"a": [1, None]},
    "verify_provider_uid": True,
    "uid_signature": {"timestamp": "1800000000", "signature": "c2ln"},
}
SENTINEL: Final = "sentinel-77aa"


def body(**members: Any) -> bytes:
    """Return a request with these members besides the required ones."""
    return json.dumps({**LEAST, **members}).encode()


def refusal(octets: bytes) -> str:
    """Return what is said about a body that is refused."""
    with pytest.raises(InvalidRequest) as caught:
        parse(octets)
    assert SENTINEL not in caught.value.detail
    assert caught.value.__context__ is None
    return caught.value.detail


def meaning(members: dict[str, Any]) -> TokenRequest | str:
    """Return the request that these members are, or what is said of them."""
    try:
        return parse(json.dumps(members).encode())
    except InvalidRequest as refused:
        return refused.detail


class TestRequireJson:
    @pytest.mark.parametrize(
        "content_type",
        [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            'application/json; charset="utf-8"',
            " application/json ",
            "application/json\xa0",
        ],
    )
    def test_takes_json_in_utf8(self, content_type: str) -> None:
        """JSON, with or without saying that it is UTF-8."""
        require_json([content_type.encode("latin-1")])

    @pytest.mark.parametrize(
        "content_types",
        [
            [],
            [""],
            ["text/plain"],
            ["application/json; charset=latin-1"],
            ["application/json; charset=utf-8; charset=utf-8"],
            ["application/json; q=1"],
            ["application/problem+json"],
            ["application/json, text/plain"],
            ["application/x-www-form-urlencoded"],
            ["application/json", "application/json"],
            ["application/json\xe9"],
        ],
    )
    def test_refuses_the_rest(self, content_types: list[str]) -> None:
        """Anything else, nothing, or two of them."""
        with pytest.raises(UnsupportedMediaType):
            require_json([content_type.encode("latin-1") for content_type in content_types])


class TestParse:
    def test_takes_the_least(self) -> None:
        """A UID and a provider are enough."""
        assert TokenRequest(uid=Uid("u-1"), provider="facebook") == parse(body())

    def test_takes_everything(self) -> None:
        """Every member becomes what it says."""
        expected = TokenRequest(
            uid=Uid("u-1"),
            provider="facebook",
            site="shop",
            fields=("access_token", "expires"),
            min_ttl=60,
            max_age=0,
            cid="news",
            context={"a": [1, None]},
            has_context=True,
            verify_provider_uid=True,
            uid_signature=UidSignature(timestamp="1800000000", signature="c2ln"),
        )
        assert expected == parse(json.dumps(FULL).encode())

    def test_a_null_context_is_one(self) -> None:
        """A context of null is handed back, too."""
        request = parse(body(context=None))
        assert (None, True) == (request.context, request.has_context)

    def test_knows_every_member(self) -> None:
        """The table's members are those of the request, and the example has them all."""
        assert [member.name for member in MEMBERS] == list(FULL)

    def test_takes_text_beyond_ascii(self) -> None:
        """A UID is Unicode."""
        uid = "Zoë-\U0001f600"
        assert uid == parse(json.dumps({**LEAST, "uid": uid}).encode()).uid


BAD_VALUES: Final = [
    ("uid", ""),
    ("uid", None),
    ("uid", 1),
    ("uid", ["u"]),
    ("uid", "a\x00b"),
    ("uid", "a\nb"),
    ("uid", "a\x7f"),
    ("uid", "a\x85"),
    ("uid", "x" * (LONGEST_UID + 1)),
    ("provider", ""),
    ("provider", None),
    ("provider", "x" * (LONGEST_NAME + 1)),
    ("provider", "face\tbook"),
    ("site", ""),
    ("site", None),
    ("site", False),
    ("fields", []),
    ("fields", None),
    ("fields", "authToken"),
    ("fields", ["authToken", "authToken"]),
    ("fields", [1]),
    ("fields", [""]),
    ("fields", [["authToken"]]),
    ("fields", ["x" * (LONGEST_NAME + 1)]),
    ("fields", [str(at) for at in range(MOST_FIELDS + 1)]),
    ("min_ttl", -1),
    ("min_ttl", True),
    ("min_ttl", 1.5),
    ("min_ttl", "60"),
    ("min_ttl", None),
    ("min_ttl", MOST_SECONDS + 1),
    ("max_age", -1),
    ("max_age", False),
    ("max_age", 10**30),
    ("cid", ""),
    ("cid", "x" * 101),
    ("cid", "a\rb"),
    ("cid", 7),
    ("context", "x" * LONGEST_CONTEXT),
    ("verify_provider_uid", 1),
    ("verify_provider_uid", "true"),
    ("verify_provider_uid", None),
    ("uid_signature", "c2ln"),
    ("uid_signature", None),
    ("uid_signature", {}),
    ("uid_signature", {"timestamp": "1"}),
    ("uid_signature", {"timestamp": 1, "signature": "c2ln"}),
    ("uid_signature", {"timestamp": "1", "signature": ""}),
    ("uid_signature", {"timestamp": "1", "signature": "x" * 201}),
    ("uid_signature", {"timestamp": "1", "signature": "c2ln", "more": 1}),
]


class TestRefusals:
    @pytest.mark.parametrize(("name", "value"), BAD_VALUES)
    def test_names_the_member(self, name: str, value: Any) -> None:
        """A value that does not fit is refused by the name of its member."""
        detail = refusal(body(**{name: value}))
        assert detail.startswith(f"{name} ")
        assert detail.endswith(".")

    @pytest.mark.parametrize(("name", "value"), BAD_VALUES)
    def test_agrees_with_the_schema(self, name: str, value: Any) -> None:
        """What the code refuses, the published schema refuses, but for encoded sizes."""
        is_octets = name == "context"  # JSON Schema cannot count encoded octets
        assert is_octets is SCHEMA.is_valid({**LEAST, name: value})

    @pytest.mark.parametrize(
        ("octets", "detail"),
        [
            (b"", "The body is empty."),
            (b"[]", "The body is not a JSON object."),
            (b"null", "The body is not a JSON object."),
            (b'"uid"', "The body is not a JSON object."),
            (b"{", "The body is not JSON as this service takes it: it is not JSON."),
            (
                b'{"uid": "a", "uid": "b", "provider": "qq"}',
                "The body is not JSON as this service takes it: a member occurs twice.",
            ),
            (
                b'{"uid": "\\ud800", "provider": "qq"}',
                (
                    "The body is not JSON as this service takes it: "
                    "a string holds half of a surrogate pair."
                ),
            ),
            (b"\xff\xfe", "The body is not JSON as this service takes it: it is not UTF-8."),
            (b'{"uid": "a"}', "provider is missing."),
            (b"{}", "uid is missing. provider is missing."),
        ],
    )
    def test_say_what_is_wrong(self, octets: bytes, detail: str) -> None:
        """A body that is no request is refused with a sentence."""
        assert detail == refusal(octets)

    def test_say_everything_at_once(self) -> None:
        """All that is wrong is said in one answer."""
        detail = refusal(body(uid="", min_ttl=-1, **{SENTINEL: 1}))
        assert detail.startswith("Members not known here: 1. Known: uid, provider, site,")
        assert "uid must be a text of 1 to 512 characters" in detail
        assert "min_ttl must be a whole number of seconds from 0 to 31536000" in detail

    @pytest.mark.parametrize("name", ["uid", "provider", "site", "fields", "cid", "uid_signature"])
    def test_quote_nothing(self, name: str) -> None:
        """What was sent is not in the answer, nor in what is behind it."""
        refusal(body(**{name: SENTINEL + "\n"}))

    @pytest.mark.parametrize("name", ["UID", "Uid", "minTtl", "uid "])
    def test_case_is_exact(self, name: str) -> None:
        """A member in odd case is unknown."""
        assert "Members not known here: 1." in refusal(body(**{name: "x"}))

    def test_size(self) -> None:
        """16 KiB are read, one byte more is too large."""
        padded = body() + b" " * (LARGEST_BODY - len(body()))
        assert "facebook" == parse(padded).provider
        with pytest.raises(RequestTooLarge):
            parse(padded + b" ")

    def test_the_largest_context(self) -> None:
        """A context is measured as compact JSON in UTF-8."""
        fits = "é" * ((LONGEST_CONTEXT - 2) // 2)
        assert fits == parse(body(context=fits)).context
        assert "context must be at most 4096 bytes" in refusal(body(context=fits + "é"))


SCHEMA: Final = jsonschema.Draft202012Validator(
    document("0")["components"]["schemas"]["TokenRequest"]
)
TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=110)
VALUES: Final = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-2, MOST_SECONDS + 2),
    st.lists(TEXTS, max_size=3),
    st.fixed_dictionaries({"timestamp": TEXTS, "signature": TEXTS}),
)
NAMES: Final = st.sampled_from([member.name for member in MEMBERS]) | st.sampled_from(["x", "UID"])


class TestProperties:
    @given(members=st.dictionaries(NAMES, VALUES), is_completed=st.booleans())
    def test_the_schema_says_the_same(self, *, members: dict[str, Any], is_completed: bool) -> None:
        """What the published schema takes is taken, and nothing else."""
        sent = {**LEAST, **members} if is_completed else members
        told = ""
        try:
            parse(json.dumps(sent).encode())
        except InvalidRequest as refused:
            told = refused.detail

        assert SCHEMA.is_valid(sent) is not bool(told)

    @given(VALUES, VALUES)
    def test_the_least_is_read_as_all_else(self, uid: Any, provider: Any) -> None:
        """The required members mean alone what they mean beside one that says its default."""
        least = {"uid": uid, "provider": provider}

        assert meaning(least) == meaning({**least, "min_ttl": 0})

    @given(st.binary(max_size=200))
    def test_bytes_are_a_request_or_refused(self, octets: bytes) -> None:
        """Whatever the bytes are, there is a request or one kind of refusal."""
        with suppress(InvalidRequest):
            assert parse(octets).uid
