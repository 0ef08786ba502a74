"""Many that wait under one timer, beside a timer each."""

import asyncio
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.deadline import Deadline
from service.endings import Endings
from tests.virtual_time import VIRTUAL, VirtualLoop, virtual_clock

SECONDS: Final = st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0])
WAITS: Final = st.lists(st.tuples(SECONDS, SECONDS, SECONDS), max_size=9)
"""Of each that waits: when it comes, how long it may wait, and after what time it has got it."""


async def ended(waits: list[tuple[float, float, float]]) -> list[tuple[float, int]]:
    """Return who was ended, and when."""
    loop, clock, seen = asyncio.get_running_loop(), virtual_clock(), list[tuple[float, int]]()
    endings = Endings[int](lambda who: seen.append((loop.time(), who)))
    for who, (comes, may, needs) in enumerate(waits):

        def begin(who: int = who, may: float = may, needs: float = needs) -> None:
            endings.add(who, Deadline.after(may, clock))
            if needs < may:
                loop.call_later(needs, endings.discard, who)

        loop.call_later(comes, begin)
    await asyncio.sleep(60)
    return seen


class TestEndings:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    @settings(deadline=None)
    @given(WAITS)
    def test_are_those_of_a_timer_each(self, waits: list[tuple[float, float, float]]) -> None:
        """Whoever waits too long is ended at its deadline, once; nobody else is."""
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            seen = runner.run(ended(waits))
        expected = [
            (comes + may, who) for who, (comes, may, needs) in enumerate(waits) if needs >= may
        ]
        assert sorted(expected) == sorted(seen)

    async def test_have_one_timer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many come and go, the loop has one timer for them."""
        loop, clock, timers = asyncio.get_running_loop(), virtual_clock(), list[float]()
        call_later, endings = loop.call_later, Endings[int](lambda _: None)

        def counted(seconds: float, *rest: Any) -> asyncio.TimerHandle:
            timers.append(seconds)
            return call_later(seconds, *rest)

        monkeypatch.setattr(loop, "call_later", counted)
        for who in range(100):
            endings.add(who, Deadline.after(10.0, clock))
            await asyncio.sleep(0)
            endings.discard(who)
        assert [10.0] == timers
