import json
import traceback
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.strict_json import DEEPEST, NotStrictJson, loads

DOCUMENTS: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


class TestLoads:
    @given(DOCUMENTS)
    def test_reads_what_json_is(self, document: Any) -> None:
        """A document comes back as it was written."""
        assert document == loads(json.dumps(document).encode())

    @given(DOCUMENTS, st.text(" \t\n\r", max_size=3), st.text(" \t\n\r", max_size=3))
    def test_forgives_white_space_around(self, document: Any, before: str, after: str) -> None:
        """The four characters that RFC 8259 §2 calls white space say nothing."""
        assert document == loads(f"{before}{json.dumps(document)}{after}".encode())

    @given(
        st.binary(max_size=64)
        | st.text('{}[]",:\\ue0123truefalsnN-+.', max_size=40).map(str.encode)
    )
    def test_refuses_or_reads_and_does_nothing_else(self, octets: bytes) -> None:
        """Whatever the bytes are, there is a document or one kind of refusal."""
        try:
            document = loads(octets)
        except NotStrictJson:
            return
        assert document == json.loads(octets)

    @pytest.mark.parametrize(
        ("octets", "why"),
        [
            (b"", "it is not JSON"),
            (b"{", "it is not JSON"),
            (b'{"a": 1,}', "it is not JSON"),
            (b"{'a': 1}", "it is not JSON"),
            (b"1 2", "it is not JSON"),
            (b"{} {}", "it is not JSON"),
            (b"{}\x00", "it is not JSON"),
            (b"\x0b{}", "it is not JSON"),
            (b"{}\x0c", "it is not JSON"),
            ("\u00a0{}".encode(), "it is not JSON"),
            (b" \r\n", "it is not JSON"),
            (b'"\x00"', "it is not JSON"),
            (b"01", "it is not JSON"),
            (b"\xff", "it is not UTF-8"),
            (b'"\xed\xa0\x80"', "it is not UTF-8"),
            ('"a"'.encode("utf-16"), "it is not UTF-8"),
            (b"\xef\xbb\xbf{}", "it is not JSON"),
            (b'{"a": 1, "a": 1}', "a member occurs twice"),
            (b'{"a": {"b": 1, "\\u0062": 2}}', "a member occurs twice"),
            (b"NaN", "NaN and infinities are not JSON"),
            (b"[-Infinity]", "NaN and infinities are not JSON"),
            (b"1e999", "a number is out of range"),
            (b"[-1e999]", "a number is out of range"),
            (b'"\\ud800"', "a string holds half of a surrogate pair"),
            (b'{"\\udc00": 1}', "a string holds half of a surrogate pair"),
            (b"[" * 100_000, "it is nested too deeply"),
            (b'{"a":' * 100_000, "it is nested too deeply"),
            (b"9" * 5_000, "it is not JSON"),
        ],
    )
    def test_refuses_what_parsers_disagree_about(self, octets: bytes, why: str) -> None:
        """One meaning, or none, and a reason that quotes nothing."""
        with pytest.raises(NotStrictJson) as caught:
            loads(octets)
        assert why == str(caught.value)

    def test_nests_so_deep_and_no_deeper(self) -> None:
        """The last level that is allowed is read, the next refused."""
        assert [] == loads(b"[" * 1 + b"]" * 1)
        loads(b"[" * DEEPEST + b"]" * DEEPEST)
        with pytest.raises(NotStrictJson, match="deeply"):
            loads(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1))

    def test_takes_whole_surrogate_pairs(self) -> None:
        """An escaped pair is the character that it stands for."""
        assert "\U0001f600" == loads(b'"\\ud83d\\ude00"')

    @pytest.mark.parametrize(
        "octets", [b'{"sentinel": 1, "sentinel": 2}', b'"sentinel', b'["sentinel\\ud800"]']
    )
    def test_holds_no_input(self, octets: bytes) -> None:
        """Neither the refusal nor what led to it holds what was sent."""
        with pytest.raises(NotStrictJson) as caught:
            loads(octets)
        assert caught.value.__context__ is None
        assert "sentinel" not in "".join(traceback.format_exception(caught.value))
