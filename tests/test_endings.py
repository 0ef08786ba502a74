"""Many that wait under one timer, beside a timer each."""

import asyncio
import gc
import weakref
from contextvars import ContextVar
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

    async def test_end_all_that_is_late_at_once(self) -> None:
        """A loop that was busy over many deadlines has made all of them late, not one each turn."""
        loop, clock, seen = asyncio.get_running_loop(), virtual_clock(), list[int]()
        assert isinstance(loop, VirtualLoop)
        endings = Endings[int](seen.append)
        for who in range(9):
            endings.add(who, Deadline.after(1.0 + who, clock))

        loop.offset += 5.5
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert [0, 1, 2, 3, 4] == seen
        await asyncio.sleep(60)
        assert [*range(9)] == seen

    async def test_may_end_another(self) -> None:
        """Of two that are late the first may be what the second waited for."""
        clock, seen = virtual_clock(), list[int]()

        def end(who: int) -> None:
            seen.append(who)
            endings.discard(1 - who)

        endings = Endings(end)
        for who in range(2):
            endings.add(who, Deadline.after(1.0, clock))
        await asyncio.sleep(60)
        assert [0] == seen

    async def test_go_on_behind_a_failure(self) -> None:
        """What cannot be ended keeps no other one waiting."""
        loop, clock, seen = asyncio.get_running_loop(), virtual_clock(), list[int]()
        loop.set_exception_handler(lambda *_: seen.append(-1))

        def end(who: int) -> None:
            if who == 0:
                raise OSError
            seen.append(who)

        endings = Endings(end)
        for who in range(3):
            endings.add(who, Deadline.after(1.0, clock))
        await asyncio.sleep(60)
        assert [-1, 1, 2] == seen

    async def test_keep_no_request_alive(self) -> None:
        """The timer is for all of them, and holds nothing of whoever was the first."""
        held, clock = ContextVar[object]("held"), virtual_clock()
        endings = Endings[int](lambda _: None)

        async def request() -> weakref.ref[asyncio.Event]:
            held.set(mine := asyncio.Event())
            endings.add(0, Deadline.after(60.0, clock))
            return weakref.ref(mine)

        gone = await asyncio.create_task(request())
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None

    async def test_have_one_timer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many come and go, the loop has one timer for them."""
        loop, clock, timers = asyncio.get_running_loop(), virtual_clock(), list[float]()
        call_later, endings = loop.call_later, Endings[int](lambda _: None)

        def counted(seconds: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
            timers.append(seconds)
            return call_later(seconds, *rest, **more)

        monkeypatch.setattr(loop, "call_later", counted)
        for who in range(100):
            endings.add(who, Deadline.after(10.0, clock))
            await asyncio.sleep(0)
            endings.discard(who)
        assert [10.0] == timers
