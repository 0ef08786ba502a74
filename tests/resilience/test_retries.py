import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.deadline import Deadline
from service.resilience.retries import Backoff, Budget, Retries, Retry
from tests.virtual_time import VIRTUAL, VirtualLoop, virtual_clock

CENT = 1e-6


class TestBudget:
    @given(st.lists(st.booleans(), max_size=400), st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0]))
    def test_bounds_extra_calls(self, wishes: list[bool], share: float) -> None:
        """From any moment on, extra calls are at most the reserve and the share of first calls."""
        budget = Budget(share=share, reserve=3)
        worst = 0.0
        for wish in wishes:
            if wish:
                worst += budget.spend()
            else:
                budget.earn()
                worst = max(0.0, worst - share)
            assert worst <= 3 + CENT

    def test_is_a_share_in_the_long_run(self) -> None:
        """With every call failing, a tenth of the first calls is tried again."""
        budget = Budget(share=0.1, reserve=10)
        extra = 0
        for _ in range(10_000):
            budget.earn()
            extra += budget.spend()
        assert 1_000 <= extra <= 1_010

    def test_of_nothing_allows_nothing(self) -> None:
        """A share of 0 switches retries off, the reserve included."""
        budget = Budget(share=0.0)
        budget.earn()
        assert budget.spend() is False


class TestBackoff:
    @given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
    def test_never_pauses_longer_than_the_longest(self, attempt: int, fraction: float) -> None:
        """However often a call was tried, the pause has a bound."""
        assert 0 <= Backoff(longest=2.0).seconds(attempt, fraction) <= 2.0

    @pytest.mark.parametrize(("attempt", "most"), [(1, 0.1), (2, 0.2), (3, 0.4), (6, 2.0)])
    def test_doubles(self, attempt: int, most: float) -> None:
        """The widest pause doubles with each try."""
        assert most == Backoff(first=0.1, longest=2.0).seconds(attempt, 1.0)

    def test_reaches_down_to_zero(self) -> None:
        """Jitter is full: a pause can be nothing."""
        assert Backoff().seconds(5, 0.0) == 0.0


class TestRetries:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """Time is virtual."""
        return VIRTUAL

    async def test_waits_the_jittered_pause(self) -> None:
        """The pause is what the backoff says for the random number that was drawn."""
        retries = Retries(Backoff(first=0.8), Budget(), random=lambda: 0.5)
        clock = virtual_clock()
        assert await retries.pause(1, Deadline.after(10, clock)) is True
        assert pytest.approx(0.4) == clock.monotonic()

    async def test_waits_at_least_what_was_asked(self) -> None:
        """A floor is added to, never cut by the jitter."""
        retries = Retries(Backoff(first=0.8), Budget(), random=lambda: 0.5)
        clock = virtual_clock()
        assert await retries.pause(1, Deadline.after(10, clock), at_least=1.0) is True
        assert pytest.approx(1.4) == clock.monotonic()

    @pytest.mark.parametrize(
        ("attempt", "seconds", "share", "expected"),
        [
            (1, 10.0, 0.1, Retry.ALLOWED),
            (3, 10.0, 0.1, Retry.NO_ATTEMPTS),
            (1, 0.05, 0.1, Retry.NO_TIME),
            (1, 0.0, 0.1, Retry.NO_TIME),
            (1, 10.0, 0.0, Retry.NO_BUDGET),
        ],
    )
    async def test_says_why_not(
        self, attempt: int, seconds: float, share: float, expected: Retry
    ) -> None:
        """Each wish is observed with what became of it, and a refusal takes no time."""
        seen: list[Retry] = []
        retries = Retries(Backoff(), Budget(share=share), random=lambda: 0.9, observe=seen.append)
        clock = virtual_clock()
        allowed = await retries.pause(attempt, Deadline.after(seconds, clock))
        assert ([expected], expected is Retry.ALLOWED) == (seen, allowed)
        assert (expected is Retry.ALLOWED) == (clock.monotonic() > 0)

    async def test_a_pause_without_time_costs_no_budget(self) -> None:
        """What the deadline forbids leaves the budget to others."""
        budget = Budget(reserve=1)
        retries = Retries(Backoff(), budget, random=lambda: 0.9)
        assert await retries.pause(1, Deadline.after(0.01, virtual_clock())) is False
        assert budget.spend() is True


class TestStorm:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 5))
    def test_a_storm_stays_within_the_budget(self, seed: int, calls: int, attempts: int) -> None:
        """With every call failing, extra calls are within the budget and none is late."""
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(_storm(seed, calls, attempts))


async def _storm(seed: int, calls: int, attempts: int) -> None:
    clock = virtual_clock()
    draw = random.Random(seed)  # a storm that can be repeated
    retries = Retries(Backoff(attempts=attempts), Budget(reserve=4), random=draw.random)
    extra = 0

    async def call() -> None:
        nonlocal extra
        await asyncio.sleep(draw.random() * 5)
        deadline = Deadline.after(draw.random(), clock)
        retries.begin()
        attempt = 1
        while await retries.pause(attempt, deadline):
            attempt += 1
            extra += 1
            assert not deadline.is_past
        assert attempt <= attempts

    await asyncio.gather(*(call() for _ in range(calls)))
    assert extra <= 4 + 0.1 * calls + CENT
