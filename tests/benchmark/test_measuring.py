"""The measuring itself: what counts as an answer, whose CPU it is, who else was there."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.benchmark import load, open_loop
from tests.benchmark.load import USER, status_of
from tests.benchmark.meter import Meter, Reading
from tests.benchmark.processes import Failed, cpu, free_port, module, own_cpu, running
from tests.benchmark.quiet import Patience

Answer = Callable[[int], bytes | None]
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
REQUEST: Final = b"GET /%s HTTP/1.1\r\n\r\n" % USER


@asynccontextmanager
async def serving(
    answer: Answer, *, slow: Callable[[int], bool] = lambda _: False
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield the port of a server that gives request number n ``answer(n)``, and what it got.

    It takes half a second for those that are ``slow``.
    """
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)
        with suppress(ConnectionError):  # the load hangs up
            while request := await reader.read(4096):
                got.append(request)
                number = len(got)
                if slow(number):
                    await asyncio.sleep(0.5)
                if (said := answer(number)) is not None:
                    writer.write(said)

    served: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], got
        for writer in served:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


def options(directory: Path, port: int, **more: Any) -> argparse.Namespace:
    """Return the options of a load of 100 requests a second or at once."""
    file = directory / "requests.json"
    file.write_text(json.dumps([REQUEST.decode()]))
    usual = {"connections": 2, "seconds": 1.0, "most": 100, "rate": 100.0, "grace": 0.2}
    none = {"ca_file": None, "certificate": None, "first_user": None, "users": 10**6}
    return argparse.Namespace(port=port, requests=file, **{**usual, **none, **more})


METER: Final = Meter(server=None, run=os.getpid())


class TestAnswers:
    @pytest.mark.parametrize(
        ("buffer", "status"),
        [
            (OK, 200),
            (OK[:-1], None),
            (BUSY, 503),
            (b"HTTP/1.1 200 OK\r\n", None),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", None),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
        ],
        ids=["whole", "cut", "empty", "head", "chunks", "all chunks"],
    )
    def test_counts_when_it_is_whole(self, buffer: bytes, status: int | None) -> None:
        """An answer has a status once all of it is there."""
        assert status == status_of(buffer)


class TestOpenLoop:
    async def test_a_refusal_is_no_answer(self, tmp_path: Path) -> None:
        """What is refused is in no latency and not in what was achieved; it is told apart."""
        async with serving(lambda number: BUSY if number % 2 else OK) as (port, _):
            found = await open_loop.run(options(tmp_path, port), METER)
        assert (100, 50, 50, 0) == tuple(
            found[what] for what in ("due", "answered", "failed", "unanswered")
        )
        assert found["achieved"] == pytest.approx(50, rel=0.2)

    async def test_waits_for_the_slowest(self, tmp_path: Path) -> None:
        """A refusal completes one request, not two: the slow ones behind it are waited for."""
        refuses = serving(lambda n: BUSY if n <= 20 else OK, slow=lambda n: n > 80)
        async with refuses as (port, _):
            found = await open_loop.run(options(tmp_path, port, grace=5), METER)
        assert (80, 20, 0) == (found["answered"], found["failed"], found["unanswered"])

    async def test_what_never_comes_is_unanswered(self, tmp_path: Path) -> None:
        """A request without an answer is told, and so is that there is no latency at all."""
        async with serving(lambda _: None) as (port, _):
            found = await open_loop.run(options(tmp_path, port), METER)
        assert (0, 0, 100, None) == tuple(
            found[what] for what in ("answered", "failed", "unanswered", "p50_ms")
        )


class TestClosedLoop:
    async def test_counts_200_alone(self, tmp_path: Path) -> None:
        """What is refused is a failure and in no latency."""
        async with serving(lambda number: BUSY if number % 4 == 0 else OK) as (port, _):
            found = await load.run(options(tmp_path, port), METER)
        assert (75, {"503": 25}) == (found["answered"], found["failed"])

    async def test_asks_for_a_new_user_each_time(self, tmp_path: Path) -> None:
        """Where that is asked for, no two requests are for the same user."""
        async with serving(lambda _: OK) as (port, got):
            await load.run(options(tmp_path, port, first_user=500), METER)
        assert {b"GET /user-%06d HTTP/1.1\r\n\r\n" % n for n in range(500, 600)} == set(got)


class TestProcesses:
    def test_workers_count(self) -> None:
        """What a process's children use is its own: a master's workers do the work."""
        burn = "import time\nwhile time.process_time() < 60: pass"
        line = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
        master = subprocess.Popen([sys.executable, "-c", line], process_group=0)  # noqa: S603  # ours
        try:
            until = time.monotonic() + 30
            while cpu(master.pid) < own_cpu(master.pid) + 0.2 and time.monotonic() < until:
                time.sleep(0.05)
            assert cpu(master.pid) >= own_cpu(master.pid) + 0.2
        finally:
            os.killpg(master.pid, 9)
            master.wait()

    def test_a_form_that_ends_is_told_with_its_last_words(self, tmp_path: Path) -> None:
        """A program that does not come to listening is not waited for, and its log is quoted."""
        log, began = tmp_path / "log", time.monotonic()
        with (
            pytest.raises(Failed, match=r"its log ends: .*no_such_module"),
            running(None, module("no_such_module"), log, port=free_port()),
        ):
            pass
        assert time.monotonic() - began < 30


class TestOthers:
    def test_are_what_is_busy_and_not_ours(self) -> None:
        """Of each core, others took what it was busy for less what our processes used."""
        before = Reading(at=10.0, server=1.0, busy={0: 5.0, 1: 7.0}, ours={0: 1.0, 1: 2.0})
        after = Reading(at=12.0, server=2.5, busy={0: 6.8, 1: 7.5}, ours={0: 2.5, 1: 2.6})
        assert {
            "seconds": 2.0,
            "cpu_seconds": 1.5,
            "others": 0.15,
            "others_beside": 0.0,
        } == after.since(before)

    @pytest.mark.parametrize(
        ("noises", "seconds", "kept"),
        [
            ([0.05, 0.0], 60.0, (0.05, 1)),
            ([0.5, 0.1, 0.0], 60.0, (0.1, 2)),
            ([0.5, 0.3, 0.4, 0.0], 60.0, (0.3, 3)),
            ([0.5, 0.0], 0.0, (0.5, 1)),
        ],
        ids=["quiet", "quiet at last", "never quiet", "no patience left"],
    )
    def test_a_disturbed_row_is_measured_once_more(
        self, noises: Sequence[float], seconds: float, kept: tuple[float, int]
    ) -> None:
        """The quietest of three is kept, with what others took, as long as patience lasts."""
        left = iter(noises)
        row = Patience(seconds).quietest(lambda: {"others": 0.0, "others_beside": next(left)})
        assert kept == (row["others_beside"], row["tries"])
