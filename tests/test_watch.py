"""What the files that change while we run owe the operator."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.aside import aside
from service.live import Live
from service.watch import (
    LARGEST,
    Change,
    FileFault,
    Irregular,
    OffLoop,
    Outcome,
    Source,
    Watched,
    Watcher,
    each_of,
    read_file,
)
from tests.virtual_time import VIRTUAL

CERTIFICATE, KEY = Path("tls.crt"), Path("tls.key")


async def at_once(work: Callable[[], Any]) -> Any:
    """Stand in for a thread where time is virtual."""
    return work()


ENDLESS = """
import asyncio, threading
from service.aside import aside
async def main():
    try:
        await asyncio.wait_for(aside(threading.Event().wait), 0.01)
    except TimeoutError:
        pass
asyncio.run(main())
"""


class Disk:
    """Runs what may block when it ``answers``, and not before."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.asked = 0

    async def __call__(self, work: Callable[[], Any]) -> Any:
        self.asked += 1
        await self.answers.wait()
        return work()


class Mount:
    """Files in memory; ``swap_after`` reads they become others, as a mount does under a reader."""

    def __init__(self, **files: bytes) -> None:
        self.files: dict[str, bytes | OSError] = dict(files)
        self.swap_after: dict[int, dict[str, bytes]] = {}
        self.reads = 0

    def read(self, path: Path) -> bytes:
        found = self.files.get(path.name, FileNotFoundError(path.name))
        self.reads += 1
        self.files.update(self.swap_after.pop(self.reads, {}))
        if isinstance(found, OSError):
            raise found
        return found


class NotANumber(ValueError):
    """A fault of the parser's own, whose text may be told."""


def number(contents: Sequence[bytes]) -> int:
    if not contents[0].isdigit():
        raise NotANumber("it is not a number")
    return int(contents[0])


def pair(contents: Sequence[bytes]) -> tuple[bytes, ...]:
    if contents[0] != contents[1]:
        raise FileFault("certificate and key do not belong together")
    return tuple(contents)


@dataclass
class Bench:
    """A watched number in a file ``n``, and what was told of it."""

    mount: Mount = field(default_factory=lambda: Mount(n=b"1"))
    changes: list[Change] = field(default_factory=list)

    def open(self, off_loop: OffLoop = at_once) -> Watched[int]:
        source = Source(
            name="n", paths=[Path("n")], parse=number, told=(NotANumber,), read=self.mount.read
        )
        return Watched.open(source, self.changes.append, off_loop=off_loop)

    @property
    def outcomes(self) -> list[tuple[Outcome, str]]:
        return [(change.outcome, change.detail) for change in self.changes]


class TestWatched:
    async def test_replaces_a_changed_value(self) -> None:
        """A changed file is in place after the next look, under a new generation."""
        bench = Bench()
        watched = bench.open()
        bench.mount.files["n"] = b"2"
        await watched.check()
        assert (2, 2) == (watched.live.value, watched.live.generation)
        assert [Change(name="n", outcome=Outcome.REPLACED, generation=2)] == bench.changes

    async def test_leaves_an_unchanged_value(self) -> None:
        """What is the same to the octet is not replaced: no cache is emptied for nothing."""
        bench = Bench()
        watched = bench.open()
        await watched.check()
        assert (1, []) == (watched.live.generation, bench.changes)

    async def test_keeps_the_old_value_over_a_faulty_file(self) -> None:
        """A fault leaves what was; it is told once, in the parser's words."""
        bench = Bench()
        watched = bench.open()
        bench.mount.files["n"] = b"zwei"
        await watched.check()
        await watched.check()
        assert (1, 1, True) == (watched.live.value, watched.live.generation, watched.is_faulty)
        assert [(Outcome.FAULTY, "n: it is not a number")] == bench.outcomes

    async def test_keeps_the_old_value_over_a_missing_file(self) -> None:
        """A file that cannot be read changes nothing, and it is named."""
        bench = Bench()
        watched = bench.open()
        bench.mount.files["n"] = PermissionError("n")
        await watched.check()
        assert 1 == watched.live.value
        assert [(Outcome.FAULTY, "n: cannot be read (PermissionError)")] == bench.outcomes

    async def test_tells_each_fault(self) -> None:
        """Another fault is another message."""
        bench = Bench()
        watched = bench.open()
        for content in (b"zwei", FileNotFoundError("n")):
            bench.mount.files["n"] = content
            await watched.check()
        assert ["n: it is not a number", "n: cannot be read (FileNotFoundError)"] == [
            detail for _, detail in bench.outcomes
        ]

    async def test_heals_when_the_old_file_is_back(self) -> None:
        """After a fault the file in use is again fine, without a new generation."""
        bench = Bench()
        watched = bench.open()
        for content in (b"zwei", b"1"):
            bench.mount.files["n"] = content
            await watched.check()
        assert (1, False) == (watched.live.generation, watched.is_faulty)
        assert [Outcome.FAULTY, Outcome.HEALED] == [outcome for outcome, _ in bench.outcomes]

    async def test_takes_the_next_good_file(self) -> None:
        """A fault does not outlive its file."""
        bench = Bench()
        watched = bench.open()
        for content in (b"zwei", b"2"):
            bench.mount.files["n"] = content
            await watched.check()
        assert (2, 2, False) == (watched.live.value, watched.live.generation, watched.is_faulty)

    async def test_tries_a_faulty_file_again(self) -> None:
        """A parser that could not at one time can at another, with the same file."""
        verdicts: list[int | ValueError] = [1, ValueError(), 2]

        def moody(_: Sequence[bytes]) -> int:
            verdict = verdicts.pop(0)
            if isinstance(verdict, ValueError):
                raise verdict
            return verdict

        mount = Mount(n=b"a")
        source = Source(name="n", paths=[Path("n")], parse=moody, read=mount.read)
        watched = Watched.open(source, off_loop=at_once)
        mount.files["n"] = b"b"
        await watched.check()
        await watched.check()
        assert 2 == watched.live.value

    async def test_survives_a_bug_in_a_parser(self) -> None:
        """A parser that breaks is a fault like others; only the kind of error is told."""
        bench = Bench()

        def broken(contents: Sequence[bytes]) -> int:
            return {b"1": 1}[contents[0]]

        source = Source(name="n", paths=[Path("n")], parse=broken, read=bench.mount.read)
        watched = Watched.open(source, bench.changes.append, off_loop=at_once)
        bench.mount.files["n"] = b"hunter2"
        await watched.check()
        assert [(Outcome.FAULTY, "n: the contents cannot be used (KeyError)")] == bench.outcomes

    async def test_survives_a_broken_observer(self) -> None:
        """Observation never stops a reload."""
        bench = Bench()

        def broken(_: Change) -> None:
            raise RuntimeError("metrics are away")

        source = Source(name="n", paths=[Path("n")], parse=number, read=bench.mount.read)
        watched = Watched.open(source, broken, off_loop=at_once)
        bench.mount.files["n"] = b"2"
        await watched.check()
        assert 2 == watched.live.value

    async def test_replaces_what_it_did_not_load(self) -> None:
        """A value that came from elsewhere is replaced at the first look."""
        mount = Mount(n=b"2")
        source = Source(name="n", paths=[Path("n")], parse=number, read=mount.read)
        live = Live(1)
        await Watched(source, live, off_loop=at_once).check()
        assert 2 == live.value


class TestStuck:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_is_told(self) -> None:
        """A file that cannot be read in five seconds is faulty, and asked for once only."""
        bench, disk = Bench(), Disk()
        watched = bench.open(off_loop=disk)
        for _ in range(3):
            await watched.check()
        assert (5.0, 1) == (asyncio.get_running_loop().time(), disk.asked)
        assert [(Outcome.FAULTY, "a file cannot be read (TimeoutError)")] == bench.outcomes

    async def test_heals(self) -> None:
        """What the reading brings when it ends at last is taken like any other."""
        bench, disk = Bench(), Disk()
        watched = bench.open(off_loop=disk)
        await watched.check()
        bench.mount.files["n"] = b"2"
        disk.answers.set()
        await asyncio.sleep(1)
        await watched.check()
        assert (2, False) == (watched.live.value, watched.is_faulty)

    async def test_delays_no_other_file(self) -> None:
        """Others are looked at beside it, and at once when woken."""
        stuck, fine = Bench(), Bench()
        watched = [stuck.open(off_loop=Disk()), fine.open()]
        watcher = Watcher(watched, interval=5)
        running = asyncio.create_task(watcher.run())
        fine.mount.files["n"] = b"2"
        await asyncio.sleep(5.1)
        first = watched[1].live.value
        await asyncio.sleep(10)
        fine.mount.files["n"] = b"3"
        watcher.wake()
        await asyncio.sleep(0.1)
        running.cancel()
        assert (2, 3) == (first, watched[1].live.value)


class TestAside:
    async def test_brings_what_comes_of_the_work(self) -> None:
        """Results and errors come back from the other thread."""

        def fail() -> int:
            raise FileFault("no")

        assert 1 == await aside(lambda: 1)
        with pytest.raises(FileFault, match="no"):
            await aside(fail)

    def test_lets_the_process_end(self) -> None:
        """Neither the loop nor the interpreter waits for work that never ends."""
        command = [sys.executable, "-c", ENDLESS]
        done = subprocess.run(command, check=False, timeout=30)  # noqa: S603  # our own
        assert 0 == done.returncode

    def test_outlives_its_loop(self) -> None:
        """Work that ends when nobody waits any more tells nobody."""
        go, threads = threading.Event(), list[threading.Thread]()

        def work() -> None:
            threads.append(threading.current_thread())
            go.wait()

        async def main() -> None:
            task = asyncio.create_task(aside(work))
            while not threads:  # noqa: ASYNC110  # the other thread cannot set our event
                await asyncio.sleep(0)
            task.cancel()

        asyncio.run(main())
        go.set()
        threads[0].join()


class TestSource:
    def test_refuses_to_open_a_faulty_file(self) -> None:
        """At the start there is no old value: the fault is raised."""
        with pytest.raises(FileFault, match="n: it is not a number"):
            Bench(Mount(n=b"eins")).open()

    def test_names_the_file_of_a_group(self) -> None:
        """Of files that are read together the one that is faulty is named."""
        mount = Mount(a=b"1", b=b"x")
        source = Source(
            name="n",
            paths=[Path("a"), Path("b")],
            parse=lambda contents: each_of(contents, lambda each: number([each])),
            read=mount.read,
        )
        with pytest.raises(FileFault, match=r"^b: it is not a number$"):
            source.open()

    def test_holds_nothing_of_what_it_read(self) -> None:
        """Neither the fault nor what it chains holds the file's contents."""

        def quoting(contents: Sequence[bytes]) -> int:
            raise ValueError(contents[0].decode())

        source = Source(name="n", paths=[Path("n")], parse=quoting, read=Mount(n=b"hunter2").read)
        with pytest.raises(FileFault) as caught:
            source.open()
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)
        assert "hunter2" not in repr(caught.value)

    @pytest.mark.parametrize("reads", range(1, 6))
    def test_takes_no_mixture(self, reads: int) -> None:
        """Whenever a mount is swapped under a reader, it gets all old or all new files."""
        mount = Mount(**{"tls.crt": b"old", "tls.key": b"old"})
        mount.swap_after[reads] = {"tls.crt": b"new", "tls.key": b"new"}
        source = Source(name="tls", paths=[CERTIFICATE, KEY], parse=tuple, read=mount.read)
        assert source.open().value in {(b"old", b"old"), (b"new", b"new")}

    def test_gives_up_on_files_that_never_settle(self) -> None:
        """Files that differ at every read are a fault, not an endless loop."""
        mount = Mount(n=b"0")
        mount.swap_after = {read: {"n": str(read).encode()} for read in range(1, 9)}
        with pytest.raises(FileFault, match="do not stop changing"):
            Source(name="n", paths=[Path("n")], parse=number, read=mount.read).open()

    async def test_replaces_a_group_together(self) -> None:
        """Of certificate and key neither is taken until both belong together."""
        mount = Mount(**{"tls.crt": b"old", "tls.key": b"old"})
        source = Source(name="tls", paths=[CERTIFICATE, KEY], parse=pair, read=mount.read)
        watched = Watched.open(source, off_loop=at_once)
        seen = []
        for name in ("tls.crt", "tls.key"):
            mount.files[name] = b"new"
            await watched.check()
            seen.append(watched.live.value)
        assert [(b"old", b"old"), (b"new", b"new")] == seen

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from([b"1", b"2", b"x", b""]), max_size=12))
    def test_holds_the_last_good_file(self, history: list[bytes]) -> None:
        """Whatever the file has said, in use is the last number it said."""
        bench = Bench()
        watched = bench.open()

        async def live_through() -> None:
            for content in history:
                bench.mount.files["n"] = content
                await watched.check()

        asyncio.run(live_through())
        numbers = [int(content) for content in [b"1", *history] if content.isdigit()]
        assert numbers[-1] == watched.live.value


class TestWatcher:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_looks_at_an_interval(self) -> None:
        """A change is in place within one interval."""
        bench = Bench()
        watched = bench.open()
        running = asyncio.create_task(Watcher([watched], interval=5).run())
        bench.mount.files["n"] = b"2"
        await asyncio.sleep(4.9)
        before = watched.live.value
        await asyncio.sleep(0.2)
        running.cancel()
        assert (1, 2) == (before, watched.live.value)

    async def test_looks_at_once_when_woken(self) -> None:
        """SIGHUP waits for no interval."""
        bench = Bench()
        watched = bench.open()
        watcher = Watcher([watched], interval=3600)
        running = asyncio.create_task(watcher.run())
        bench.mount.files["n"] = b"2"
        watcher.wake()
        await asyncio.sleep(1)
        running.cancel()
        assert 2 == watched.live.value

    async def test_looks_at_everything(self) -> None:
        """One faulty file does not keep the others from being replaced."""
        first, second = Bench(), Bench()
        watched = [first.open(), second.open()]
        running = asyncio.create_task(Watcher(watched, interval=5).run())
        first.mount.files["n"], second.mount.files["n"] = b"x", b"2"
        await asyncio.sleep(6)
        running.cancel()
        assert [1, 2] == [each.live.value for each in watched]


class TestReadFile:
    def test_refuses_what_was_mounted_by_mistake(self, tmp_path: Path) -> None:
        """A file over the cap is not read into memory."""
        large = tmp_path / "large"
        with large.open("wb") as file:
            file.truncate(LARGEST + 1)
        with pytest.raises(FileFault, match="too large"):
            read_file(large)

    def test_does_not_wait_for_a_writer(self, tmp_path: Path) -> None:
        """A pipe, or anything else that is no regular file, is refused and not opened."""
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        with pytest.raises(Irregular, match="not a regular file"):
            read_file(pipe)


class TestKubernetesMount:
    async def test_sees_the_swap_of_the_link(self, tmp_path: Path) -> None:
        """Files behind ``..data`` are replaced together when the kubelet renames it."""
        self.publish(tmp_path, "1", b"old")
        for name in ("tls.crt", "tls.key"):
            (tmp_path / name).symlink_to(Path("..data") / name)
        paths = [tmp_path / "tls.crt", tmp_path / "tls.key"]
        watched = Watched.open(Source(name="tls", paths=paths, parse=pair))
        self.publish(tmp_path, "2", b"new")
        await watched.check()
        assert ((b"new", b"new"), 2) == (watched.live.value, watched.live.generation)

    def publish(self, mount: Path, version: str, content: bytes) -> None:
        (mount / version).mkdir()
        for name in ("tls.crt", "tls.key"):
            (mount / version / name).write_bytes(content)
        (mount / "..data_tmp").symlink_to(version)
        (mount / "..data_tmp").rename(mount / "..data")
