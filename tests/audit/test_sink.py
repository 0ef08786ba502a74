import asyncio
import errno
import itertools
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.audit.flight import PROBES, STANDSTILL, Flight, Item
from service.audit.gate import Pledge, rule
from service.audit.orders import Turn
from service.audit.scribe import Scribe
from service.audit.worker import Hand, Job
from service.deadline import Clock
from tests.audit.fakes import Bench, InlineWorker, Paper, Recorder, SlowWorker, bench, surroundings
from tests.virtual_time import EPOCH, VIRTUAL, VirtualLoop, virtual_clock

BODY = b'{"kind":"request","outcome":"denied"}'
ONE_SINK = rule("any", 1)


class BrokenWorker(InlineWorker):
    """Loses its job, as a thread does whose job has a bug."""

    def submit(self, job: Job, done: Job) -> None:  # noqa: ARG002  # the port's signature
        asyncio.get_running_loop().call_soon(done)


class Dumb(InlineWorker):
    """Does the job, and the loop is never told."""

    def submit(self, job: Job, done: Job) -> None:  # noqa: ARG002  # the port's signature
        job()


def stand_still(seconds: float) -> None:
    """Let time pass in which the loop does nothing."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.offset += seconds


async def started(
    worker: InlineWorker | SlowWorker | None = None, *, queue: int = 100
) -> tuple[Bench, Recorder]:
    observer = Recorder()
    made = bench("a", surroundings(virtual_clock()), observer, worker=worker, queue=queue)
    await made.sink.start()
    return made, observer


def release(made: Bench) -> Pledge:
    verdict = asyncio.get_running_loop().create_future()
    pledge = Pledge(verdict, *ONE_SINK)
    made.sink.pledge(b'{"kind":"request","outcome":"released"}', pledge)
    return pledge


class TestSink:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_accepts(self) -> None:
        """A release's record that is on the medium is accepted."""
        made, _ = await started()
        assert await release(made).verdict
        assert ["open", "released"] == made.paper.kinds()

    async def test_batches(self) -> None:
        """What comes in one turn of the loop is one write."""
        made, _ = await started()
        before = made.paper.settles
        pledges = [release(made) for _ in range(50)]
        assert [True] * 50 == [await pledge.verdict for pledge in pledges]
        assert 1 == made.paper.settles - before

    async def test_late_is_ejected(self) -> None:
        """A sink that does not answer within its deadline refuses then, and is ejected."""
        made, observer = await started(SlowWorker(0.0))
        worker = made.worker
        assert isinstance(worker, SlowWorker)
        worker.seconds = None
        begun = asyncio.get_running_loop().time()
        assert not await release(made).verdict
        assert 0.05 == pytest.approx(asyncio.get_running_loop().time() - begun)
        assert [("ejected", "a", "late")] == observer.told

    async def test_waits_no_longer_in_a_queue(self) -> None:
        """A record that had to wait for another's write has no more time for that."""
        made, _ = await started(SlowWorker(0.0))
        worker = made.worker
        assert isinstance(worker, SlowWorker)
        worker.seconds = 0.04
        loop = asyncio.get_running_loop()
        first = release(made)
        await asyncio.sleep(0.001)
        worker.seconds = None
        begun, second = loop.time(), release(made)
        assert await first.verdict
        assert not await second.verdict
        assert 0.05 == pytest.approx(loop.time() - begun)

    async def test_backlog_is_not_late(self) -> None:
        """Records that waited behind others do not make their sink late: only its write can."""
        made, observer = await started(SlowWorker(0.0), queue=10_000)
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = 0.04
        for _ in range(1000):
            made.sink.offer(BODY, ("denied", "x"))
        for _ in range(20):
            await asyncio.sleep(0.0399)
            begun, pledge = asyncio.get_running_loop().time(), release(made)
            assert await pledge.verdict
            assert asyncio.get_running_loop().time() - begun <= 0.05
        assert [] == observer.told

    async def test_releases_go_first(self) -> None:
        """A release does not wait for records that came before it and that nobody waits for."""
        made, _ = await started()
        for _ in range(30):
            made.sink.offer(BODY, ("denied", "x"))
        assert await release(made).verdict
        assert ["open", "released", *["denied"] * 30] == made.paper.kinds()

    async def test_release_out_of_time(self) -> None:
        """A release that waited too long is refused; the sink, which writes in time, stays."""
        made, observer = await started(SlowWorker(0.0))
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = 0.04
        made.sink.offer(BODY, ("denied", "x"))
        await asyncio.sleep(0.001)
        begun, pledge = asyncio.get_running_loop().time(), release(made)
        assert not await pledge.verdict
        assert 0.05 == pytest.approx(asyncio.get_running_loop().time() - begun)
        pledge.withdraw(b'{"kind":"release-withdrawn"}')
        await asyncio.sleep(1)
        assert ["open", "denied", "released", "release-withdrawn"] == made.paper.kinds()
        assert [] == observer.told

    async def test_ejected_does_not_wait(self) -> None:
        """An ejected sink refuses at once."""
        made, _ = await started(SlowWorker(0.0))
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = None
        await release(made).verdict
        assert release(made).verdict.done()

    async def test_heals(self) -> None:
        """When it lets go, a probe readmits it, and a gap tells how much it missed."""
        made, observer = await started(SlowWorker(0.0))
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = None
        await release(made).verdict
        for _ in range(3):
            made.sink.offer(BODY, ("denied", "x"))
        made.worker.let_go()
        await asyncio.sleep(1)
        assert made.sink.absence is None
        assert await release(made).verdict
        assert ["open", "released", "gap", "released"] == made.paper.kinds()
        assert (3, 5, "late") == tuple(made.paper.records[2][n] for n in ("from", "to", "why"))
        assert [("ejected", "a", "late"), ("readmitted", "a", 3)] == observer.told

    async def test_slow_probe_does_not_heal(self) -> None:
        """A sink whose probes are late stays out, however often it is probed."""
        made, _ = await started(SlowWorker(0.0))
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = 0.06
        await release(made).verdict
        await asyncio.sleep(60)
        assert made.sink.absence is not None

    async def test_fault_is_ejected(self) -> None:
        """A write that fails refuses and ejects at once, by its name."""
        made, observer = await started()
        made.paper.room = 0
        assert not await release(made).verdict
        assert [("ejected", "a", "no-space")] == observer.told

    async def test_full_medium_heals(self) -> None:
        """Room on the medium is found by a probe; the record that was cut is told of."""
        made, _ = await started()
        made.paper.room = 100
        assert not await release(made).verdict
        await asyncio.sleep(3)
        made.paper.room = None
        await asyncio.sleep(10)
        assert await release(made).verdict
        gap = made.paper.lines[-2]
        assert b'"kind":"gap"' in gap
        assert b'"torn":{"octets":100' in gap

    async def test_nothing_missed(self) -> None:
        """A sink that failed but has all records is readmitted with a checkpoint."""
        made, _ = await started()
        made.paper.broken = OSError(errno.EIO, "broken")
        made.sink.turn("signal")
        made.sink.take_back(b'{"kind":"release-withdrawn"}')
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        made.paper.broken = None
        await asyncio.sleep(10)
        assert ["open", "checkpoint", "release-withdrawn"] == made.paper.kinds()

    async def test_withdrawal_of_a_late_record(self) -> None:
        """The record of a refused release that lands late is taken back when it is healed."""
        made, _ = await started(SlowWorker(0.0))
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = None
        pledge = release(made)
        await pledge.verdict
        pledge.withdraw(b'{"kind":"release-withdrawn"}')
        made.worker.let_go()
        await asyncio.sleep(10)
        assert ["open", "released", "checkpoint", "release-withdrawn"] == made.paper.kinds()

    async def test_withdrawn_before_it_is_written(self) -> None:
        """A release that is given up in the queue is not written at all."""
        made, _ = await started()
        release(made).withdraw(b"{}")
        await asyncio.sleep(1)
        assert ["open"] == made.paper.kinds()

    async def test_headroom(self) -> None:
        """A flood of other records leaves room for releases and is told as a count."""
        made, observer = await started(SlowWorker(0.0), queue=10)
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = 0.01
        made.sink.offer(BODY, ("denied", "x"))
        await asyncio.sleep(0.001)
        for _ in range(20):
            made.sink.offer(BODY, ("denied", "x"))
        pledges = [release(made), release(made)]
        assert [True, True] == [await pledge.verdict for pledge in pledges]
        await asyncio.sleep(1)
        assert [("dropped", "a", 1)] * 12 == observer.told
        last = made.paper.records[-1]
        assert [{"outcome": "denied", "reason": "x", "count": 12}] == last["counts"]

    async def test_full_queue_refuses(self) -> None:
        """Beyond the queue's length a release is refused, not kept waiting."""
        made, _ = await started(SlowWorker(0.0), queue=2)
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = None
        kept = [release(made) for _ in range(2)]
        assert release(made).verdict.done()
        assert not any(pledge.verdict.done() for pledge in kept)

    async def test_close(self) -> None:
        """Closing writes what waits and the closing record."""
        made, _ = await started()
        made.sink.offer(BODY, ("denied", "x"))
        await made.sink.close(1.0)
        assert ["open", "denied", "close"] == made.paper.kinds()

    async def test_close_does_not_wait_for_ever(self) -> None:
        """Closing gives up on a sink that hangs."""
        made, _ = await started(SlowWorker(0.0))
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = None
        begun = asyncio.get_running_loop().time()
        await made.sink.close(1.0)
        assert asyncio.get_running_loop().time() - begun <= 1.0

    async def test_starts_without_its_medium(self) -> None:
        """A sink that cannot be opened starts ejected and is healed later."""
        made = bench("a", surroundings(virtual_clock()), Recorder())
        made.paper.broken = OSError(errno.EACCES, "no")
        await made.sink.start()
        assert made.sink.absence is not None
        made.paper.broken = None
        await asyncio.sleep(1)
        assert ["open", "checkpoint"] == made.paper.kinds()

    async def test_the_process_stood_still(self) -> None:
        """A deadline that passed while the process itself stood still is extended."""
        made, observer = await started(SlowWorker(0.0))
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = None
        pledge = release(made)
        await asyncio.sleep(0.001)
        stand_still(10.0)
        await asyncio.sleep(0.01)
        made.worker.let_go()
        assert await pledge.verdict
        assert [] == observer.told

    @pytest.mark.parametrize(("step", "is_late"), [(0.045, False), (0.051, True)])
    async def test_each_step_has_the_deadline(self, step: float, is_late: bool) -> None:  # noqa: FBT001  # a row
        """A writer that waits for a processor between its steps is not late; one long step is."""
        made, observer = await started(SlowWorker(0.0))
        worker = made.worker
        assert isinstance(worker, SlowWorker)
        worker.seconds = None
        verdict = release(made).verdict
        await asyncio.sleep(0.045)
        made.writer.alive_at = asyncio.get_running_loop().time()
        await asyncio.sleep(step)
        worker.let_go()
        assert is_late is not await verdict
        assert is_late is bool(observer.told)

    async def test_standing_still_for_ever_is_no_excuse(self) -> None:
        """A deadline is extended twice and no more."""
        made, observer = await started(SlowWorker(0.0))
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = None
        pledge = release(made)
        await asyncio.sleep(0.001)
        for _ in range(3):
            stand_still(10.0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not await pledge.verdict
        assert [("ejected", "a", "late")] == observer.told

    async def test_done_but_not_told(self) -> None:
        """A batch that the thread has finished is in time, though the loop hears of it late."""
        made, observer = await started(SlowWorker(0.0))
        worker = Dumb()
        made.sink._hand = Hand(writer=made.sink._hand.writer, worker=worker)
        assert await release(made).verdict
        assert [] == observer.told

    async def test_missed_while_it_was_probed(self) -> None:
        """What comes while the healing probe is under way is told in a second gap."""
        made, observer = await started(SlowWorker(0.0))
        assert isinstance(made.worker, SlowWorker)
        made.worker.seconds = None
        await release(made).verdict
        made.worker.let_go()
        made.sink.offer(BODY, ("denied", "x"))
        made.worker.seconds = 0.04
        await asyncio.sleep(PROBES[0] + 0.01)
        for _ in range(2):
            made.sink.offer(BODY, ("denied", "x"))
        await asyncio.sleep(5)
        assert ["open", "released", "gap", "gap"] == made.paper.kinds()
        spans = [(r["from"], r["to"]) for r in made.paper.records[2:]]
        assert [(3, 3), (5, 6)] == spans
        assert ("readmitted", "a", 3) == observer.told[-1]

    async def test_only_withdrawn_batches(self) -> None:
        """A whole batch of releases that were given up is passed over, and the next one sent."""
        made, _ = await started(queue=1000)
        for _ in range(300):
            release(made).withdraw(b"{}")
        made.sink.offer(BODY, ("denied", "x"))
        await asyncio.sleep(1)
        assert ["open", "denied"] == made.paper.kinds()

    async def test_probe_after_close(self) -> None:
        """A sink that is closed is not probed any more."""
        made, _ = await started()
        made.paper.broken = OSError(errno.EIO, "broken")
        assert not await release(made).verdict
        await made.sink.close(0.1)
        made.paper.broken = None
        await asyncio.sleep(60)
        assert ["open"] == made.paper.kinds()

    async def test_writer_with_a_bug(self) -> None:
        """A writer that breaks in a way it should not is a fault like others."""
        made, observer = await started(BrokenWorker())
        assert not await release(made).verdict
        assert [("ejected", "a", "failed")] == observer.told

    async def test_head_is_what_landed(self) -> None:
        """The exported head is the number and hash of the last record on the medium."""
        made, _ = await started()
        await release(made).verdict
        assert made.paper.records[-1]["hash"] == made.sink.head.hash
        assert 2 == made.sink.head.sequence


class TestFlight:
    @given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.001, 60))
    def test_gives_a_release_what_the_write_before_left(
        self, at: float, free_since: float, deadline: float
    ) -> None:
        """A release has its deadline less what it waited for a write, but never next to nothing."""
        with closing(asyncio.new_event_loop()) as loop:
            item, now = Item(BODY, at, Pledge(loop.create_future(), *ONE_SINK)), 1e6

        made = Flight.departing([item], now=now, free_since=free_since, deadline=deadline)

        waited = max(0.0, free_since - at)
        assert now + max(deadline - waited, deadline * STANDSTILL) == made.await_next()

    @pytest.mark.parametrize(
        ("now", "alive_at", "expected"), [(10.03, 10.02, 10.05), (10.25, 10.0, 10.3)]
    )
    def test_excuses_a_release_as_its_batch(
        self, now: float, alive_at: float, expected: float
    ) -> None:
        """A release with less time than its batch gets as much more, or all of it anew."""
        with closing(asyncio.new_event_loop()) as loop:
            items = [Item(BODY, at, Pledge(loop.create_future(), *ONE_SINK)) for at in (9.96, 9.99)]
        flight = Flight.departing(items, now=10.0, free_since=9.98, deadline=0.05)
        assert 10.03 == pytest.approx(flight.await_next())

        assert flight.is_excused(now, 0.05, alive_at)
        assert expected == pytest.approx(flight.await_next())


class TestScribe:
    def test_signs(self) -> None:
        """The writer gives a sign of life between any two records and before it writes."""
        times = itertools.count(1.0)
        around = surroundings(Clock(wall=lambda: EPOCH, monotonic=lambda: next(times)))
        scribe = Scribe(Paper(), around)
        scribe.inscribe([BODY])
        few = scribe.alive_at
        scribe.inscribe([BODY] * 10)
        assert few + 10 < scribe.alive_at

    @given(st.lists(st.integers(0, 4), max_size=5))
    def test_writes_the_same_in_any_batches(self, sizes: list[int]) -> None:
        """A batch of nothing but records is written as each alone, or behind another order."""
        papers = [Paper(), Paper(), Paper()]
        whole, alone, mixed = (Scribe(paper, surroundings()) for paper in papers)
        bodies = iter(b'{"kind":"request","status":%d}' % number for number in itertools.count())
        for size in (1, *sizes):
            batch = list(itertools.islice(bodies, size))
            whole.inscribe(batch)
            for body in batch:
                alone.inscribe([body])
            mixed.inscribe([Turn("signal"), *batch])
        assert papers[0].octets == papers[1].octets == papers[2].octets
