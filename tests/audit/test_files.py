import errno
from dataclasses import replace

import pytest

from service.audit.chain import Head
from service.audit.files import File, FileRules
from service.audit.media import Moved
from service.audit.orders import Gap, Report, Turn
from service.audit.scribe import Scribe
from service.deadline import Clock
from tests.audit.fakes import Paper, surroundings
from tests.audit.memory_files import MemoryFiles
from tests.audit.streams import kinds, records, verdict
from tests.virtual_time import EPOCH

PATH = "/var/audit/audit.jsonl"
BODY = b'{"kind":"request","outcome":"denied"}'
DISK = FileRules(path=PATH, is_synced=True)


def scribe(files: MemoryFiles, rules: FileRules = DISK) -> Scribe:
    return Scribe(File(rules, files), surroundings())


class Vanishing(MemoryFiles):
    """Loses the file after each write, if it is told to."""

    vanishes = False

    def write(self, descriptor: int, octets: memoryview | bytes) -> int:
        taken = super().write(descriptor, octets)
        if self.vanishes:
            del self.files[PATH]
        return taken


class TestDurability:
    def test_sync_before_report(self) -> None:
        """With durability disk, a batch is written, synced and found in place, in that order."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([])
        files.calls.clear()
        writer.inscribe([BODY] * 100)
        assert ["write", "sync"] == files.calls

    def test_os_does_not_sync(self) -> None:
        """With durability os, a batch is one write."""
        files = MemoryFiles()
        writer = scribe(files, FileRules(path=PATH))
        writer.inscribe([BODY])
        assert ["open", "write"] == files.calls

    def test_new_file_is_in_its_directory(self) -> None:
        """With durability disk, a new file's name is on disk before the first record counts."""
        files = MemoryFiles()
        scribe(files).inscribe([])
        assert ["open", "sync_directory /var/audit", "write", "sync"] == files.calls

    def test_failed_sync_accepts_nothing(self) -> None:
        """Records that are written but not synced are not accepted; the head says they landed."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([])
        files.faults["sync"] = OSError(errno.EIO, "broken")
        report = writer.inscribe([BODY])
        assert ("input-output", 1, 2) == (report.fault, report.landed, report.head.sequence)


class TestPlace:
    def test_deleted_file(self) -> None:
        """A file that was deleted is begun anew, and the chain goes on."""
        files = MemoryFiles()
        writer = scribe(files)
        head = writer.inscribe([BODY]).head
        del files.files[PATH]
        report = writer.inscribe([BODY])
        assert (None, ("deleted",)) == (report.fault, report.noticed)
        opening = records(files.text(PATH))[0]
        assert (str(head), "deleted") == (opening["previous"], opening["why"])

    def test_deleted_while_writing(self) -> None:
        """Records in a file that nobody can find are not accepted."""
        files = MemoryFiles()
        file = File(DISK, files)
        file.open()
        file.write(memoryview(b"x"))
        del files.files[PATH]
        with pytest.raises(Moved, match="deleted"):
            file.settle()

    def test_a_new_file_with_the_old_number(self) -> None:
        """A new file is one even where the file system gives it the deleted one's number."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([BODY])
        number, _ = files.files.pop(PATH)
        files.numbers = iter([number])
        assert None is writer.inscribe([BODY]).fault
        assert ["open", "denied"] == kinds(files.text(PATH))

    def test_deleted_under_the_writer(self) -> None:
        """A batch that went into a file deleted meanwhile is a fault, and the next is not."""
        files = Vanishing()
        writer = scribe(files)
        writer.inscribe([])
        files.vanishes = True
        assert "deleted" == writer.inscribe([BODY]).fault
        files.vanishes = False
        assert None is writer.inscribe([Gap(0, 0.0, "deleted"), BODY]).fault
        assert ["open", "checkpoint", "denied"] == kinds(files.text(PATH))

    def test_replaced_file(self) -> None:
        """A replaced file is continued as it is found; its edits are for verify to find."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([BODY, BODY])
        files.files[PATH] = (999, bytearray(files.text(PATH).replace(b"denied", b"danced", 1)))
        assert ("replaced",) == writer.inscribe([BODY]).noticed
        assert "TAMPERED" == verdict(files.text(PATH))

    def test_a_moved_file_goes_on_elsewhere(self) -> None:
        """A file that logrotate took away is continued in a new one; together they verify."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([BODY])
        files.rename(PATH, PATH + ".1")
        writer.inscribe([BODY])
        assert "intact" == verdict(files.text(PATH + ".1"), files.text(PATH))


class TestRotation:
    def test_by_size(self) -> None:
        """A file that would grow over its size is put aside, and both verify as one chain."""
        files = MemoryFiles()
        writer = scribe(files, FileRules(path=PATH, rotate_bytes=2000))
        for _ in range(30):
            writer.inscribe([BODY])
        assert len(files.files) > 1
        assert all(len(content) <= 2000 for _, content in files.files.values())
        texts = [files.text(name) for name in [*sorted(n for n in files.files if n != PATH), PATH]]
        assert "intact" == verdict(*texts)

    def test_on_order(self) -> None:
        """SIGHUP puts the file aside under its moment and last number."""
        files = MemoryFiles()
        writer = scribe(files)
        report = writer.inscribe([BODY, Turn("signal"), BODY])
        assert 3 == report.landed
        aside = PATH + ".20270115T080000Z.000000000003"
        assert ["open", "denied", "rotate"] == kinds(files.text(aside))
        assert ["open", "denied"] == kinds(files.text(PATH))
        assert "audit.jsonl.20270115T080000Z.000000000003" == records(files.text(aside))[-1]["to"]

    def test_after_logrotate(self) -> None:
        """A signal after the file was renamed from outside begins one new file, not two."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([BODY])
        files.rename(PATH, PATH + ".1")
        assert 2 == writer.inscribe([Turn("signal"), BODY]).landed
        assert {PATH, PATH + ".1"} == set(files.files)
        assert "intact" == verdict(files.text(PATH + ".1"), files.text(PATH))

    @pytest.mark.parametrize("room", range(0, 300, 13))
    def test_not_before_a_torn_line_is_told(self, room: int) -> None:
        """A file that is full of size and was full of disk first tells what was cut."""
        files = MemoryFiles()
        writer = scribe(files, FileRules(path=PATH, rotate_bytes=1500))
        writer.inscribe([BODY, BODY, BODY])
        files.room = room
        assert "no-space" == writer.inscribe([BODY, BODY]).fault
        files.room = None
        for _ in range(3):
            writer.inscribe([Gap(1, 0.0, "no-space"), BODY])
        asides = sorted(name for name in files.files if name != PATH)
        assert asides
        assert "intact" == verdict(*(files.text(name) for name in [*asides, PATH]))

    def test_synced_before_it_is_put_aside(self) -> None:
        """With durability disk the old file is on disk before it gets its new name."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([])
        files.calls.clear()
        writer.inscribe([Turn("signal")])
        assert ["write", "sync", "rename", "close", "open"] == files.calls[:5]

    def test_a_name_that_cannot_be_changed(self) -> None:
        """Where renaming fails, the records go on in the old file, and somebody is told."""
        files = MemoryFiles()
        writer = scribe(files)
        files.faults["rename"] = OSError(errno.EACCES, "no")
        report = writer.inscribe([BODY, Turn("signal"), BODY])
        assert (None, ("rotation-failed",)) == (report.fault, report.noticed)
        expected = ["open", "denied", "rotate", "checkpoint", "denied"]
        assert expected == kinds(files.text(PATH))
        assert "intact" == verdict(files.text(PATH))

    def test_no_new_file(self) -> None:
        """Where the new file cannot be made, nothing is accepted until it can."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([BODY])
        files.faults["open"] = OSError(errno.ENOSPC, "full")
        assert "no-space" == writer.inscribe([Turn("signal"), BODY]).fault
        files.faults.clear()
        assert None is writer.inscribe([Gap(1, 0.0, "no-space"), BODY]).fault
        assert ["open", "gap", "denied"] == kinds(files.text(PATH))


class TestRestart:
    def test_continues_the_chain(self) -> None:
        """A new run continues the file's chain from its last record."""
        files = MemoryFiles()
        scribe(files).inscribe([BODY])
        scribe(files).inscribe([BODY])
        assert [1, 2, 3, 4] == [record["seq"] for record in records(files.text(PATH))]
        assert "intact" == verdict(files.text(PATH))

    @pytest.mark.parametrize("kept", range(1, 500, 7))
    def test_after_any_cut(self, kept: int) -> None:
        """Wherever a crash cut the last line, the next run tells of it and verify accepts that."""
        files = MemoryFiles()
        scribe(files).inscribe([BODY, BODY])
        del files.files[PATH][1][kept:]
        scribe(files).inscribe([BODY])
        assert "intact" == verdict(files.text(PATH))

    def test_after_two_crashes(self) -> None:
        """A line cut twice in the same place is still told of."""
        files = MemoryFiles()
        scribe(files).inscribe([BODY])
        files.files[PATH][1].extend(b'{"seq":3,"cha')
        writer = scribe(files)
        files.room = 20
        assert "no-space" == writer.inscribe([BODY]).fault
        files.room = None
        scribe(files).inscribe([BODY])
        assert "intact" == verdict(files.text(PATH))

    def test_between_two_files(self) -> None:
        """A crash between two files leaves one chain: the last file put aside is looked up."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([BODY, Turn("signal")])
        del files.files[PATH]
        scribe(files).inscribe([BODY])
        aside = next(name for name in files.files if name != PATH)
        assert "intact" == verdict(files.text(aside), files.text(PATH))
        assert 4 == records(files.text(PATH))[0]["seq"]

    def test_between_two_files_after_the_clock_went_back(self) -> None:
        """Which file was put aside last is told by its number: a clock may have been set back."""
        files = MemoryFiles()
        clock = Clock(wall=iter([EPOCH + 3600] * 3 + [EPOCH] * 9).__next__, monotonic=lambda: 0.0)
        writer = Scribe(File(DISK, files), replace(surroundings(), clock=clock))
        writer.inscribe([BODY, Turn("signal")])
        writer.inscribe([BODY, Turn("signal")])
        del files.files[PATH]
        head = scribe(files).inscribe([BODY]).head
        asides = sorted((name for name in files.files if name != PATH), reverse=True)
        texts = [files.text(name) for name in (*asides, PATH)]
        assert "20270115T090000Z" in asides[0]
        assert "intact" == verdict(*texts, expect=[head])

    def test_foreign_names_are_not_ours(self) -> None:
        """Files with other names beside ours are left alone."""
        files = MemoryFiles()
        files.files["/var/audit/audit.jsonl.bak"] = (1, bytearray(b"x"))
        scribe(files).inscribe([BODY])
        assert 1 == records(files.text(PATH))[0]["seq"]


class TestFailures:
    @pytest.mark.parametrize("room", range(1, 700, 11))
    def test_full_disk(self, room: int) -> None:
        """However much of a batch a full disk takes, what follows verifies."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([])
        files.room = room
        report = writer.inscribe([BODY] * 3)
        files.room = None
        lost = 3 - report.landed
        again = writer.inscribe([Gap(lost, 0.0, "no-space"), BODY])
        assert None is again.fault
        assert "intact" == verdict(files.text(PATH), expect=[again.head])
        present = [record["seq"] for record in records(files.text(PATH))]
        assert list(range(1, report.landed + 2)) == present[: report.landed + 1]

    def test_full_disk_that_stays_full(self) -> None:
        """Probes that a full disk cuts again and again leave something verify can explain."""
        files = MemoryFiles()
        writer = scribe(files)
        writer.inscribe([BODY])
        for room in (30, 0, 7, 100):
            files.room = room
            assert "no-space" == writer.inscribe([Gap(1, 0.0, "no-space")]).fault
        files.room = None
        writer.inscribe([Gap(1, 0.0, "no-space")])
        assert "intact" == verdict(files.text(PATH))

    @pytest.mark.parametrize("rooms", [(30, 1), (30, 1, 1), (30, 1, 20), (30, 1, 20, 1), (1, 1)])
    def test_room_for_a_newline_only(self, rooms: tuple[int, ...]) -> None:
        """Probes that get no further than the end of the line before leave nothing unexplained."""
        files, paper = MemoryFiles(), Paper()
        for writer, disk in ((scribe(files), files), (Scribe(paper, surroundings()), paper)):
            writer.inscribe([BODY])
            for room in rooms:
                disk.room = room
                assert "no-space" == writer.inscribe([Gap(1, 0.0, "no-space")]).fault
            disk.room = None
            writer.inscribe([Gap(1, 0.0, "no-space")])
        assert "intact" == verdict(files.text(PATH))
        assert "intact" == verdict(paper.octets)

    @pytest.mark.parametrize("room", range(300))
    def test_cut_stream(self, room: int) -> None:
        """Wherever a stream that cannot be read back is cut, twice, the writer remembers it."""
        paper = Paper()
        writer = Scribe(paper, surroundings())
        writer.inscribe([BODY])
        for left in (room, 1, room % 7):
            paper.room = left
            writer.inscribe([Gap(1, 0.0, "no-space")])
        paper.room = None
        writer.inscribe([Gap(1, 0.0, "no-space"), BODY])
        assert "intact" == verdict(paper.octets)

    @pytest.mark.parametrize(
        ("code", "name"),
        [
            (errno.EROFS, "read-only"),
            (errno.EAGAIN, "locked"),
            (errno.EPIPE, "closed"),
            (errno.ELOOP, "link"),
            (errno.ENXIO, "failed"),
        ],
    )
    def test_named(self, code: int, name: str) -> None:
        """What went wrong has a name for alarms."""
        files = MemoryFiles()
        files.faults["open"] = OSError(code, "")
        assert name == scribe(files).inscribe([]).fault

    def test_first_record_is_the_opening(self) -> None:
        """If the opening record itself could not be written, the next attempt begins with it."""
        files = MemoryFiles()
        writer = scribe(files)
        files.room = 0
        first: Report = writer.inscribe([])
        assert ("no-space", Head(0, "")) == (first.fault, first.head)
        files.room = None
        writer.inscribe([Gap(0, 0.0, "no-space")])
        assert ["open", "checkpoint"] == kinds(files.text(PATH))

    def test_closed_file(self) -> None:
        """A file that is not open takes nothing and says so."""
        file = File(DISK, MemoryFiles())
        assert "closed" == file.displaced()
        with pytest.raises(Moved):
            file.write(memoryview(b"x"))
