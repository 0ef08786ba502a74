import subprocess
import sys
from pathlib import Path
from typing import Final

SERVE: Final = (sys.executable, "-m", "service", "serve", "--config")


def serve(config: Path) -> tuple[int, str]:
    """Run a service that cannot start; return its status and what it says, in a process."""
    done = subprocess.run(  # noqa: S603  # ourselves
        [*SERVE, config], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stderr


class TestStart:
    def test_a_configuration_that_is_not_there(self, tmp_path: Path) -> None:
        """Without a configuration nothing starts, and the file that is missing is named."""
        config = tmp_path / "none.yaml"
        told = f"configuration: {config} is a file that does not exist\n"
        assert (78, told) == serve(config)

    def test_ignores_a_reload_that_comes_early(self, tmp_path: Path) -> None:
        """SIGHUP before there is anything to reload ends nothing."""
        script = (
            "import argparse, pathlib, signal; from service.cli.serve import run;"
            f"run(argparse.Namespace(config=pathlib.Path({str(tmp_path / 'none.yaml')!r})));"
            "signal.raise_signal(signal.SIGHUP)"
        )
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603  # our own
        assert 0 == done.returncode
