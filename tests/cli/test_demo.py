import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

import pytest

from service.cli.demo import as_called

DEMO: Final = (sys.executable, "-m", "service", "demo", "--once")


def demo(environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the demonstration to its end."""
    env = {**os.environ, **(environment or {})}
    return subprocess.run(  # noqa: S603  # ourselves
        DEMO, capture_output=True, env=env, check=False, timeout=60
    )


def answers(text: str) -> list[tuple[int, Any]]:
    """Return the status and the document of each answer that is shown."""
    shown = re.split(r"^(?:→|\\u2192) ", text, flags=re.MULTILINE)[1:]
    statuses, bodies = zip(*(each.split("\n", 1) for each in shown), strict=True)
    decoder = json.JSONDecoder()
    documents = [decoder.raw_decode(body)[0] for body in bodies]
    return list(zip(map(int, statuses), documents, strict=True))


class TestOnce:
    def test_shows_each_family_of_names(self) -> None:
        """Facebook's, OAuth 1's and OAuth 2's tokens come through the proxy, and one refusal."""
        ended = demo()

        facebook, twitter, vkontakte, refused = answers(ended.stdout.decode())
        assert (0, b"") == (ended.returncode, ended.stderr)
        assert [("facebook", 200), ("twitter", 200), ("vkontakte", 200)] == [
            (each["provider"], status) for status, each in (facebook, twitter, vkontakte)
        ]
        assert {"access_token", "expires"} == set(facebook[1]["tokens"])
        assert {"oauth_token", "oauth_token_secret"} == set(twitter[1]["tokens"])
        assert {"access_token", "expires_in", "refresh_token"} == set(vkontakte[1]["tokens"])
        for _, each in (facebook, twitter, vkontakte):
            assert all(each["tokens"].values())
        assert (403, "provider") == (refused[0], refused[1]["missing"])

    def test_speaks_what_the_terminal_can(self) -> None:
        """On a terminal without its arrows it says the same."""
        ended = demo({"PYTHONIOENCODING": "latin-1"})

        assert (0, b"") == (ended.returncode, ended.stderr)
        assert [200, 200, 200, 403] == [s for s, _ in answers(ended.stdout.decode("latin-1"))]

    @pytest.mark.parametrize("lines", [0, 3])
    def test_a_reader_that_leaves(self, lines: int) -> None:
        """It ends without a word when nobody reads on, as by ``head``, and does not say 0."""
        with subprocess.Popen(  # noqa: S603  # ourselves
            DEMO,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for _ in range(lines):
                process.stdout.readline()
            process.stdout.close()
            told = process.stderr.read()

        assert (141, b"") == (process.returncode, told)


class TestHint:
    @pytest.mark.parametrize(
        ("program", "expected"),
        [
            (".venv/bin/gigya-credential-proxy", ".venv/bin/gigya-credential-proxy"),
            ("gigya-credential-proxy", "gigya-credential-proxy"),
            ("/src/service/__main__.py", f"{sys.executable} -m service"),
        ],
    )
    def test_names_the_command_as_it_was_called(self, program: str, expected: str) -> None:
        """What it says to type next can be pasted where it was started."""
        assert expected == as_called(program)
