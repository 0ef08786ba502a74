"""The command line as a whole: one command alone is as among all, and loads no other."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.__main__ import COMMANDS, main

CLI = Path(__file__).parents[2] / "service" / "cli"
LOADED = """
import sys
from service.__main__ import main
try:
    main(["serve", "--help"])
except SystemExit:
    others = ("service.simulator", "service.cli.demo")
    sys.exit(any(name.startswith(others) for name in sys.modules))
"""


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, str, str]:
    """Return how a command line that is no whole one ends, and what it says."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return (ended.value.code, *capsys.readouterr())


class TestCommands:
    def test_are_all_that_there_are(self) -> None:
        """Each module that says how it is asked for, and does it, is a command."""
        texts = {path.stem: path.read_text("utf-8") for path in CLI.glob("*.py")}
        assert set(COMMANDS) == {
            name
            for name, text in texts.items()
            if "\ndef run(" in text and "def add_parser(" in text
        }

    @pytest.mark.parametrize("name", COMMANDS)
    def test_have_their_help(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Asked for its help, a command says how it is used, under the program's name."""
        code, out, err = said(capsys, name, "--help")
        assert (0, "") == (code, err)
        assert out.startswith(f"usage: gigya-credential-proxy {name} ")

    def test_are_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without one, or with one that there is not, all are named."""
        listed = said(capsys, "--help")[1]
        wrong = said(capsys, "serv")
        assert 2 == wrong[0]
        for name in COMMANDS:
            assert f"    {name} " in listed
            assert name in wrong[2]

    def test_load_no_other(self) -> None:
        """What only other commands need is not in a replica's memory."""
        done = subprocess.run(  # noqa: S603  # ourselves
            [sys.executable, "-c", LOADED], capture_output=True, check=False, timeout=60
        )
        assert (0, b"") == (done.returncode, done.stderr)
