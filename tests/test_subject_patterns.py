import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.subject_patterns import compile_pattern, overlap

PATTERNS: Final = st.text("ab*/", max_size=8)
SUBJECTS: Final = st.text("ab/\n", max_size=8)


def matches(pattern: str, subject: str) -> bool:
    """Match by trying every run for every star: slow and plain."""
    if not pattern or pattern[0] != "*":
        head, tail = pattern[:1], pattern[1:]
        if not head:
            return not subject
        return subject.startswith(head) and matches(tail, subject[1:])
    runs = range(len(subject.partition("/")[0]) + 1)
    return any(matches(pattern[1:], subject[run:]) for run in runs)


class TestCompilePattern:
    @pytest.mark.parametrize(
        ("pattern", "subject", "expected"),
        [
            ("crm/sync-*", "crm/sync-worker", True),
            ("crm/sync-*", "crm/sync-", True),
            ("crm/*", "crm/a/b", False),
            ("crm/*", "xcrm/a", False),
            ("crm/*", "crm/a\n", True),
            ("crm/a", "crm/a\n", False),
            ("*", "a/b", False),
            ("c.m/*", "crm/a", False),
            ("spiffe://x/*/sa/*", "spiffe://x/ns/sa/a", True),
            ("spiffe://x/*/sa/*", "spiffe://x/ns/y/sa/a", False),
            ("*b*b", "abab", True),
            ("*b*b", "ab", False),
        ],
    )
    def test_is_anchored_and_stays_in_its_segment(
        self, *, pattern: str, subject: str, expected: bool
    ) -> None:
        """The whole subject must match, and no star crosses a slash."""
        assert expected is (compile_pattern(pattern).fullmatch(subject) is not None)

    @given(pattern=PATTERNS, subject=SUBJECTS)
    def test_equals_the_plain_matcher(self, pattern: str, subject: str) -> None:
        """Giving nothing back loses no match."""
        found = compile_pattern(pattern).fullmatch(subject) is not None
        assert matches(pattern, subject) is found

    def test_matches_everything_literally_but_stars(self) -> None:
        """No other character means anything."""
        odd = "a.+?[]{}()^$|\\#-&~ "
        assert compile_pattern(odd).fullmatch(odd)
        assert re.escape(odd) == compile_pattern(odd).pattern

    def test_stays_between_dots(self) -> None:
        """Where names are parted by dots, no star crosses one, and a slash is a letter."""
        pattern = compile_pattern("*.crm.example", ".")
        subjects = ("sync.crm.example", "a.sync.crm.example", ".crm.example", "a/b.crm.example")
        assert [True, False, True, True] == [bool(pattern.fullmatch(each)) for each in subjects]


class TestOverlap:
    @pytest.mark.parametrize(
        ("one", "other", "expected"),
        [
            ("a*", "*b", True),
            ("a*c", "ab*", True),
            ("a*", "b*", False),
            ("a/*", "*/b", True),
            ("*", "a/b", False),
            ("", "*", True),
            ("*", "*", True),
            ("a", "a", True),
            ("a*b*c", "a*c*b", False),
            ("crm/*", "crm/*/*", False),
        ],
    )
    def test_knows_whether_patterns_meet(self, *, one: str, other: str, expected: bool) -> None:
        """Two patterns meet if some subject matches both; the order does not matter."""
        assert expected is overlap(one, other) is overlap(other, one)

    def test_goes_by_what_parts_them(self) -> None:
        """Segments are those between separators."""
        assert not overlap("*.example", "a.b.example", ".")
        assert overlap("*.example", "a.b.example")

    @given(one=PATTERNS, other=PATTERNS, subject=SUBJECTS)
    def test_misses_no_subject(self, one: str, other: str, subject: str) -> None:
        """If a subject matches both, they overlap."""
        if matches(one, subject) and matches(other, subject):
            assert overlap(one, other)

    @given(pattern=PATTERNS, runs=st.lists(st.text("ab", max_size=2), min_size=8, max_size=8))
    def test_a_match_is_an_overlap(self, pattern: str, runs: list[str]) -> None:
        """A pattern without stars overlaps another exactly where it matches as a subject."""
        subject = re.sub(r"\*", lambda _: runs.pop(), pattern)
        assert overlap(pattern, subject)

    @given(pattern=PATTERNS, subject=st.text("ab/", max_size=8))
    def test_is_matching_for_the_exact(self, pattern: str, subject: str) -> None:
        """Between a pattern and a text without stars, overlapping is matching."""
        assert matches(pattern, subject) is overlap(pattern, subject)
