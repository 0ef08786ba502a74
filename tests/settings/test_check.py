import argparse
import json
import sys
from pathlib import Path

import pytest

from service.cli import check, schema
from service.cli.check import UNTRACED, Ask
from service.cli.live_report import LiveReport, Question
from service.settings.load import Loaded
from service.settings.published import json_schema
from tests.settings.samples import GOOD, NOW, good_files, spoiled

Capture = pytest.CaptureFixture[str]


def ask_nobody(loaded: Loaded, question: Question) -> LiveReport:
    """Fail: there is nobody to be asked."""
    raise AssertionError((loaded, question))


def run(*words: str | Path, ask: Ask = ask_nobody) -> int:
    """Return the exit status of a command line."""
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    check.add_parser(subparsers)
    schema.add_parser(subparsers)
    args = parser.parse_args(list(map(str, words)))
    return check.run(args, ask=ask, now=NOW) if words[0] == "check" else schema.run(args)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write a good configuration and its files."""
    text = GOOD
    for name, octets in good_files().items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(octets)
        text = text.replace(name, str(path))
    for place in ("/var/log/audit/", "/run/"):
        text = text.replace(f"path: {place}", f"path: {tmp_path}/")
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


class TestCheck:
    def test_a_good_configuration_passes(self, config: Path, capsys: Capture) -> None:
        """Without faults the status is 0, and what is perhaps not meant is told as a warning."""
        assert 0 == run("check", "--config", config)
        told = capsys.readouterr()
        simulator = "sites.staging.simulator: is not Gigya: for tests and staging only"
        assert f"warning: {simulator}\n" == told.out
        assert told.err.startswith("0 faults, 1 warning, hash ")

    def test_faults_are_told_on_standard_output(self, config: Path, capsys: Capture) -> None:
        """Every fault is a line of its own, and the status is 78."""
        text = config.read_text(encoding="utf-8")
        edits = (("naming: documented", "naming: guess"), ("drain: 25", "drain: x"))
        config.write_text(spoiled(*edits, text=text), encoding="utf-8")
        (config.parent / "secrets/token").unlink()
        assert 78 == run("check", "--config", config)
        assert [
            "shutdown.drain: must be a number",
            "sites.shop.naming: must be 'reply' or 'documented'",
            "authentication.3.token_file: names a file that does not exist",
        ] == capsys.readouterr().out.splitlines()[:3]

    def test_files_can_be_left_alone(self, tmp_path: Path, capsys: Capture) -> None:
        """Without files the rest is checked, and it is said that they were not read."""
        path = tmp_path / "config.yaml"
        path.write_text(GOOD, encoding="utf-8")
        assert 0 == run("check", "--config", path, "--without-files")
        assert "files not read" in capsys.readouterr().err

    def test_machines_get_json(self, config: Path, capsys: Capture) -> None:
        """With --json standard output is one document, with lines and the hash."""
        assert 0 == run("check", "--config", config, "--json")
        told = json.loads(capsys.readouterr().out)
        assert {"faults", "warnings", "hash", "live"} == set(told)
        assert [] == told["faults"]
        assert [("sites.staging.simulator", 31)] == [
            (each["path"], each["line"]) for each in told["warnings"]
        ]

    def test_a_place_for_the_audit_that_is_not_here(self, config: Path, capsys: Capture) -> None:
        """A sink whose directory is not here is told, if files are looked at."""
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace("/audit.jsonl", "/no/audit.jsonl"), encoding="utf-8")
        assert 0 == run("check", "--config", config)
        told = "warning: audit.sinks.1.path: is in a directory that does not exist here"
        assert told == capsys.readouterr().out.splitlines()[-1]
        assert 0 == run("check", "--config", config, "--without-files")
        assert "audit.sinks" not in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "status", "kind"), [((), 78, ""), (("--without-files",), 0, "warning: ")]
    )
    def test_an_extra_that_is_not_here(
        self,
        config: Path,
        capsys: Capture,
        monkeypatch: pytest.MonkeyPatch,
        words: tuple[str, ...],
        status: int,
        kind: str,
    ) -> None:
        """Tracing without its extra is a fault, or a warning if it is judged for elsewhere."""
        monkeypatch.setitem(sys.modules, "service.collector", None)
        with config.open("a", encoding="utf-8") as file:
            file.write("tracing: {endpoint: 'http://collector:4318'}\n")

        assert status == run("check", "--config", config, *words)
        assert f"{kind}tracing.endpoint: {UNTRACED}" in capsys.readouterr().out.splitlines()

    def test_no_extra_is_missed_where_none_is_asked_for(
        self, config: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without tracing the extra may be absent."""
        monkeypatch.setitem(sys.modules, "service.collector", None)

        assert 0 == run("check", "--config", config)
        assert UNTRACED not in capsys.readouterr().out

    def test_faults_in_json(self, tmp_path: Path, capsys: Capture) -> None:
        """A configuration that cannot be read is a fault like any other."""
        assert 78 == run("check", "--config", tmp_path / "none", "--json")
        message = f"{tmp_path / 'none'} is a file that does not exist"
        assert {
            "faults": [{"path": "configuration", "message": message, "line": None}],
            "warnings": [],
            "hash": None,
            "live": None,
        } == json.loads(capsys.readouterr().out)


class TestLive:
    @pytest.mark.parametrize(("is_fine", "status"), [(True, 0), (False, 1)])
    def test_gigya_is_asked_once(
        self, config: Path, capsys: Capture, *, is_fine: bool, status: int
    ) -> None:
        """What Gigya's answer looks like is told, and whether it is as it should be."""
        asked: list[Question] = []

        def ask(loaded: Loaded, question: Question) -> LiveReport:
            assert loaded.materials
            asked.append(question)
            return LiveReport(lines=("slot 0 decrypts",), is_fine=is_fine)

        words = ("--live", "shop", "--uid", "u-1", "--provider", "facebook")
        assert status == run("check", "--config", config, *words, ask=ask)
        assert [Question(site="shop", provider="facebook", uid="u-1")] == asked
        assert "u-1" not in repr(asked)
        assert capsys.readouterr().out.endswith("\nslot 0 decrypts\n")

    def test_a_question_must_be_whole(self, config: Path, capsys: Capture) -> None:
        """A question that cannot be asked is refused with everything that is wrong with it."""
        assert 78 == run("check", "--config", config, "--live", "shpo", "--without-files")
        assert [
            "--live: names no site",
            "--uid: is missing",
            "--provider: is missing",
            "--without-files: cannot be used with --live",
        ] == capsys.readouterr().out.splitlines()[:4]

    @pytest.mark.parametrize("option", ["--uid", "--provider"])
    def test_a_question_needs_its_site(self, option: str, config: Path, capsys: Capture) -> None:
        """Half a question is not taken for none: nothing was checked at Gigya."""
        assert 78 == run("check", "--config", config, option, "twitter")
        assert "--live: is missing" == capsys.readouterr().out.splitlines()[0]

    @pytest.mark.parametrize(
        ("uid", "told"),
        [
            ("", "must be a text of 1 to 512 characters, none a control character"),
            ("u" * 513, "must be a text of 1 to 512 characters, none a control character"),
            ("a\n", "must be a text of 1 to 512 characters, none a control character"),
            ("a\udcff", "must be UTF-8"),
        ],
        ids=["empty", "long", "control", "another encoding"],
    )
    def test_a_question_is_judged_as_by_the_api(
        self, uid: str, told: str, config: Path, capsys: Capture
    ) -> None:
        """What the API would not take as a member is not taken as an option either."""
        for option in ("--uid", "--provider"):
            other = "--provider" if option == "--uid" else "--uid"
            words = ("--live", "shop", option, uid, other, "twitter")
            assert 78 == run("check", "--config", config, *words)
            told = told.replace("512", "100") if option == "--provider" else told
            assert f"{option}: {told}" == capsys.readouterr().out.splitlines()[0]

    def test_nobody_is_asked_about_faults(self, tmp_path: Path) -> None:
        """A configuration with faults is not taken to Gigya."""
        path = tmp_path / "config.yaml"
        path.write_text("version: 1\n", encoding="utf-8")
        words = ("--live", "shop", "--uid", "u-1", "--provider", "facebook")
        assert 78 == run("check", "--config", path, *words)


class TestSchema:
    def test_the_schema_is_printed(self, capsys: Capture) -> None:
        """The published schema is the command's output, as JSON."""
        assert 0 == run("schema")
        assert json_schema() == json.loads(capsys.readouterr().out)
