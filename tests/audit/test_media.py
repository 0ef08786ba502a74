import fcntl
import os
import socket
from pathlib import Path
from threading import Thread

import orjson
import pytest

from service.audit.assembly import SinkOptions, assemble
from service.audit.files import File, FileRules
from service.audit.filesystem import Disk
from service.audit.media import Stream, UnixSocket
from service.audit.orders import Gap
from service.audit.scribe import Scribe
from service.audit.surroundings import Unobserved
from tests.audit.fakes import surroundings
from tests.audit.streams import kinds, records, verdict

BODY = b'{"kind":"request","outcome":"denied"}'


class TestStream:
    def test_pipe(self) -> None:
        """Records on a pipe begin a chain of their own."""
        reader, writer = os.pipe()
        Scribe(Stream(writer), surroundings()).inscribe([BODY])
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            text = pipe.read()
        assert ["open", "denied"] == kinds(text)
        assert "intact" == verdict(text)

    def test_closed_pipe(self) -> None:
        """A pipe without a reader is a fault, not the end of the process."""
        reader, writer = os.pipe()
        os.close(reader)
        assert "closed" == Scribe(Stream(writer), surroundings()).inscribe([BODY]).fault
        os.close(writer)

    def test_non_blocking_pipe(self) -> None:
        """A pipe that somebody made non-blocking is waited for as any other."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        scribe = Scribe(Stream(writer), surroundings())
        received: list[bytes] = []

        def read() -> None:
            with os.fdopen(reader, "rb") as pipe:
                received.append(pipe.read())

        consumer = Thread(target=read)
        consumer.start()
        report = scribe.inscribe([BODY] * 2000)
        os.close(writer)
        consumer.join()
        assert (None, 2000) == (report.fault, report.landed)
        assert 2001 == len(received[0].splitlines())

    def test_has_no_files(self) -> None:
        """There is nothing to rotate, and closing leaves the process's descriptor alone."""
        stream = Stream(-1)
        stream.turn("x")
        stream.close()
        assert (None, None, False) == (stream.aside(1, ""), stream.displaced(), stream.is_full(9))


class TestUnixSocket:
    def test_reconnects(self, tmp_path: Path) -> None:
        """Each connection begins with an opening record that continues the chain."""
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(path)
            server.listen()
            scribe = Scribe(UnixSocket(path, timeout=5), surroundings())
            scribe.inscribe([BODY])
            first, _ = server.accept()
            text = first.recv(10_000)
            first.close()
            assert "closed" == scribe.inscribe([BODY]).fault
            scribe.inscribe([Gap(1, 0.0, "closed"), BODY])
            second, _ = server.accept()
            text += second.recv(10_000)
            second.close()
            scribe.close()
        assert ["open", "denied", "open", "gap", "denied"] == kinds(text)
        assert "intact" == verdict(text)

    def test_nobody_listens(self, tmp_path: Path) -> None:
        """Without a listener the sink has a fault with a name."""
        scribe = Scribe(UnixSocket(str(tmp_path / "s"), timeout=5), surroundings())
        assert "missing" == scribe.inscribe([BODY]).fault

    def test_not_connected(self) -> None:
        """Nothing is sent before there is a connection."""
        with pytest.raises(BrokenPipeError):
            UnixSocket("s", timeout=5).write(memoryview(b"x"))

    def test_reader_that_stops_reading(self, tmp_path: Path) -> None:
        """A reader that does not read is a fault in the end, and what was cut is told elsewhere."""
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(path)
            server.listen()
            scribe = Scribe(UnixSocket(path, timeout=0.001), surroundings())
            report = scribe.inscribe([BODY] * 20_000)
            assert "late" == report.fault
            assert 0 < report.landed < 20_000
            first, _ = server.accept()
            text = _drained(first, scribe)
            assert None is scribe.inscribe([Gap(20_000 - report.landed, 0.0, "late")]).fault
            second, _ = server.accept()
            rest = second.recv(10_000)
            second.close()
            scribe.close()
        assert records(rest)[0]["torn"]["elsewhere"] is True
        cut_off = text[: text.rfind(b"\n") + 1]
        assert "intact" == verdict(cut_off + rest)
        assert "intact" == verdict(text + b"\n" + rest)


def _drained(connection: socket.socket, scribe: Scribe) -> bytes:
    """Close the writer's end and read what had been sent."""
    scribe.close()
    text = b""
    while octets := connection.recv(1 << 20):
        text += octets
    connection.close()
    return text


class TestAssembly:
    async def test_each_type(self, tmp_path: Path) -> None:
        """Each type of sink is made from its options; without its path it is refused."""
        options = [
            SinkOptions(name="out"),
            SinkOptions(name="file", type="file", path=str(tmp_path / "a"), durability="disk"),
            SinkOptions(name="socket", type="unix", path=str(tmp_path / "s")),
        ]
        journal = assemble(options, surroundings(), observer=Unobserved(), accept="all")
        assert ["out", "file", "socket"] == list(journal.heads)
        with pytest.raises(ValueError, match="needs a path"):
            assemble(
                [SinkOptions(name="x", type="file")],
                surroundings(),
                observer=Unobserved(),
                accept="any",
            )


class TestDisk:
    def test_second_writer_is_refused(self, tmp_path: Path) -> None:
        """Two processes cannot write one file: the second waits, ejected, for the first to end."""
        rules = FileRules(path=str(tmp_path / "a"))
        first, second = (Scribe(File(rules, Disk()), surroundings()) for _ in range(2))
        first.inscribe([BODY])
        assert "locked" == second.inscribe([BODY]).fault
        first.close()
        assert None is second.inscribe([Gap(1, 0.0, "locked")]).fault
        assert "intact" == verdict((tmp_path / "a").read_bytes())

    def test_not_through_a_link(self, tmp_path: Path) -> None:
        """A symbolic link in the file's place is not followed."""
        (tmp_path / "a").symlink_to(tmp_path / "b")
        rules = FileRules(path=str(tmp_path / "a"))
        assert "link" == Scribe(File(rules, Disk()), surroundings()).inscribe([BODY]).fault
        assert not (tmp_path / "b").exists()

    def test_real_rotation(self, tmp_path: Path) -> None:
        """On a real file system, synced and rotated files verify as one chain."""
        rules = FileRules(path=str(tmp_path / "a"), is_synced=True, rotate_bytes=1500)
        scribe = Scribe(File(rules, Disk()), surroundings())
        for _ in range(20):
            assert None is scribe.inscribe([BODY]).fault
        scribe.close()
        again = Scribe(File(rules, Disk()), surroundings())
        again.inscribe([BODY])
        again.close()
        texts = [path.read_bytes() for path in [*sorted(tmp_path.glob("a.*")), tmp_path / "a"]]
        assert len(texts) > 2
        assert "intact" == verdict(*texts)

    def test_permissions(self, tmp_path: Path) -> None:
        """The file is for its owner and group alone."""
        path = tmp_path / "a"
        Scribe(File(FileRules(path=str(path)), Disk()), surroundings()).inscribe([])
        assert 0 == path.stat().st_mode & 0o007

    def test_deleted_and_replaced(self, tmp_path: Path) -> None:
        """A deleted or replaced file is noticed before the next record is written."""
        path = tmp_path / "a"
        scribe = Scribe(File(FileRules(path=str(path)), Disk()), surroundings())
        scribe.inscribe([BODY])
        path.unlink()
        assert ("deleted",) == scribe.inscribe([BODY]).noticed
        path.rename(tmp_path / "b")
        path.touch()
        assert ("replaced",) == scribe.inscribe([BODY]).noticed
        assert orjson.loads(path.read_bytes().splitlines()[0])["why"] == "replaced"
