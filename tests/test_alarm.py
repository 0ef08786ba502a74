"""An alarm beside ``asyncio.timeout``, which it stands for."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.alarm import Alarm
from service.deadline import Clock, Deadline
from service.endings import Endings
from tests.virtual_time import VIRTUAL, VirtualLoop

Timeout = Callable[[float], AbstractAsyncContextManager[Any]]
MOMENTS = st.sampled_from([0.5, 1.0, 2.0, 3.0])


@asynccontextmanager
async def alarm(seconds: float) -> Any:
    """Be an alarm as ``asyncio.timeout`` is entered."""
    with at_once(seconds):
        yield


def at_once(seconds: float) -> Alarm:
    """Return an alarm that rings in so many seconds."""
    deadline = Deadline.after(seconds, Clock(wall=time.time, monotonic=now))
    return Alarm(deadline, Endings(Alarm.ring))


def now() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()


async def told(
    within: Timeout,
    *,
    work: float,
    inner: float,
    outer: float,
    cancel: float,
    fails: bool,
    is_late: bool,
) -> Any:
    """Return how it ends, when, and with how many cancellations left, where all may meet."""
    loop = asyncio.get_running_loop()
    seen: list[Any] = []

    async def worker() -> None:
        if is_late:  # for who was cancelled before, and went on
            asyncio.ensure_future(asyncio.sleep(0)).add_done_callback(lambda _: task.cancel())
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(outer):
                try:
                    async with within(inner):
                        try:
                            await asyncio.sleep(work)
                        finally:
                            if fails:
                                raise KeyError
                finally:
                    current = asyncio.current_task()
                    assert current is not None
                    seen.append((loop.time(), current.cancelling()))
        except (TimeoutError, KeyError) as error:
            seen.append(type(error))
        await asyncio.sleep(1)
        seen.append("went on")

    task = asyncio.ensure_future(worker())
    loop.call_later(cancel, task.cancel)
    [outcome] = await asyncio.gather(task, return_exceptions=True)
    return seen, type(outcome), loop.time()


class TestAlarm:
    @settings(max_examples=300, deadline=None)
    @given(
        st.fixed_dictionaries(
            {
                "work": MOMENTS,
                "inner": MOMENTS,
                "outer": MOMENTS,
                "cancel": MOMENTS,
                "fails": st.booleans(),
                "is_late": st.booleans(),
            }
        )
    )
    def test_does_what_a_timeout_does(self, case: dict[str, Any]) -> None:
        """Whoever comes first, or at once with others: the end is the same as asyncio's."""
        found = []
        for kind in (alarm, asyncio.timeout):
            with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                found.append(runner.run(told(kind, **case)))
        assert found[0] == found[1]


class TestBlock:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """Time is virtual."""
        return VIRTUAL

    async def test_leaves_no_timer(self) -> None:
        """What ends in time is not woken afterwards."""
        with at_once(1):
            await asyncio.sleep(0.5)
        await asyncio.sleep(2)
        assert 2.5 == asyncio.get_running_loop().time()

    async def test_that_takes_too_long_ends(self) -> None:
        """An alarm ends its block, then and not later."""
        with pytest.raises(TimeoutError), at_once(1):
            await asyncio.sleep(2)
        assert 1 == asyncio.get_running_loop().time()

    async def test_needs_a_task(self) -> None:
        """Without a task there is nothing to wake."""
        told: list[str] = []

        def begin() -> None:
            try:
                at_once(1)
            except RuntimeError as error:
                told.append(str(error))

        asyncio.get_running_loop().call_soon(begin)
        await asyncio.sleep(0)
        assert ["an alarm needs a task to wake"] == told
