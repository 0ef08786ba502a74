from hypothesis import given
from hypothesis import strategies as st

from service.deadline import Clock, Deadline
from tests.test_limits import Time

SECONDS = st.floats(0, 1e6)


class TestDeadline:
    def test_is_spent(self) -> None:
        """What remains shrinks with the clock, and never below nothing."""
        time = Time()
        deadline = Deadline.after(2.0, time.clock)
        assert (2.0, False) == (deadline.remaining(), deadline.is_past)
        time.now += 1.5
        assert 0.5 == deadline.remaining()
        time.now += 1.5
        assert (0.0, True) == (deadline.remaining(), deadline.is_past)

    def test_exactly_now_is_past(self) -> None:
        """A deadline of no time at all is past at once."""
        assert Deadline.after(0.0, Time().clock).is_past

    def test_runs_on_the_monotonic_clock(self) -> None:
        """Setting the wall clock changes nothing."""
        wall = iter([5.0, 500.0])
        clock = Clock(wall=lambda: next(wall), monotonic=lambda: 7.0)
        deadline = Deadline.after(1.0, clock)
        clock.wall()
        assert 1.0 == deadline.remaining()

    @given(whole=SECONDS, spent=SECONDS)
    def test_is_past_where_nothing_remains(self, whole: float, spent: float) -> None:
        """A deadline is past exactly when no time is left, be it ever so little."""
        time = Time(now=0.0)
        deadline = Deadline.after(whole, time.clock)
        time.now = spent
        assert deadline.is_past == (deadline.remaining() == 0.0)

    @given(whole=SECONDS, part=SECONDS, spent=SECONDS)
    def test_sooner_is_never_later(self, whole: float, part: float, spent: float) -> None:
        """A part of a budget ends when the budget does, or earlier."""
        time = Time(now=0.0)
        deadline = Deadline.after(whole, time.clock)
        time.now = spent
        assert min(whole, spent + part) == deadline.sooner(part).at
        assert deadline.sooner(part).remaining() <= deadline.remaining()
