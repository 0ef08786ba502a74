from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.census import SLICE, SLICES, Census


def digest(number: int) -> bytes:
    """Return the digest of a made-up user."""
    return blake2b(str(number).encode(), digest_size=8).digest()


class TestCensus:
    def test_begins_with_nobody(self) -> None:
        """Where nobody was noted there are none."""
        assert 0 == Census().estimate(0.0)

    @pytest.mark.parametrize("users", [1, 10, 100, 1_000, 10_000, 50_000])
    def test_is_off_by_a_tenth_at_most(self, users: int) -> None:
        """The estimate is within three standard errors."""
        census = Census()

        for number in range(users):
            census.note(digest(number), 0.0)

        assert abs(census.estimate(0.0) - users) <= 0.1 * users

    @given(st.lists(st.integers(0, 50), max_size=200))
    @settings(max_examples=30)
    def test_counts_nobody_twice(self, asked: list[int]) -> None:
        """However often and in whatever slice a user is asked for, it is one user."""
        once, often = Census(), Census()

        for number in set(asked):
            once.note(digest(number), 0.0)
        for at, number in enumerate(asked):
            often.note(digest(number), at * SLICES // len(asked) * SLICE)

        assert once.estimate(0.0) == often.estimate((SLICES - 1) * SLICE)

    def test_counts_by_whole_slices(self) -> None:
        """Who comes after the last moment of a slice is in the next, and stays longer."""
        census = Census()
        for number, at in enumerate((7 * SLICE, 8 * SLICE - 1, 8 * SLICE, 9 * SLICE - 1)):
            census.note(digest(number), at)

        assert 4 == census.estimate(13 * SLICE - 1)
        assert 2 == census.estimate(13 * SLICE)
        assert 0 == census.estimate(14 * SLICE)

    def test_forgets_what_is_an_hour_old(self) -> None:
        """A user counts for 50 to 60 minutes."""
        census = Census()
        census.note(digest(1), SLICE - 1)

        assert 1 == census.estimate(SLICES * SLICE - 1)
        assert 0 == census.estimate(SLICES * SLICE)

    def test_takes_no_more_memory_for_more_users(self) -> None:
        """It keeps six kilobytes at most, whatever happens."""
        census = Census()

        for number in range(2_000):
            census.note(digest(number), number * 60.0)

        assert SLICES == len([each for each in census._slices if each])
        assert {1024} == {len(each[1]) for each in census._slices if each}
