from collections import deque
from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.deadline import Clock
from service.errors import RateLimited
from service.limits import CallerLimits, DistinctUsers, Limits
from service.model import CallerName, Uid

CRM: Final = CallerName("crm-sync")
KEY: Final = bytes(16)


@dataclass
class Time:
    """A clock that tests move."""

    now: float = 1000.0
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(wall=lambda: self.now, monotonic=lambda: self.now)


def limits(time: Time, **amounts: object) -> Limits:
    """Return the limits of one caller."""
    return Limits({CRM: CallerLimits(**amounts)}, clock=time.clock, key=KEY)  # type: ignore[arg-type]  # the tests' own amounts


def is_admitted(what: Limits, caller: CallerName = CRM) -> bool:
    """Begin and end a request; tell whether it was admitted."""
    try:
        with what.admit(caller):
            return True
    except RateLimited:
        return False


class TestRate:
    def test_allows_a_burst_and_then_the_rate(self) -> None:
        """A full bucket goes at once; after that, the rate."""
        time = Time()
        what = limits(time, rate=2.0, burst=3)
        assert [True, True, True, False] == [is_admitted(what) for _ in range(4)]
        time.now += 0.5
        assert [True, False] == [is_admitted(what) for _ in range(2)]

    def test_says_when_to_come_back(self) -> None:
        """The wait is until there is a token again."""
        what = limits(Time(), rate=0.25, burst=1)
        assert is_admitted(what)
        with pytest.raises(RateLimited) as caught, what.admit(CRM):
            pass
        assert (4.0, "limit-rate") == (caught.value.retry_after, caught.value.reason)

    def test_without_a_burst_holds_a_second(self) -> None:
        """Where no burst is configured, the bucket holds a second's worth, one at least."""
        assert [True, True, False] == [is_admitted(w) for w in [limits(Time(), rate=1.5)] * 3]
        assert [True, False] == [is_admitted(w) for w in [limits(Time(), rate=0.1)] * 2]

    def test_no_limit_is_none(self) -> None:
        """A caller without limits is always admitted; so is one that a reload just removed."""
        what = limits(Time())
        assert all(is_admitted(what) for _ in range(1000))
        assert is_admitted(what, CallerName("gone"))

    @given(
        rate=st.floats(0.1, 100),
        burst=st.integers(1, 20),
        gaps=st.lists(st.floats(0, 2), min_size=1, max_size=60),
    )
    def test_is_never_exceeded(self, rate: float, burst: int, gaps: list[float]) -> None:
        """In no stretch of time are more admitted than the burst and the rate allow."""
        time = Time()
        what = limits(time, rate=rate, burst=burst)
        admitted = []
        for gap in gaps:
            time.now += gap
            if is_admitted(what):
                admitted.append(time.now)
        for first, start in enumerate(admitted):
            for last in range(first, len(admitted)):
                allowed = burst + rate * (admitted[last] - start) + 1e-6
                assert last - first + 1 <= allowed


class TestInFlight:
    def test_counts_while_they_last(self) -> None:
        """As many as configured at once; one that ends makes room."""
        what = limits(Time(), in_flight=2)
        with what.admit(CRM):
            with what.admit(CRM):
                assert not is_admitted(what)
            assert is_admitted(what)

    def test_counts_down_on_every_way_out(self) -> None:
        """A request that fails makes room too."""
        what = limits(Time(), in_flight=1)
        for _ in range(3):
            with pytest.raises(KeyError), what.admit(CRM):
                raise KeyError
        assert is_admitted(what)

    def test_a_refusal_costs_no_token(self) -> None:
        """What is refused for being in flight does not use the rate up."""
        what = limits(Time(), rate=0.001, burst=2, in_flight=1)
        with what.admit(CRM):
            assert not is_admitted(what)
        assert is_admitted(what)

    def test_says_why(self) -> None:
        """The reason and a wait are told."""
        what = limits(Time(), in_flight=1)
        with what.admit(CRM), pytest.raises(RateLimited) as caught, what.admit(CRM):
            pass
        assert ("limit-in-flight", 1.0) == (caught.value.reason, caught.value.retry_after)


def is_noted(what: Limits, uid: str, caller: CallerName = CRM) -> bool:
    """Count a user; tell whether it fitted in."""
    try:
        with what.admit(caller) as usage:
            usage.note_user(Uid(uid))
    except RateLimited:
        return False
    return True


class TestDistinctUsers:
    LIMIT: Final = DistinctUsers(count=2, window=60.0)

    def test_counts_users_not_requests(self) -> None:
        """The same user any number of times is one; a third of two is refused."""
        what = limits(Time(), distinct_users=self.LIMIT)
        users = ["a", "b", "a", "b", "c", "a"]
        assert [True, True, True, True, False, True] == [is_noted(what, uid) for uid in users]

    def test_slides(self) -> None:
        """A user leaves the window when it was last asked for that long ago."""
        time = Time()
        what = limits(time, distinct_users=self.LIMIT)
        assert is_noted(what, "a")
        time.now += 30
        assert is_noted(what, "b")
        time.now += 29
        with pytest.raises(RateLimited) as caught, what.admit(CRM) as usage:
            usage.note_user(Uid("c"))
        assert ("limit-distinct-users", 1.0) == (caught.value.reason, caught.value.retry_after)
        time.now += 1
        assert is_noted(what, "c")

    def test_a_refused_user_is_not_counted(self) -> None:
        """Knocking on keeps nobody out any longer."""
        time = Time()
        what = limits(time, distinct_users=self.LIMIT)
        assert [True, True, False] == [is_noted(what, uid) for uid in "abc"]
        time.now += 60
        assert [True, True] == [is_noted(what, uid) for uid in "de"]

    def test_callers_are_apart(self) -> None:
        """One caller's users are not another's."""
        other = CallerName("other")
        row = CallerLimits(distinct_users=DistinctUsers(count=1, window=60))
        what = Limits({CRM: row, other: row}, clock=Time().clock, key=KEY)
        assert is_noted(what, "a")
        assert is_noted(what, "b", other)
        assert not is_noted(what, "b")

    def test_no_limit_keeps_nothing(self) -> None:
        """Without a limit no user is remembered."""
        what = limits(Time())
        assert all(is_noted(what, str(at)) for at in range(100))

    def test_at_the_very_end_of_a_window(self) -> None:
        """A user who need not wait is counted, whichever way the sums of floats are rounded."""
        time = Time(now=22.86840247373826)
        what = limits(time, distinct_users=DistinctUsers(count=1, window=60.0))
        assert is_noted(what, "a")
        time.now = 82.86840247373826
        assert is_noted(what, "b")
        assert not is_noted(what, "c")

    @given(
        steps=st.lists(
            st.tuples(st.floats(0, 30), st.sampled_from("abcdef"), st.sampled_from([20.0, 60.0])),
            min_size=1,
            max_size=80,
        ),
        count=st.integers(1, 4),
    )
    def test_equals_a_plain_count(self, steps: list[tuple[float, str, float]], count: int) -> None:
        """A user fits in exactly if, with it, the window of now holds no more than the count."""
        time = Time()
        what = limits(time)
        admitted: deque[tuple[float, str]] = deque()
        for gap, uid, window in steps:
            time.now += gap
            users = DistinctUsers(count=count, window=window)
            what.replace({CRM: CallerLimits(distinct_users=users)})
            while admitted and admitted[0][0] + window <= time.now:
                admitted.popleft()
            expected = len({user for _, user in admitted} | {uid}) <= count
            assert expected is is_noted(what, uid)
            if expected:
                admitted.append((time.now, uid))


class TestReload:
    def test_what_was_used_goes_on_counting(self) -> None:
        """New limits hold at once, for what was used before too."""
        time = Time()
        what = limits(time, rate=0.01, burst=4, distinct_users=DistinctUsers(count=3, window=60))
        with what.admit(CRM) as usage:
            for uid in "abc":
                usage.note_user(Uid(uid))
        assert [True, True] == [is_admitted(what) for _ in range(2)]
        lower = CallerLimits(rate=0.01, burst=1, distinct_users=DistinctUsers(count=1, window=60))
        what.replace({CRM: lower})
        assert [True, False] == [is_admitted(what) for _ in range(2)]
        time.now += 30
        with pytest.raises(RateLimited) as caught:
            usage.note_user(Uid("d"))
        assert 30.0 == caught.value.retry_after

    def test_who_has_not_asked_yet_has_the_whole_of_a_new_burst(self) -> None:
        """A bucket is full at first, whatever the limits were before."""
        what = limits(Time(), rate=0.0001, burst=1)
        what.replace({CRM: CallerLimits(rate=0.0001, burst=3)})
        assert [True, True, True, False] == [is_admitted(what) for _ in range(4)]

    def test_a_limit_taken_away_holds_no_more(self) -> None:
        """A caller that has used up its rate is free as soon as it has none."""
        what = limits(Time(), rate=0.01, burst=1)
        assert [True, False] == [is_admitted(what) for _ in range(2)]
        what.replace({CRM: CallerLimits()})
        assert is_admitted(what)

    def test_a_request_that_outlives_its_caller_ends_well(self) -> None:
        """A caller removed while it asks has no limits left, and leaves nothing behind."""
        what = limits(Time(), in_flight=1, distinct_users=DistinctUsers(count=1, window=60))
        with what.admit(CRM) as usage:
            usage.note_user(Uid("a"))
            what.replace({})
            usage.note_user(Uid("b"))
        what.replace({CRM: CallerLimits(in_flight=1)})
        assert is_admitted(what)


class TestBlocked:
    @pytest.mark.parametrize(
        "row",
        [
            CallerLimits(rate=0),
            CallerLimits(rate=1, burst=0),
            CallerLimits(in_flight=0),
            CallerLimits(distinct_users=DistinctUsers(count=0, window=60)),
        ],
    )
    def test_zero_is_for_policy(self, row: CallerLimits) -> None:
        """A limit of 0 blocks by policy (403), and does not look like a full bucket (429)."""
        what = Limits({CRM: row}, clock=Time().clock, key=KEY)
        assert row.is_blocked
        assert is_admitted(what)
        assert is_noted(what, "a")

    def test_others_are_not_blocked(self) -> None:
        """No limit, or one above 0, blocks nobody."""
        assert not CallerLimits().is_blocked
        row = CallerLimits(
            rate=0.1, burst=1, in_flight=1, distinct_users=DistinctUsers(count=1, window=1)
        )
        assert not row.is_blocked
