import asyncio
import os
import threading
from threading import Event

import pytest

from service.audit.flight import SinkRules
from service.audit.journal import Journal
from service.audit.media import Stream
from service.audit.scribe import Scribe
from service.audit.sink import Sink
from service.audit.worker import Hand, ThreadWorker
from service.errors import AuditUnavailable
from tests.audit.fakes import Recorder, Waiting, about_to_release, surroundings
from tests.audit.streams import kinds, verdict
from tests.virtual_time import virtual_clock


@pytest.fixture
def pipe() -> tuple[int, int]:
    """Open a pipe; the test closes its ends."""
    return os.pipe()


def journal(writer: int, observer: Recorder) -> Journal:
    around = surroundings(virtual_clock())
    hand = Hand(writer=Scribe(Stream(writer), around), worker=ThreadWorker("stdout"))
    sink = Sink(SinkRules(name="stdout", deadline=0.05), hand, around, observer)
    return Journal([sink], around, observer=observer)


async def release(made: Journal) -> bool:
    try:
        await about_to_release(made.open()).commit()
    except AuditUnavailable:
        return False
    return True


class TestThreadWorker:
    async def test_in_order_and_elsewhere(self) -> None:
        """Jobs run one after another in a thread, and what follows runs on the loop."""
        worker, done, order = ThreadWorker("a"), asyncio.Event(), list[int]()
        for number in range(3):
            worker.submit(lambda n=number: order.append(n), lambda: None)  # type: ignore[misc]  # a default binds n
        worker.submit(lambda: None, done.set)
        await done.wait()
        worker.stop()
        assert [0, 1, 2] == order

    async def test_survives_a_bug(self) -> None:
        """A job with a bug is told where threads tell of bugs, and the next one runs."""
        worker, done, told = ThreadWorker("a"), asyncio.Event(), list[object]()

        def bug() -> None:
            raise ZeroDivisionError

        before = threading.excepthook
        threading.excepthook = lambda args: told.append(args.exc_type)
        try:
            worker.submit(bug, lambda: None)
            worker.submit(lambda: None, done.set)
            await done.wait()
        finally:
            threading.excepthook = before
        assert [ZeroDivisionError] == told

    def test_the_loop_may_have_ended(self) -> None:
        """A job that ends after its loop tells nobody, and nothing breaks."""
        worker, held, after = ThreadWorker("a"), Event(), Event()

        def hold() -> None:
            held.wait()

        async def begin() -> None:
            worker.submit(hold, lambda: None)
            worker.submit(after.set, lambda: None)

        asyncio.run(begin())
        held.set()
        assert after.wait(10)


class TestPipes:
    async def test_closed(self, pipe: tuple[int, int]) -> None:
        """When the reader of standard output is gone, nothing is released."""
        reader, writer = pipe
        os.close(reader)
        observer = Recorder()
        made = journal(writer, observer)
        await made.start()
        assert not await release(made)
        assert [("ejected", "stdout", "closed")] == observer.told[:1]
        await made.close(0.1)
        os.close(writer)

    async def test_not_read(self, pipe: tuple[int, int]) -> None:
        """A pipe that nobody reads refuses, does not stop the loop, and heals when it is read."""
        reader, writer = pipe
        observer = Waiting()
        made = journal(writer, observer)
        await made.start()
        passed = 0
        while await release(made):
            passed += 1
        assert ("ejected", "stdout", "late") in observer.told
        text = await asyncio.to_thread(os.read, reader, 1 << 20)
        await observer.is_back.wait()
        assert await release(made)
        await made.close(10)
        os.close(writer)
        with os.fdopen(reader, "rb") as rest:
            text += rest.read()
        assert "intact" == verdict(text)
        written = kinds(text)
        assert passed + 2 == written.count("released")
        assert 1 == written.count("release-withdrawn")
