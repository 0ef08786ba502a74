"""The examples for callers and the chart's own test, against the service on a real port."""

import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import pytest

from deploy import chart
from tests.pki import SERVER, Authority

pytestmark = pytest.mark.needs_tools

EXAMPLES: Final = chart.ROOT / "deploy/examples"
REFUSED: Final = chart.CHART / "files/refused.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The demo, serving."""

    url: str
    token_file: Path

    def run(self, *command: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run an example as a caller would."""
        around = {
            **os.environ,
            "PROXY_URL": self.url,
            "TOKEN_FILE": str(self.token_file),
            **environment,
        }
        return subprocess.run(  # noqa: S603  # the examples of this repository
            command, env=around, check=False, capture_output=True, text=True, timeout=60
        )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serve the simulator and the proxy on free ports until the last test has ended."""
    command = [sys.executable, "-u", "-m", "service", "demo"]
    with subprocess.Popen(  # noqa: S603  # this service
        command, cwd=chart.ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("The configuration it runs with"):
                break
        (token,) = re.findall(r"export TOKEN=(\S+)", said)
        (url,) = set(re.findall(r"(http://\S+)/v1/grants", said))
        token_file = tmp_path_factory.mktemp("token") / "token"
        token_file.write_text(f"{token}\n")
        yield Service(url=url, token_file=token_file)
        process.terminate()


class TestShell:
    def test_gets_tokens(self, service: Service) -> None:
        """The example with curl prints the answer."""
        ended = service.run(EXAMPLES / "call.sh", "user-twitter")

        assert ended.returncode == 0, ended.stderr
        assert '"oauth_token_secret"' in ended.stdout

    def test_fails_with_the_problem(self, service: Service) -> None:
        """A refusal fails the example, and says which."""
        ended = service.run(EXAMPLES / "call.sh", "user-nobody")

        assert ended.returncode != 0
        assert '"no-session"' in ended.stdout


class TestPython:
    def test_gets_tokens(self, service: Service) -> None:
        """The example with httpx gets tokens, and prints their names alone."""
        ended = service.run(sys.executable, EXAMPLES / "caller.py", "user-twitter", "twitter")

        assert ended.stdout == "oauth_token oauth_token_secret\n", ended.stderr

    def test_tells_when_the_user_must_log_in(self, service: Service) -> None:
        """A user without a session is told apart from what can be tried again."""
        ended = service.run(sys.executable, EXAMPLES / "caller.py", "user-nobody", "twitter")

        assert "LogInAgain" in ended.stderr


@contextmanager
def refusing(certificate: Path) -> Iterator[str]:
    """Serve, over TLS, somebody who refuses everybody."""

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"code": "unauthenticated"}')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def refused(*words: str | Path) -> tuple[int, list[str]]:
    """Return how the chart's script ends, and what it says."""
    ended = subprocess.run(  # noqa: S603  # the chart's own script
        [sys.executable, "-I", REFUSED, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ended.returncode, ended.stdout.splitlines()


class TestChartsTest:
    """What ``helm test`` runs in a pod."""

    def test_passes_where_nobody_gets_in(self, service: Service) -> None:
        """Without a credential the service refuses, so the test passes."""
        ended = service.run(sys.executable, "-I", REFUSED, service.url)

        assert (0, "without a credential: 401 unauthenticated\n") == (
            ended.returncode,
            ended.stdout,
        )

    def test_believes_whom_it_is_told(self, tmp_path: Path) -> None:
        """Over TLS it believes the CA file, and certifi's authorities where that is not there."""
        authority = Authority("cluster")
        leaf = authority.issue(purpose=SERVER)
        (tmp_path / "server.pem").write_bytes(leaf.certificate + leaf.key)
        (tmp_path / "ca.crt").write_bytes(authority.pem)
        with refusing(tmp_path / "server.pem") as url:
            believed = refused(url, tmp_path / "ca.crt")
            unknown = refused(url, tmp_path / "none")

        assert (0, ["without a credential: 401 unauthenticated"]) == believed
        assert (1, f"{tmp_path / 'none'} is not there: certifi's authorities are believed") == (
            unknown[0],
            unknown[1][0],
        )
        assert "unable to get local issuer" in unknown[1][1]

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://127.0.0.1:1"])
    def test_fails_where_nobody_answers(self, service: Service, url: str) -> None:
        """A service that is away is no refusal."""
        assert service.run(sys.executable, "-I", REFUSED, url).returncode == 1
