from urllib.parse import parse_qsl

from hypothesis import given
from hypothesis import strategies as st

from service.gigya.attempts import form
from service.gigya.authentication import Authenticated

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


class TestForm:
    @given(st.dictionaries(texts.filter(bool), texts, max_size=8))
    def test_is_read_as_it_was_written(self, params: dict[str, str]) -> None:
        """Whatever the values, who decodes the form has them back, sorted by name."""
        body = form(Authenticated(params=params, headers={}))
        assert sorted(params.items()) == parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(params)
        )

    def test_leaves_alone_what_needs_no_encoding(self) -> None:
        """RFC 3986: unreserved characters stand for themselves, a space is never a plus."""
        params = {"a": "AZaz09-._~", "b": "a b+c&d=e/%", "c": "", "d": "\u00fc\U0001f600"}
        expected = b"a=AZaz09-._~&b=a%20b%2Bc%26d%3De%2F%25&c=&d=%C3%BC%F0%9F%98%80"
        assert expected == form(Authenticated(params=params, headers={}))
