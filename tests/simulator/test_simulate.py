import argparse
import asyncio
import os
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import Self

import httpx
import pytest

from service.cli import simulate
from tests.simulator.asking import Asking

MAIN = (
    "import argparse, sys; from service.cli import simulate; p = argparse.ArgumentParser(); "
    "simulate.add_parser(p.add_subparsers()); sys.exit(simulate.run(p.parse_args()))"
)


def parsed(*arguments: str) -> argparse.Namespace:
    """Return the arguments of ``simulate`` as the command line parses them."""
    parser = argparse.ArgumentParser()
    simulate.add_parser(parser.add_subparsers())
    return parser.parse_args(["simulate", *arguments])


def names_in(directory: Path) -> set[str]:
    """Return the names of the files in ``directory``."""
    return {path.name for path in directory.iterdir()}


class Running:
    """The command, serving in this loop; what it said is in ``lines``."""

    def __init__(self, *arguments: str) -> None:
        self.lines: list[str] = []
        self.stop = asyncio.Event()
        self._served = asyncio.Event()
        self._args = parsed("--port", "0", *arguments)

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(
            simulate.simulate(self._args, say=self._say, stop=self.stop)
        )
        await self._served.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        assert 0 == await self.task

    def _say(self, line: str) -> None:
        self.lines.append(line)
        if line.startswith("Serving on"):
            self._served.set()

    def after(self, heading: str) -> str:
        """Return the line after the one that begins with ``heading``."""
        index = next(i for i, line in enumerate(self.lines) if line.startswith(heading))
        return self.lines[index + 1]


class TestSimulate:
    async def test_example(self, tmp_path: Path) -> None:
        """The example that it prints works as it stands."""
        async with Running("--keys-dir", str(tmp_path)) as running:
            arguments = shlex.split(running.after("Ask it:"))
            form = [arguments[i + 1] for i, a in enumerate(arguments) if a == "-d"]
            url = next(a for a in arguments if a.startswith("http"))
            secret = (tmp_path / "user-secret").read_text()
            async with httpx.AsyncClient() as client:
                pairs = dict(each.split("=", 1) for each in form)
                answer = await client.post(url, data={**pairs, "secret": secret})
        assert 0 == answer.json()["errorCode"]
        assert "Stopped after one call." == running.lines[-1]

    async def test_tls(self, tmp_path: Path) -> None:
        """With a directory for it, it serves HTTPS and leaves its CA there."""
        names = ("--tls-dir", str(tmp_path), "--tls-name", "gigya.test")
        async with Running(*names) as running:
            assert "Serving on https://127.0.0.1:" in running.lines[-1]
            assert f"CA certificate   {tmp_path / 'ca.pem'}" in running.lines
        assert {"ca.pem", "server.pem", "server-key.pem"} == names_in(tmp_path)

    async def test_strict(self) -> None:
        """Strict, it refuses secrets over plain HTTP on loopback too."""
        async with Running("--strict-http") as running, httpx.AsyncClient() as client:
            url = running.lines[-1].split()[2]
            form = Asking().with_secret()
            answer = await client.post(f"{url}/socialize.getSessionInfo", data=form)
        assert 403006 == answer.json()["errorCode"]

    async def test_knob(self) -> None:
        """Knobs may be turned from the start, and more over HTTP."""
        async with (
            Running("--knob", '{"http_status": 503}') as running,
            httpx.AsyncClient(base_url=running.lines[-1].split()[2]) as client,
        ):
            answer = await client.get("/socialize.getSessionInfo")
            cleared = await client.delete("/_simulator/knobs")
            after = await client.get("/socialize.getSessionInfo")
        assert [503, 200, 200] == [a.status_code for a in (answer, cleared, after)]

    async def test_every_user(self) -> None:
        """It lists every user it has seeded, but those for load, and the same for one seed."""
        async with Running("--seed", "7", "--users", "2") as first:
            pass
        async with Running("--seed", "7") as second:
            pass
        tables = [running.lines[2 : running.lines.index("", 2)] for running in (first, second)]
        assert tables[0] == tables[1]
        assert any(line.startswith("user-livejournal ") for line in tables[0])

    @pytest.mark.parametrize("argument", ['{"bodies": 1}', "{", '{"body": "htm"}'])
    def test_bad_knob(self, argument: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A knob that is none is a mistake of usage."""
        with pytest.raises(SystemExit) as raised:
            parsed("--knob", argument)
        assert 2 == raised.value.code
        assert "--knob" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--port", "99999"),
            ("--port", "-1"),
            ("--port", "http"),
            ("--port", "٣"),  # a digit, but not one of ASCII
            ("--users", "-3"),
            ("--users", "1000001"),
        ],
    )
    def test_bad_numbers(self, option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
        """So is a port that no machine has, and a number of users that nobody can seed."""
        with pytest.raises(SystemExit) as raised:
            parsed(f"{option}={value}")
        assert 2 == raised.value.code
        assert f"{option}: must be a whole number from 0 to " in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["--host", "--seed", "--tls-name"])
    @pytest.mark.parametrize("value", ["", "a b", "gigya.bücher.example", "a\udcff"])
    def test_bad_texts(self, option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
        """So is a name that no certificate can have, or that no encoding has."""
        with pytest.raises(SystemExit) as raised:
            parsed(f"{option}={value}")
        assert 2 == raised.value.code
        assert f"{option}: must be visible characters of ASCII" in capsys.readouterr().err

    async def test_port_taken(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A port that is taken is said in a line, and the command ends with 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            args = parsed("--port", str(taken.getsockname()[1]))
            code = await simulate.simulate(args, say=print, stop=asyncio.Event())
        assert 1 == code
        assert capsys.readouterr().err.startswith("simulate: ")

    async def test_bad_keys(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """So are keys that are none."""
        (tmp_path / "user-secret").write_text("?")
        args = parsed("--keys-dir", str(tmp_path))
        assert 1 == await simulate.simulate(args, say=print, stop=asyncio.Event())
        assert "user-secret is not base64" in capsys.readouterr().err

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_signal(self, number: signal.Signals) -> None:
        """A process of its own serves until a signal, and exits 0."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MAIN, "simulate", "--port", "0",
            stdout=asyncio.subprocess.PIPE, cwd=os.fspath(Path(__file__).parents[2]),
        )  # fmt: skip
        assert process.stdout is not None
        async for line in process.stdout:
            if line.startswith(b"Serving on"):
                process.send_signal(number)
                break
        rest = await process.stdout.read()
        assert (0, b"Stopped after 0 calls.\n") == (await process.wait(), rest)
