"""One deadline for everything: what a request waits for, it waits for within its own time."""

import asyncio
from typing import Any

import pytest

from service.api.deadlines import deadline_of, require_good_timeout
from service.deadline import Clock, Deadline
from service.errors import AuditUnavailable, InvalidRequest, ServiceError, UpstreamTimeout
from tests.audit.fakes import SlowWorker, desk
from tests.virtual_time import VIRTUAL, virtual_clock

CLOCK = Clock(wall=lambda: 1_800_000_000.0, monotonic=lambda: 100.0)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


class TestAudit:
    @pytest.mark.parametrize(
        ("has", "takes", "error", "status"),
        [
            (0.02, 0.02, UpstreamTimeout, 504),
            (0.0, 0.0, UpstreamTimeout, 504),
            (10.0, 0.05, AuditUnavailable, 503),
        ],
    )
    async def test_is_waited_for_within_the_deadline(
        self, has: float, takes: float, error: type[ServiceError], status: int
    ) -> None:
        """A slow sink costs no more than what a request has left, nor than the sink's deadline."""
        made = await desk(SlowWorker(0.0))
        worker = made.benches[0].worker
        assert isinstance(worker, SlowWorker)
        worker.seconds = None
        entry = made.entry()
        entry.deadline = Deadline.after(has, virtual_clock())
        begun = asyncio.get_running_loop().time()

        with pytest.raises(error):
            await entry.commit()

        assert takes == pytest.approx(asyncio.get_running_loop().time() - begun)
        assert status == entry.status

    async def test_has_no_effect_in_time(self) -> None:
        """A record that is accepted before the deadline is a release."""
        made = await desk()
        entry = made.entry()
        entry.deadline = Deadline.after(1, virtual_clock())
        await entry.commit()
        await asyncio.sleep(2)

        assert [["open", "released"]] == [paper.kinds() for paper in made.papers]


class TestBeforeTheCallerIsKnown:
    @pytest.mark.parametrize(("value", "expected"), [(b"3", 3), (b"30", 10), (b"never", 10)])
    def test_the_header_counts(self, value: bytes, expected: float) -> None:
        """Authentication, too, is within the caller's time; a bad header is told after it."""
        early = deadline_of([value], seconds=10, clock=CLOCK)

        assert expected == pytest.approx(early.remaining())

    @pytest.mark.parametrize("values", [(b"never",), (b"3", b"3")])
    def test_a_bad_header_is_told_in_the_end(self, values: tuple[bytes, ...]) -> None:
        """It is a mistake all the same."""
        with pytest.raises(InvalidRequest):
            require_good_timeout(values)

    def test_a_good_header_is_fine(self) -> None:
        """Nothing is told of it."""
        require_good_timeout([b"2"])
