import json
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from service.cli.check import UNTRACED
from service.simulator import seeded
from tests.house import AUDIT_KEY, configuration

SERVE: Final = (sys.executable, "-m", "service", "serve", "--config")


def serve(config: Path, prepare: Callable[[], None] | None = None) -> tuple[int, str]:
    """Run a service that cannot start; return its status and what it says, in a process."""
    done = subprocess.run(  # noqa: S603  # ourselves
        [*SERVE, config],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=prepare,  # this process has no threads that matter
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

    def test_traces_without_their_extra(self, tmp_path: Path) -> None:
        """Where the extra is not installed, nothing starts that was to make traces."""
        config = written(tmp_path, 0)
        with config.open("a", encoding="utf-8") as file:
            file.write("tracing: {endpoint: 'http://collector:4318'}\n")
        script = (
            "import sys; sys.modules['opentelemetry'] = None\n"
            "from service.__main__ import main\n"
            f"sys.exit(main(['serve', '--config', {str(config)!r}]))"
        )
        done = subprocess.run(  # noqa: S603  # our own
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
        )

        assert 78 == done.returncode
        assert f"tracing.endpoint: {UNTRACED}" == done.stderr.splitlines()[-1]

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        """Whoever cannot listen says which listener, where, and why; nothing was started."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            status, told = serve(written(tmp_path, port))
        why = f"not started: the api listener cannot have 127.0.0.1:{port}: Address already in use"
        assert (78, f"gigya-credential-proxy: {why}") == (status, told.splitlines()[-1])
        assert "few-descriptors" not in told

    def test_few_descriptors(self, tmp_path: Path) -> None:
        """The limit of descriptors is raised as far as it goes, and told where that is too low."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            config = written(tmp_path, taken.getsockname()[1])
            _, told = serve(config, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512)))
        [line] = [line for line in told.splitlines() if "few-descriptors" in line]
        facts: dict[str, Any] = json.loads(line)
        assert (512, 2048 + 256) == (facts["limit"], facts["needed"])


def written(directory: Path, port: int) -> Path:
    """Write a configuration that is good, but for a port that is taken."""
    gigya = seeded(0, now=1_800_000_000.0)
    settings = configuration(gigya, directory)
    files = {"partner": gigya.partner_secret.encode(), "user": gigya.user_secret.encode()}
    for name, octets in (files | {"audit": AUDIT_KEY}).items():
        (directory / name).write_bytes(octets)
    settings["listeners"] = {
        "api": {"host": "127.0.0.1", "port": port},
        "management": {"host": "127.0.0.1", "port": 0},
    }
    text = yaml.safe_dump(json.loads(json.dumps(settings))).replace("/secrets", str(directory))
    config = directory / "config.yaml"
    config.write_text(text, encoding="utf-8")
    return config
