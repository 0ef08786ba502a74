"""What is a token at all, and what is an Authorization header."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.callers.credentials import LARGEST, Bearer, Credentials, read
from service.callers.refusals import Refusal
from service.callers.tokens import Token, octets, take_apart
from service.errors import Unauthenticated
from tests.callers.issuer import part

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class TestOctets:
    @given(st.binary(max_size=40))
    def test_round_trip(self, value: bytes) -> None:
        """What was encoded without padding is decoded."""
        assert value == octets(part(value))

    @given(st.text("ABCwxyz019-_+/= .\n", max_size=12))
    @example("AB")
    @example("A")
    @example("AA==")
    def test_one_way_to_write(self, text: str) -> None:
        """Every text is either the one way to write some octets, or refused."""
        decoded = octets(text)

        assert decoded is None or text == part(decoded)


class TestTakeApart:
    @given(
        st.dictionaries(st.text(), JSON, max_size=4), st.dictionaries(st.text(), JSON, max_size=4)
    )
    @settings(max_examples=60, deadline=None)
    def test_reads_objects(self, header: dict[str, Any], claims: dict[str, Any]) -> None:
        """A header and claims that are strict JSON objects are read as they are."""
        token = take_apart(f"{part(header)}.{part(claims)}.AAAA")

        assert isinstance(token, Token)
        assert (header, claims) == (token.header, token.claims)

    @given(st.text(st.characters(codec="ascii"), max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever comes is a token or a reason."""
        assert isinstance(take_apart(text), Token | Refusal)

    @given(JSON.filter(lambda value: not isinstance(value, dict)))
    def test_only_objects(self, value: Any) -> None:
        """Any other JSON is malformed."""
        expected = Refusal.TOKEN_MALFORMED
        assert expected == take_apart(f"{part(json.dumps(value))}.e30.AAAA")
        assert expected == take_apart(f"e30.{part(json.dumps(value))}.AAAA")

    def test_shows_nothing(self) -> None:
        """Claims are about people and places: they do not show."""
        token = take_apart(f"{part({'alg': 'x'})}.{part({'sub': 'somebody'})}.AAAA")

        assert "Token()" == repr(token)


def _token_of(header: bytes) -> str:
    """Return the bearer token of a header, or why there is none."""
    try:
        bearer = read([header]).bearer
        assert bearer is not None
        return bearer.reveal()
    except Unauthenticated as error:
        return f"refused: {error.reason}"


class TestRead:
    @given(st.lists(st.binary(max_size=40), max_size=3), st.none() | st.binary(max_size=3))
    @settings(max_examples=200)
    def test_any_headers(self, headers: list[bytes], certificate: bytes | None) -> None:
        """Whatever is presented is read or refused."""
        reason = None
        try:
            credentials = read(headers, certificate)
        except Unauthenticated as error:
            reason = error.reason
        if reason is None:
            assert len(headers) <= 1
            assert (credentials.bearer, credentials.certificate) != (None, None)
        else:
            assert reason in set(Refusal)

    @pytest.mark.parametrize("text", ["a", "a.b.c", "A-Z_~+/9=", "a=="])
    def test_token68(self, text: str) -> None:
        """Every token68 is a bearer token."""
        bearer = read([b"Bearer " + text.encode()]).bearer

        assert bearer is not None
        assert text == bearer.reveal()

    @given(
        st.sampled_from([b" ", b"  ", b" \t", b"\t", b""]),
        st.sampled_from([0, 1, LARGEST - 7, LARGEST - 6, LARGEST, LARGEST + 1]),
        st.text("aZ0-._~+/= \t\n\xe9", max_size=9).map(lambda text: text.encode("latin-1")),
    )
    def test_the_usual_spelling_is_read_as_any(self, space: bytes, size: int, end: bytes) -> None:
        """What is taken in one spelling is what would be taken in another, or refused."""
        rest = space + b"t" * size + end
        spellings = (b"Bearer", b"bEARER", b" \tBearer")

        assert 1 == len({_token_of(scheme + rest) for scheme in spellings})

    def test_bearer_does_not_show(self) -> None:
        """A bearer token has no face."""
        bearer = Bearer(b"very-secret")

        assert "Bearer(Secret(***))" == repr(bearer) == str(bearer) == f"{bearer}"
        assert "secret" not in repr(Credentials(bearer, b"very-secret"))
