import argparse
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

import pytest

from service.audit import controls
from service.audit.files import File, FileRules
from service.audit.filesystem import Disk
from service.audit.fingerprints import AuditKey, Keyring, new_key
from service.audit.record import Entry, canonical, describe
from service.audit.scribe import Scribe
from service.cli import audit
from service.cli.audit_printing import document
from service.model import Uid
from service.secret import Secret
from tests.audit.fakes import KEY, OLD_KEY, about_to_release, surroundings
from tests.audit.streams import chained
from tests.virtual_time import EPOCH

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """Write the key of the fakes into a file."""
    path = tmp_path / "key"
    path.write_bytes(new_key(lambda count: bytes(range(count))))
    return str(path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Write a log with one release, one withdrawn, and one refusal."""
    path = tmp_path / "audit.jsonl"
    around = surroundings()
    writer = Scribe(File(FileRules(path=str(path)), Disk()), around)
    writer.inscribe([body(about_to_release(Entry(audit_id="1" * 32, opened_at=EPOCH)))])
    writer.inscribe([body(about_to_release(Entry(audit_id="2" * 32, opened_at=EPOCH)))])
    writer.inscribe([controls.withdrawal(around, "2" * 32, "cancelled")])
    refused = about_to_release(Entry(audit_id="3" * 32, opened_at=EPOCH))
    refused.outcome = "access-denied"
    writer.inscribe([body(refused), controls.closing(around)])
    writer.close()
    return path


def body(entry: Entry) -> bytes:
    return canonical(describe(entry, KEY, now=EPOCH, monotonic=0.0))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def call(*arguments: str, given: str = "", standard_input: TextIO | None = None) -> int:
    """Run the command with ``given`` on standard input."""
    parser = argparse.ArgumentParser()
    audit.add_parser(parser.add_subparsers())
    args = parser.parse_args(["audit", *arguments])
    before = sys.stdin
    sys.stdin = standard_input or io.TextIOWrapper(io.BytesIO(given.encode()))
    try:
        return audit.run(args)
    finally:
        sys.stdin = before


def in_process(*arguments: str, output: Path) -> tuple[int, str]:
    """Run the command in a process; return its status and what it said beside the output."""
    command = [sys.executable, "-m", "service", "audit", *arguments]
    with output.open("wb") as file:
        done = subprocess.run(  # noqa: S603  # our own module
            command, cwd=ROOT, stdout=file, stderr=subprocess.PIPE, check=False
        )
    return done.returncode, done.stderr.decode()


def said(capsys: pytest.CaptureFixture[str]) -> Sequence[str]:
    return capsys.readouterr().out.splitlines()


class TestVerify:
    def test_intact(self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """An intact log exits 0 and tells its head, to be compared with the exported one."""
        assert 0 == call("verify", "--key-file", key_file, str(log))
        unproved = "the tail is not proved: no --expect was given"
        assert ["intact: 6 records in 1 chains", unproved] == said(capsys)[-2:]

    def test_tampered(self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A changed log exits 1 and names the place."""
        log.write_bytes(log.read_bytes().replace(b"10.0.0.7", b"10.0.0.8", 1))
        assert 1 == call("verify", "--key-file", key_file, str(log))
        assert f"TAMPERED: {log}:2: record 2 is changed" in said(capsys)

    def test_expect(self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A head as verify tells it can be expected; without its record the log is cut."""
        call("verify", "--key-file", key_file, str(log))
        head = next(line for line in said(capsys) if "head" in line).split()[-1]
        options = ("--key-file", key_file, "--expect", head)
        assert 0 == call("verify", *options, str(log))
        assert "intact: 6 records in 1 chains" == said(capsys)[-1]
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
        assert 1 == call("verify", *options, str(log))

    def test_gzip_from_standard_input(self, key_file: str, log: Path) -> None:
        """Compressed records are read from standard input."""
        given = io.TextIOWrapper(io.BytesIO(gzip.compress(log.read_bytes())))
        assert 0 == call("verify", "--key-file", key_file, "-", standard_input=given)

    def test_cut_gzip(self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A compressed file that is cut is not intact."""
        log.write_bytes(gzip.compress(log.read_bytes())[:-9])
        assert 1 == call("verify", "--key-file", key_file, str(log))
        assert f"TAMPERED: {log}: the compressed data is cut short" in said(capsys)

    def test_unreadable(self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A file that cannot be read accuses nobody: status 2, and a sentence."""
        assert 2 == call("verify", "--key-file", key_file, str(log), str(log.parent))
        told = capsys.readouterr()
        assert "TAMPERED" not in told.out
        assert f"audit: {log.parent}: Is a directory\n" == told.err

    def test_numbers_of_metrics(
        self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A head can be given as the two numbers of the metrics, as Prometheus writes them."""
        hashes = [line.rpartition(b":")[2][:12] for line in log.read_bytes().splitlines()]
        number = int(hashes[3], 16)
        options = ("--key-file", key_file, str(log), "--expect")
        for written in (str(number), f"{number:.14e}"):
            assert 0 == call("verify", *options, f"4:{written}")
        assert 1 == call("verify", *options, f"4:{number + 1}")
        assert 1 == call("verify", *options, f"5:{number}")
        assert "TAMPERED: --expect: record 5 with the exported hash is not here" in said(capsys)

    @pytest.mark.parametrize("octets", [b"", b"\0" * 4096])
    def test_nothing(
        self, octets: bytes, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where there is no record, nothing is intact: status 1, for a script expects records."""
        log.write_bytes(octets)
        assert 1 == call("verify", "--key-file", key_file, str(log))
        assert "nothing to verify: no record was found" == said(capsys)[-1]

    def test_power_loss(self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """NUL octets after the last line are what power loss leaves, and not tampering."""
        log.write_bytes(log.read_bytes() + b"\0" * 3000)
        assert 0 == call("verify", "--key-file", key_file, str(log))
        said_first = "the end is NUL octets: power was lost, as file systems leave it"
        assert f"note: {log}:7: {said_first}" in said(capsys)

    @pytest.mark.parametrize("tail", [b"\0\0x", b"\0\0\n"])
    def test_no_power_loss(self, tail: bytes, key_file: str, log: Path) -> None:
        """NUL octets with anything after them, be it a newline, are not the end of a file."""
        log.write_bytes(log.read_bytes() + tail)
        assert 1 == call("verify", "--key-file", key_file, str(log))

    def test_many_findings(
        self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Beyond a hundred findings are counted only."""
        line = log.read_bytes().splitlines(keepends=True)[1]
        log.write_bytes(log.read_bytes() + line * 200)
        assert 1 == call("verify", "--key-file", key_file, str(log))
        assert "… and 100 more" in said(capsys)


class TestWhoGot:
    def test_found(self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It says who got a token, when, under which rule, and which of it was taken back."""
        code = call("who-got", "--key-file", key_file, str(log), given="sentinel-token\n")
        lines = said(capsys)
        user = KEY.of_uid(Uid("sentinel-uid"))
        assert 1 == code
        assert 3 == len(lines)
        assert (
            "2027-01-15T08:00:00.000000Z crm-sync (cluster crm/sync-worker, pod p) from 10.0.0.7"
            " got access_token of facebook at shop;"
            f" user {user}, rule crm-sync[0], audit {'1' * 32}"
        ) == lines[0]
        withdrawn = f"release {'2' * 32} was withdrawn (cancelled)"
        assert f"2027-01-15T08:00:00.000000Z {withdrawn}" == lines[2]

    def test_nobody(self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A token that nobody got exits 0, prints nothing, and says what was searched."""
        assert 0 == call("who-got", "--key-file", key_file, str(log), given="other\n")
        told = capsys.readouterr()
        assert "" == told.out
        assert f"audit: searched 6 records, 2 releases, keys {KEY.id};" in told.err

    @pytest.mark.parametrize(
        "search", [("who-got",), ("who-got", "--json"), ("show", "--uid")], ids=" ".join
    )
    def test_lacking_key(
        self,
        search: tuple[str, ...],
        key_file: str,
        log: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Where the key of any record is not given, "nobody" is no answer: status 2 names it."""
        around = surroundings(keys=Keyring((OLD_KEY,)))
        other = Scribe(File(FileRules(path=str(tmp_path / "other")), Disk()), around)
        other.inscribe([body(about_to_release(Entry(audit_id="4" * 32)))])
        logs = (str(log), str(tmp_path / "other"))
        assert 2 == call(*search, "--key-file", key_file, *logs, given="anything\n")
        told = f"audit: not searched: what audit key {OLD_KEY.id} wrote; give its --key-file too\n"
        assert told in capsys.readouterr().err

    def test_key_of_the_fingerprints(
        self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The key that a record's fingerprints name counts, not only the one that chained it."""
        released = body(about_to_release(Entry(audit_id="1" * 32)))
        log.write_bytes(chained([released], keys=Keyring((OLD_KEY,))))
        assert 2 == call("who-got", "--key-file", key_file, str(log), given="sentinel-token\n")
        assert f"keys {', '.join(sorted((KEY.id, OLD_KEY.id)))};" in capsys.readouterr().err

    @pytest.mark.parametrize("octets", [b"", b"root:x:0:0:root:/root:/bin/bash\n"])
    @pytest.mark.parametrize("search", [("who-got", "--key-file", "KEY"), ("show",)])
    def test_no_record(
        self,
        search: tuple[str, ...],
        octets: bytes,
        key_file: str,
        log: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Where there is no record, there is no answer: status 2."""
        log.write_bytes(octets)
        arguments = [key_file if a == "KEY" else a for a in search]
        assert 2 == call(*arguments, str(log), given="sentinel-token\n")
        assert "audit: no record was found, so this is no answer\n" in capsys.readouterr().err

    @pytest.mark.parametrize("token", [" sentinel-token", "sentinel-token ", "sentinel-token\t"])
    def test_outer_blanks(
        self, token: str, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A blank that came along when a token was copied is searched for, with a warning."""
        assert 0 == call("who-got", "--key-file", key_file, str(log), given=f"{token}\n")
        assert "audit: the value begins or ends with a blank" in capsys.readouterr().err

    def test_json(self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Whole records can be had."""
        call("who-got", "--json", "--key-file", key_file, str(log), given="sentinel-token\n")
        assert said(capsys)[0].startswith('{"seq":2,')

    def test_old_key(self, key_file: str, log: Path, tmp_path: Path) -> None:
        """Records of an older key are found with the older key's file."""
        newer = tmp_path / "newer"
        newer.write_bytes(new_key(lambda count: bytes(range(1, count + 1))))
        assert OLD_KEY.id == AuditKey.from_file(newer.read_bytes()).id
        keys = ("--key-file", str(newer), "--key-file", key_file)
        assert 1 == call("who-got", *keys, str(log), given="sentinel-token")

    def test_input_is_one_thing(self, key_file: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Standard input cannot be the token and the records."""
        assert 2 == call("who-got", "--key-file", key_file, "-", given="sentinel-token")
        assert "both the value and a file" in capsys.readouterr().err


class TestUnverified:
    def test_is_said(self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Who searches is told, once and beside the output, that nothing was verified."""
        searched = f"audit: searched 6 records, 2 releases, keys {KEY.id}"
        expected = f"{searched}; not verified: run audit verify\n"
        call("show", str(log))
        assert expected == capsys.readouterr().err
        call("who-got", "--key-file", key_file, str(log), given="sentinel-token\n")
        assert expected == capsys.readouterr().err


class TestOthers:
    def test_hash(self, key_file: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A value's fingerprints are those that stand in records."""
        call("hash", "--key-file", key_file, given="sentinel-token\n")
        call("hash", "--uid", "--key-file", key_file, given="sentinel-uid\n")
        expected = [KEY.of_token(Secret("sentinel-token")), KEY.of_uid(Uid("sentinel-uid"))]
        assert expected == said(capsys)

    @pytest.mark.parametrize(
        ("conditions", "count"),
        [
            ((), 6),
            (("--outcome", "released"), 2),
            (("--caller", "crm-sync"), 3),
            (("--provider", "google"), 0),
            (("--site", "shop"), 3),
            (("--kind", "open"), 1),
            (("--audit-id", "2" * 32), 2),
            (("--user", KEY.of_uid(Uid("sentinel-uid"))), 3),
            (("--since", "2027-01-15T08:00"), 6),
            (("--until", "2027-01-15T09:00:00+01:00"), 0),
        ],
    )
    def test_show(
        self,
        conditions: tuple[str, ...],
        count: int,
        log: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Records are shown that meet each condition."""
        assert 0 == call("show", *conditions, str(log))
        assert count == len(said(capsys))

    def test_show_by_uid(
        self, key_file: str, log: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A UID is read from standard input, never from the command line."""
        call("show", "--uid", "--key-file", key_file, str(log), given="sentinel-uid\n")
        assert 3 == len(said(capsys))

    def test_junk_is_passed_over(self, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Lines that are no records are not shown, and counted."""
        log.write_bytes(b"junk\n7\n" + log.read_bytes())
        assert 0 == call("show", "--kind", "open", str(log))
        told = capsys.readouterr()
        assert 1 == len(told.out.splitlines())
        assert "; 2 other lines;" in told.err

    def test_terminal_is_safe(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What would steer a terminal is shown, not sent."""
        (tmp_path / "log").write_bytes(b'{"kind":"request","peer":"\xc2\x9b31m"}\n')
        call("show", str(tmp_path / "log"))
        assert ['{"kind":"request","peer":"\\u009b31m"}'] == said(capsys)

    @pytest.mark.parametrize("character", ["\x9b", "\ue000", "\U000e0001", "\U0010ffff"])
    def test_shown_json_says_the_same(self, character: str) -> None:
        """What is shown instead of a character means that character in JSON, beyond 16 bits too."""
        assert character not in document({"subject": character})
        assert {"subject": character} == json.loads(document({"subject": character}))

    def test_new_key(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A new key is another each time, and can be used."""
        assert 0 == call("key", "new") == call("key", "new")
        one, other = said(capsys)
        assert AuditKey.from_file(one.encode()).id != AuditKey.from_file(other.encode()).id


class TestMisuse:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("verify", "KEY", "missing"),
            ("verify", "--key-file", "missing", "LOG"),
            ("verify", "LOG"),
            ("verify", "KEY", "--expect", "x", "LOG"),
            ("hash", "KEY"),
            ("verify", "--key-file", "LOG", "LOG"),
            ("show", "DIRECTORY"),
            ("verify", "KEY", "DIRECTORY"),
            ("verify", "KEY", "--expect", "1:1.5e+00", "LOG"),
            ("verify", "KEY", "--expect", "1:999999999999999", "LOG"),
        ],
        ids=" ".join,
    )
    def test_exits_2(
        self, arguments: tuple[str, ...], key_file: str, log: Path, tmp_path: Path
    ) -> None:
        """What cannot be done is said on standard error, with status 2."""
        known = {"KEY": f"--key-file={key_file}", "LOG": str(log), "DIRECTORY": str(tmp_path)}
        assert 2 == call(*(known.get(a, a) for a in arguments))

    def test_reader_goes_away(self, log: Path) -> None:
        """A pipe that is closed, as by head, is no error."""

        class Closed(io.StringIO):
            def write(self, _: str) -> int:
                raise BrokenPipeError

        before, sys.stdout = sys.stdout, Closed()
        try:
            code = call("show", str(log))
            sys.stdout.close()
        finally:
            sys.stdout = before
        assert 0 == code

    def test_faulty_key_file(
        self, log: Path, key_file: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Of several key files the one that holds no key is named."""
        assert 2 == call("verify", "--key-file", key_file, "--key-file", str(log), str(log))
        assert f"audit: {log}: it is not base64\n" == capsys.readouterr().err

    def test_time(self, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What is no time is said to be none."""
        with pytest.raises(SystemExit, match="2"):
            call("show", "--since", "yesterday", str(log))
        assert "'yesterday' is no time in ISO 8601" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "command", [("show", "LOG"), ("verify", "--key-file", "KEY", "LOG"), ("key", "new")]
    )
    def test_full_output(self, command: tuple[str, ...], key_file: str, log: Path) -> None:
        """Output that has no room is told, with the status of what could not be done."""
        known = {"KEY": key_file, "LOG": str(log)}
        words = (known.get(word, word) for word in command)
        code, told = in_process(*words, output=Path("/dev/full"))
        expected = "audit: the output cannot be written: No space left on device"
        assert (2, expected) == (code, told.splitlines()[-1])

    def test_interrupted(self, key_file: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Control-C ends a command with a word and no traceback."""

        class Interrupted(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(self, _: object) -> int:
                raise KeyboardInterrupt

        given = io.TextIOWrapper(io.BufferedReader(Interrupted()))
        assert 130 == call("hash", "--key-file", key_file, standard_input=given)
        assert "audit: interrupted\n" == capsys.readouterr().err

    def test_progress(self, log: Path, key_file: str) -> None:
        """On a terminal a bar is drawn and taken away again."""
        log.write_bytes(log.read_bytes() * 2000)
        before, sys.stderr = sys.stderr, Terminal()
        try:
            call("verify", "--key-file", key_file, str(log))
            drawn = sys.stderr.getvalue()
        finally:
            sys.stderr = before
        assert "%" in drawn
        assert drawn.endswith("\r\x1b[K")

    def test_results_do_not_touch_the_bar(self, log: Path, key_file: str) -> None:
        """Where both are one terminal, the bar is taken away before a result is printed."""
        log.write_bytes(b"junk\n" * 5000 + log.read_bytes() * 2000)
        before, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), (screen := Terminal()), screen
        try:
            call("verify", "--key-file", key_file, str(log))
        finally:
            sys.stdout, sys.stderr = before
        assert "%" in screen.getvalue()
        lines = [line.rpartition("\r\x1b[K")[2] for line in screen.getvalue().split("\n")]
        assert [] == [line for line in lines if "%" in line]
