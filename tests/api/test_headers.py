from hypothesis import given
from hypothesis import strategies as st

from service.api.headers import by_name

NAMES = st.sampled_from([b"host", b"authorization", b"content-type"])


class TestByName:
    @given(st.lists(st.tuples(NAMES, st.binary(max_size=2)), max_size=6))
    def test_keeps_what_comes_twice(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Every value of a header is there, in its order; and no header that did not come."""
        expected = {
            name: [value for other, value in headers if other == name] for name, _ in headers
        }

        assert expected == by_name(headers)
