import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.headers import by_name, headers_of, lines_of

NAMES = st.sampled_from([b"host", b"authorization", b"content-type"])


class TestByName:
    @given(st.lists(st.tuples(NAMES, st.binary(max_size=2)), max_size=6))
    def test_keeps_what_comes_twice(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Every value of a header is there, in its order; and no header that did not come."""
        expected = {
            name: [value for other, value in headers if other == name] for name, _ in headers
        }

        assert expected == by_name(headers)


VALUES = st.binary(max_size=5).filter(lambda value: not {10, 13} & set(value))


class TestLinesOf:
    @given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    def test_can_be_read_back(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Each header is a line of its own, in its place."""
        assert headers == headers_of(lines_of(headers))

    @given(st.tuples(NAMES, VALUES), st.sampled_from([b"\r\n", b"\r", b"\n"]), VALUES)
    def test_hold_no_more_than_one_each(
        self, header: tuple[bytes, bytes], ends: bytes, more: bytes
    ) -> None:
        """A value with a line break would be another header, or a body."""
        name, value = header
        with pytest.raises(ValueError, match="a line break"):
            lines_of([header, (name, value + ends + more)])
