import fcntl
import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.lines import Lines, lines_of

ENOUGH = 20.0
"""Seconds after which a test has failed."""


class Pipe:
    """The smallest pipe there is, and the lines that go into it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        self._made: list[Lines] = []

    def lines(self, **options: Any) -> Lines:
        """Return lines that go in."""
        self._made.append(Lines(self.writer, **{"pause": 0.001, **options}))
        return self._made[-1]

    def read(self, octets: int) -> bytes:
        """Read as much."""
        got = b""
        while len(got) < octets and (part := os.read(self.reader, octets - len(got))):
            got += part
        return got

    def leave(self) -> None:
        """Read no more."""
        if self.reader >= 0:
            os.close(self.reader)
        self.reader = -1

    def close(self) -> None:
        """End everything: a thread that is left would write into the next test's files."""
        self.leave()
        for lines in self._made:
            lines.close(ENOUGH)
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Return a pipe."""
    made = Pipe()
    yield made
    made.close()


def until_lost(lines: Lines, many: int) -> None:
    """Wait until so many lines are lost."""
    end = time.monotonic() + ENOUGH
    while lines.lost < many:
        assert time.monotonic() < end, f"only {lines.lost} are lost"
        time.sleep(0.005)


class TestLines:
    def test_come_out_in_order(self, pipe: Pipe) -> None:
        """Lines of several threads come out whole, each thread's in its order."""
        lines = pipe.lines()

        def say(name: str) -> None:
            for number in range(300):
                lines.write(f"{name} {number}\n")

        threads = [threading.Thread(target=say, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        expected = {name: [f"{name} {number}" for number in range(300)] for name in "abc"}
        octets = sum(len(line) + 1 for told in expected.values() for line in told)
        told = pipe.read(octets).decode().splitlines()

        for thread in threads:
            thread.join()
        assert expected == {name: [li for li in told if li.startswith(name)] for name in "abc"}
        assert 0 == lines.lost

    def test_the_first_goes_out_at_once(self, pipe: Pipe) -> None:
        """After a silence nothing waits for more to come."""
        lines = pipe.lines(pause=0.5)

        lines.write("one\n")

        assert b"one\n" == pipe.read(4)

    def test_many_are_one_write(self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is said within a pause costs one write, not one for each line."""
        writes: list[bytes] = []

        def write(_: int, octets: memoryview) -> int:
            writes.append(bytes(octets))
            return len(octets)

        monkeypatch.setattr(os, "write", write)
        lines = pipe.lines(pause=0.2)
        for number in range(500):
            lines.write(f"{number}\n")
        lines.close(ENOUGH)

        assert [str(number) for number in range(500)] == b"".join(writes).decode().split()
        assert len(writes) <= 3

    def test_nobody_waits_for_a_reader(self, pipe: Pipe) -> None:
        """Where nobody reads, lines are taken at once; those beyond the bound are counted."""
        lines = pipe.lines(most=100)
        began = time.monotonic()
        for _ in range(20):
            for _ in range(100):
                lines.write("x" * 99 + "\n")
            time.sleep(0.002)

        assert time.monotonic() - began < ENOUGH / 4
        assert 2000 - 40 - 2 * 100 <= lines.lost < 2000

    def test_a_reader_who_comes_late_gets_what_was_kept(self, pipe: Pipe) -> None:
        """What waited comes out as soon as somebody reads, and what comes after as well."""
        lines = pipe.lines(most=100)
        for number in range(1000):
            lines.write(f"{number:099}\n")
        kept = 1000 - lines.lost
        first = pipe.read(kept * 100).decode().split()
        lines.write("late\n")

        numbers = [int(line) for line in first]
        assert (kept, sorted(numbers)) == (len(numbers), numbers)
        assert b"late\n" == pipe.read(5)

    def test_a_reader_who_is_gone(self, pipe: Pipe) -> None:
        """Lines for which there is no reader are lost and counted, and fail nothing."""
        pipe.leave()
        lines = pipe.lines()

        for _ in range(3):
            lines.write("x\n")

        until_lost(lines, 3)
        assert 3 == lines.lost

    def test_a_full_disk(self) -> None:
        """So are those for which the disk has no room."""
        full = os.open("/dev/full", os.O_WRONLY)
        lines = Lines(full, pause=0.001)
        lines.write("x\n")
        until_lost(lines, 1)
        lines.close(ENOUGH)
        os.close(full)

    def test_only_what_is_not_out_is_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a write stops in the middle, what it had written is not counted."""
        written: list[bytes] = []

        def write(_: int, octets: memoryview) -> int:
            if written:
                raise OSError
            written.append(bytes(octets[:5]))
            return 5

        monkeypatch.setattr(os, "write", write)
        lines = Lines(1, pause=0.1)
        lines.write("one\ntwo\nthree\n")
        lines.close(ENOUGH)

        assert ([b"one\nt"], 2) == (written, lines.lost)

    def test_somebody_elses_setting(self, pipe: Pipe) -> None:
        """A descriptor that does not block, because of whoever shares it, is waited for."""
        os.set_blocking(pipe.writer, False)
        lines = pipe.lines()
        for number in range(100):
            lines.write(f"{number:0999}\n")

        assert [*range(100)] == [int(line) for line in pipe.read(100_000).split()]
        assert 0 == lines.lost

    def test_the_last_are_out_at_the_end(self, tmp_path: Path) -> None:
        """Whoever closes has everything written that was taken before."""
        with (tmp_path / "log").open("w") as file:
            lines = lines_of(file)
            for number in range(5000):
                lines.write(f"{number}\n")
            lines.close(ENOUGH)
            lines.write("too late\n")

        assert [*range(5000)] == [int(line) for line in (tmp_path / "log").read_text().split()]
        assert 1 == lines.lost

    def test_the_end_waits_so_long_and_no_longer(self, pipe: Pipe) -> None:
        """Without a reader the end comes all the same."""
        lines = pipe.lines()
        for _ in range(100):
            lines.write("x" * 99 + "\n")
        began = time.monotonic()

        lines.close(0.05)

        assert time.monotonic() - began < ENOUGH / 4

    def test_no_stream_at_all(self) -> None:
        """A process without standard error writes into no other file that has its number."""
        lines = lines_of(None)
        lines.write("x\n")

        until_lost(lines, 1)
        assert not lines.isatty()

    def test_any_text(self, tmp_path: Path) -> None:
        """Half a surrogate pair is written as what it is."""
        with (tmp_path / "log").open("w") as file:
            lines = lines_of(file)
            lines.write("\ud800\n")
            lines.close(ENOUGH)

        assert "\\ud800\n" == (tmp_path / "log").read_text()

    def test_knows_no_person(self, tmp_path: Path) -> None:
        """A file is no terminal."""
        with (tmp_path / "log").open("w") as file:
            assert not lines_of(file).isatty()
        assert isinstance(io.StringIO().isatty(), bool)
