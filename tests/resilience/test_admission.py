import asyncio
import random
from typing import Any

import pytest

from service.deadline import Deadline
from service.errors import Overloaded
from service.model import Uid
from service.resilience.admission import Admission
from tests.virtual_time import VIRTUAL, virtual_clock


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


class Work:
    """Calls that hold a slot for a second, and how many did so at once."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.now: list[str] = []
        self.most = 0
        self.most_of_one = 0

    async def __call__(self, uid: str, *, within: float = 100, seconds: float = 1) -> None:
        deadline = Deadline.after(within, virtual_clock())
        if not self._admission.takes(Uid(uid)):
            await self._admission.wait(Uid(uid), deadline)
        self.now.append(uid)
        self.most = max(self.most, len(self.now))
        self.most_of_one = max(self.most_of_one, self.now.count(uid))
        try:
            await asyncio.sleep(seconds)
        finally:
            self.now.remove(uid)
            self._admission.give_back(Uid(uid))


class TestAdmission:
    async def test_bounds_calls_at_once(self) -> None:
        """No more than ``concurrency`` hold a slot; the others wait their turn."""
        admission = Admission(concurrency=3, per_uid=5, queue=100)
        work = Work(admission)

        await asyncio.gather(*(work(str(i)) for i in range(10)))

        assert (3, 0, 0) == (work.most, admission.in_flight, admission.waiting)

    async def test_bounds_calls_of_one_user(self) -> None:
        """A user takes at most ``per_uid`` slots, and does not keep others from theirs."""
        admission = Admission(concurrency=10, per_uid=2, queue=100)
        work = Work(admission)
        many = [asyncio.create_task(work("a")) for _ in range(8)]
        await asyncio.sleep(0.1)

        await work("b", within=1)
        await asyncio.gather(*many)

        assert 2 == work.most_of_one

    async def test_sheds_what_the_queue_cannot_hold(self) -> None:
        """Beyond the queue a request is refused at once, and told when to come back."""
        shed: list[None] = []
        admission = Admission(concurrency=1, per_uid=5, queue=1, observe=lambda: shed.append(None))
        work = Work(admission)
        first, second = (asyncio.create_task(work(uid)) for uid in "ab")
        await asyncio.sleep(0.1)
        before = asyncio.get_running_loop().time()

        with pytest.raises(Overloaded) as refused:
            await work("c")

        assert (before, 1) == (asyncio.get_running_loop().time(), refused.value.retry_after)
        await asyncio.gather(first, second)
        assert 1 == len(shed)

    async def test_waiting_ends_when_half_of_the_time_is_gone(self) -> None:
        """Who waits in vain is refused while there would still be time for a call."""
        admission = Admission(concurrency=1, per_uid=5, queue=5)
        work = Work(admission)
        first = asyncio.create_task(work("a", seconds=10))
        await asyncio.sleep(0)

        with pytest.raises(Overloaded):
            await work("b", within=2)

        assert (1, 0) == (asyncio.get_running_loop().time(), admission.waiting)
        await first

    async def test_a_slot_passes_over_who_has_just_left(self) -> None:
        """A slot that comes free in the moment in which its heir leaves goes to the next."""
        admission = Admission(concurrency=1, per_uid=5, queue=5)
        work = Work(admission)
        first, heir, last = (asyncio.create_task(work(uid, seconds=1)) for uid in "abc")
        await asyncio.sleep(0.5)
        heir.cancel()
        first.cancel()
        await asyncio.gather(first, heir, return_exceptions=True)
        await last

        assert (1.5, 0, 0) == (
            asyncio.get_running_loop().time(), admission.in_flight, admission.waiting,
        )  # fmt: skip

    async def test_cancelling_leaves_nothing_behind(self) -> None:
        """Whoever is cancelled, waiting or working, gives back what it held."""
        chance = random.Random(7)
        admission = Admission(concurrency=2, per_uid=2, queue=50)
        work = Work(admission)
        for _ in range(200):
            tasks = [asyncio.create_task(work(chance.choice("abc"))) for _ in range(9)]
            await asyncio.sleep(chance.choice((0, 0.5, 1.0, 1.5)))
            for task in chance.sample(tasks, 4):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

            assert (0, 0) == (admission.in_flight, admission.waiting)
        assert work.most <= 2
