"""What every command does where its output cannot be written."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli.output import told


class TestFullOutput:
    @pytest.mark.parametrize("command", ["version", "schema"])
    def test_is_told(self, command: str) -> None:
        """A word and a status, and nothing of Python's."""
        with Path("/dev/full").open("wb") as full:
            ended = subprocess.run(  # noqa: S603  # ourselves
                [sys.executable, "-m", "service", command],
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
                text=True,
            )
        expected = "the output cannot be written: No space left on device\n"
        assert (2, expected) == (ended.returncode, ended.stderr)


class TestFaults:
    def test_of_a_file_are_no_faults_of_the_output(self) -> None:
        """What a command did not expect of a file is not hidden."""
        with pytest.raises(FileNotFoundError):
            told(lambda: len(Path("/nowhere/at/all").read_bytes()))

    def test_of_the_system_are_no_faults_of_the_output(self) -> None:
        """Nor is what has no name, such as a lack of descriptors."""

        def run() -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        with pytest.raises(OSError, match="Too many open files"):
            told(run)
