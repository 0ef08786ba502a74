"""Memory and flights: bounded, and nobody depends on who came first."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.callers.flights import Flights, landed
from service.callers.memory import Memory
from service.deadline import Deadline
from tests.callers.house import Hands
from tests.virtual_time import EPOCH, VIRTUAL, virtual_clock

Steps = list[tuple[str, float, float, float]]

STEPS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.floats(0, 20), st.floats(0, 20), st.floats(0, 5)),
    max_size=30,
)


class TestMemory:
    @given(STEPS)
    @settings(max_examples=150, deadline=None)
    def test_keeps_few_and_none_too_long(self, steps: Steps) -> None:
        """At most so many are kept, and none is given out once either of its times is past."""
        hands = Hands()
        memory: Memory[str, tuple[float, float]] = Memory(entries=2, clock=hands.clock)
        for key, seconds, wall_seconds, pause in steps:
            until, wall_until = hands.monotonic + seconds, hands.wall + wall_seconds
            memory.put(key, (until, wall_until), until=until, wall_until=wall_until)
            hands.move(pause)
            for name in "abcd":
                found = memory.get(name)
                assert found is None or (hands.monotonic < found[0] and hands.wall < found[1])
            assert len(memory) <= 2

    def test_put_again_holds_as_long_as_said_last(self) -> None:
        """A newer decision takes the place of the older one, with its own time."""
        hands = Hands()
        memory: Memory[str, int] = Memory(entries=2, clock=hands.clock)
        memory.put("a", 1, until=hands.monotonic + 1)
        memory.put("a", 2, until=hands.monotonic + 10, wall_until=EPOCH + 10)
        hands.move(9)

        assert 2 == memory.get("a")


class TestFlights:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_one_for_all(self) -> None:
        """While a call is under way, starting it again returns the same."""
        flights: Flights[str, int] = Flights()
        calls = []

        async def call() -> int:
            calls.append(1)
            await asyncio.sleep(1)
            return 7

        deadline = Deadline.after(5, virtual_clock())
        tasks = [flights.start("a", call) for _ in range(10)]
        results = await asyncio.gather(*(landed(task, deadline) for task in tasks))

        assert ([7] * 10, [1], 0) == (results, calls, len(flights))

    async def test_waiting_has_an_end(self) -> None:
        """A waiter leaves at its deadline; the call goes on for the others."""
        flights: Flights[str, int] = Flights()

        async def call() -> int:
            await asyncio.sleep(10)
            return 7

        clock = virtual_clock()
        task = flights.start("a", call)
        with pytest.raises(TimeoutError):
            await landed(task, Deadline.after(1, clock))

        assert flights.under_way("a") is task
        assert 7 == await landed(task, Deadline.after(20, clock))

    async def test_a_cancelled_call_can_be_made_again(self) -> None:
        """A call that was cancelled whole leaves nothing behind."""
        flights: Flights[str, None] = Flights()
        task = flights.start("a", lambda: asyncio.sleep(10))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await landed(task, Deadline.after(1, virtual_clock()))

        assert flights.under_way("a") is None
