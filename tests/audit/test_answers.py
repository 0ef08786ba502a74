"""What a caller is answered while the audit's medium fails, and when it is well again."""

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from service.audit.fingerprints import AuditKey, Keyring
from tests.audit.collector import collector
from tests.audit.disks import read_only, small_disk
from tests.audit.serving import served
from tests.audit.streams import verified
from tests.house import AUDIT_KEY, House, Visitor
from tests.resilience.place import placed

KEYS: Final = Keyring((AuditKey.from_file(AUDIT_KEY),))
PATIENCE: Final = 20.0
"""Seconds in which a sink that is mended must be back; its probes are 5 s apart at most."""

Ask = Callable[[], Awaitable[httpx.Response]]


def is_refused(answer: httpx.Response) -> bool:
    """Tell whether it is the promised refusal; anything else must be a release."""
    said = answer.json()
    if answer.status_code == 200:
        assert said["tokens"]
        return False
    assert (503, "audit-unavailable", True) == (answer.status_code, said["code"], said["retryable"])
    assert int(answer.headers["retry-after"]) >= 1
    assert "tokens" not in said
    return True


async def until(ask: Ask, *, refused: bool) -> list[str]:
    """Ask until it is refused, or not any more; return the audit ids of what was released."""
    released = []
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await ask()
            was_refused = is_refused(answer)
            if not was_refused:
                released.append(answer.headers["audit-id"])
            if was_refused is refused:
                return released
            if was_refused:
                await asyncio.sleep(0.02)


async def stays_ready(visitor: Visitor) -> bool:
    return (await visitor.manage("/readyz")).status_code == 200


def house_on(directory: Path, path: Path, **sink: Any) -> House:
    """Return a house whose only sink is at ``path``."""
    house = House(directory)
    house.settings["audit"]["sinks"][0] |= {"path": str(path), **sink}
    return house


def recorded(*texts: bytes) -> set[str]:
    """Return the audit ids of the releases in files that verify."""
    verifier, findings = verified(*texts, keys=KEYS)
    assert (0, []) == (verifier.tampering, [f for f in findings if f.is_tampering])
    lines = [line for text in texts for line in text.splitlines() if line.endswith(b"}")]
    records = map(json.loads, lines)
    return {r["audit_id"] for r in records if r.get("outcome") == "released"}


@contextmanager
def out_of_the_way(path: Path) -> Iterator[None]:
    """Take a directory away with all that is in it, and bring an empty one back."""
    kept = path.with_name("kept")
    path.rename(kept)
    try:
        yield
    finally:
        path.mkdir()


class TestAnswers:
    @pytest.mark.needs_tools
    async def test_full_disk(self, tmp_path: Path) -> None:
        """A full disk: 503 until there is room, then tokens again; each of them has its record."""
        with small_disk(tmp_path / "disk") as disk:
            house = house_on(tmp_path, disk / "audit.jsonl")
            (disk / "ballast").write_bytes(bytes(40_000))
            async with house.open() as visitor:
                released = await until(visitor.ask, refused=True)
                assert [True] * 9 == [is_refused(await visitor.ask()) for _ in range(9)]
                assert await stays_ready(visitor)
                (disk / "ballast").unlink()
                released += await until(visitor.ask, refused=False)
            text = (disk / "audit.jsonl").read_bytes()
        assert len(released) > 10
        assert set() == set(released) - recorded(text)
        assert b'"why":"no-space"' in text

    @pytest.mark.needs_tools
    async def test_read_only(self, tmp_path: Path) -> None:
        """A file system that turns read-only: 503 until it can be written again."""
        with small_disk(tmp_path / "disk") as disk:
            house = house_on(tmp_path, disk / "audit.jsonl")
            async with house.open() as visitor:
                released = await until(visitor.ask, refused=False)
                (disk / "audit.jsonl").rename(disk / "away")
                with read_only(disk):
                    assert [True] * 9 == [is_refused(await visitor.ask()) for _ in range(9)]
                    assert await stays_ready(visitor)
                released += await until(visitor.ask, refused=False)
            texts = [(disk / name).read_bytes() for name in ("away", "audit.jsonl")]
        assert set() == set(released) - recorded(*texts)

    async def test_deleted_file(self, tmp_path: Path) -> None:
        """A deleted file: no caller notices, the records go on in a new one, and it is counted."""
        house = house_on(tmp_path, tmp_path / "audit.jsonl")
        async with house.open() as visitor:
            await until(visitor.ask, refused=False)
            first = (tmp_path / "audit.jsonl").read_bytes()
            (tmp_path / "audit.jsonl").unlink()
            released = await until(visitor.ask, refused=False)
            exposed = house.metrics.exposition().decode()
        assert set(released) <= recorded(first, (tmp_path / "audit.jsonl").read_bytes())
        assert 'credential_proxy_audit_notices_total{sink="file",what="deleted"} 1.0' in exposed

    async def test_deleted_directory(self, tmp_path: Path) -> None:
        """A deleted directory: 503 until it is there again."""
        directory = tmp_path / "audit"
        directory.mkdir()
        house = house_on(tmp_path, directory / "audit.jsonl")
        async with house.open() as visitor:
            released = await until(visitor.ask, refused=False)
            with out_of_the_way(directory):
                assert [True] * 9 == [is_refused(await visitor.ask()) for _ in range(9)]
                assert await stays_ready(visitor)
            released += await until(visitor.ask, refused=False)
        texts = [(tmp_path / name / "audit.jsonl").read_bytes() for name in ("kept", "audit")]
        assert set() == set(released) - recorded(*texts)
        shutil.rmtree(tmp_path / "kept")

    async def test_closed_socket(self, tmp_path: Path) -> None:
        """A collector that closes its socket: 503 until it listens again."""
        path = tmp_path / "collector.sock"
        house = house_on(tmp_path, path, type="unix")
        async with house.open() as visitor:
            assert is_refused(await visitor.ask())
            async with collector(path) as heard:
                released = await until(visitor.ask, refused=False)
                await heard(released[-1])
            await until(visitor.ask, refused=True)
            assert await stays_ready(visitor)
            async with collector(path) as heard:
                released = await until(visitor.ask, refused=False)
                await heard(released[-1])


class TestClosedPipe:
    async def test_standard_output(self, tmp_path: Path) -> None:
        """A reader of standard output that goes away: 503 until another one reads the pipe."""
        async with placed(tmp_path) as place:
            fifo, config = tmp_path / "fifo", on_standard_output(tmp_path)
            os.mkfifo(fifo)
            reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            writer = os.open(fifo, os.O_WRONLY)
            async with served(place, config, stdout=writer), place.client() as client:
                os.close(writer)

                async def ask() -> httpx.Response:
                    return await client.post("/v1/provider-tokens", json=REQUEST)

                released = await until(ask, refused=False)
                text = os.read(reader, 1 << 16)
                os.close(reader)
                assert [True] * 9 == [is_refused(await ask()) for _ in range(9)]
                assert 200 == (await place.manage("/readyz")).status_code
                reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
                released += await until(ask, refused=False)
                text += os.read(reader, 1 << 16)
            os.close(reader)
        assert set() == set(released) - recorded(text)
        assert b'"why":"closed"' in text


REQUEST: Final = {"site": "shop", "uid": "user-twitter", "provider": "twitter"}


def on_standard_output(directory: Path) -> Path:
    """Write the configuration that lies in ``directory`` again, with that one sink."""
    settings = json.loads((directory / "config.yaml").read_text())
    settings["audit"]["sinks"] = [{"name": "stdout", "type": "stdout", "deadline": 5}]
    config = directory / "on-standard-output.yaml"
    config.write_text(json.dumps(settings))
    return config
