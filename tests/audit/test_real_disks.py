"""Real file systems and strace; mounting needs root, so ``.ci/run`` runs these."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.audit.assembly import SinkOptions, assemble
from service.audit.journal import Journal
from service.errors import AuditUnavailable
from tests.audit.disks import read_only, small_disk
from tests.audit.fakes import Recorder, Waiting, about_to_release, surroundings
from tests.audit.streams import verdict
from tests.virtual_time import virtual_clock

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.needs_tools


async def journal(path: Path, observer: Recorder) -> Journal:
    options = SinkOptions(name="file", type="file", path=str(path), deadline=5.0)
    around = surroundings(virtual_clock())
    made = assemble([options], around, observer=observer, accept="any")
    await made.start()
    return made


async def release(made: Journal) -> bool:
    """Try to release; return whether it passed the gate."""
    try:
        await about_to_release(made.open()).commit()
    except AuditUnavailable:
        return False
    return True


class TestRealDisks:
    async def test_full(self, tmp_path: Path) -> None:
        """A full disk refuses each release, and room on it heals the sink without help."""
        observer = Waiting()
        with small_disk(tmp_path / "disk") as disk:
            made = await journal(disk / "audit.jsonl", observer)
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(40_000))
            passed = 0
            while await release(made):
                passed += 1
            assert ("ejected", "file", "no-space") in observer.told
            assert [False] * 10 == [await release(made) for _ in range(10)]
            ballast.unlink()
            await observer.is_back.wait()
            assert await release(made)
            await made.close()
            text = (disk / "audit.jsonl").read_bytes()
        assert "intact" == verdict(text)
        assert b'"why":"no-space"' in text
        assert passed > 10

    async def test_read_only(self, tmp_path: Path) -> None:
        """A mount that turned read-only refuses; when it can be written again, it heals."""
        observer = Waiting()
        with small_disk(tmp_path / "disk") as disk:
            made = await journal(disk / "audit.jsonl", observer)
            assert await release(made)
            (disk / "audit.jsonl").rename(disk / "away")
            with read_only(disk):
                assert not await release(made)
                assert ("ejected", "file", "read-only") in observer.told
            await observer.is_back.wait()
            assert await release(made)
            await made.close()
            texts = [(disk / name).read_bytes() for name in ("away", "audit.jsonl")]
        assert "intact" == verdict(*texts)


class TestStrace:
    def test_synced_before_the_answer(self, tmp_path: Path) -> None:
        """The kernel sees write, then fdatasync, and only then the answer to the caller."""
        trace = tmp_path / "trace"
        calls = "trace=write,fdatasync"
        command = ["strace", "-f", "-e", calls, "-s", "100000", "-o", str(trace)]
        load = [sys.executable, "-m", "tests.audit.under_load", str(tmp_path), "disk"]
        with subprocess.Popen(  # noqa: S603  # strace of our own module
            [*command, *load], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stdout is not None
            process.stdout.read(33 * 50)
            os.killpg(process.pid, 9)
        written: list[str] = []
        synced: set[str] = set()
        answered = 0
        for line in trace.read_text("utf-8", "replace").splitlines():
            if found := re.findall(r'\\"audit_id\\":\\"([0-9a-f]{32})\\"', line):
                written += found
            elif "fdatasync" in line and line.rstrip().endswith("= 0"):
                synced.update(written)
            elif found := re.findall(r'write\(1, "([0-9a-f]{32})\\n"', line):
                assert found[0] in synced
                answered += 1
        assert answered >= 50
