"""A real Prometheus that scrapes a stage and loads the shipped rules."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from tests.observing.shipped import RULES
from tests.observing.stage import Stage

INTERVAL: Final = "1s"
LABELS: Final = {"namespace": "demo", "job": "proxy"}


class Prometheus:
    """What is asked of it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def query(self, expression: str, **options: Any) -> list[dict[str, Any]]:
        """Return the series that an expression gives now."""
        return await self._get("query", query=expression, **options)

    async def query_range(
        self, expression: str, *, start: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """Return the series of an expression over time."""
        return await self._get("query_range", query=expression, start=start, end=end, step=step)

    async def matches(self, selector: str) -> int:
        """Return how many series a selector has had within the hour."""
        found = await self.query(f"count(last_over_time({selector}[1h]))")
        return int(found[0]["value"][1]) if found else 0

    async def has(self, selector: str, label: str) -> bool:
        """Whether a label has values in the series of a selector, as Grafana asks for them."""
        answer = await self._client.get(
            f"/api/v1/label/{label}/values", params={"match[]": selector}
        )
        return bool(answer.json()["data"])

    async def until(self, expression: str, *, tries: int = 120) -> None:
        """Wait until an expression has a series."""
        for _ in range(tries):
            if await self.query(expression):
                return
            await asyncio.sleep(0.5)
        raise AssertionError(f"never: {expression}")

    async def _get(self, what: str, **params: Any) -> list[dict[str, Any]]:
        answer = (await self._client.get(f"/api/v1/{what}", params=params)).json()
        assert "success" == answer["status"], f"{params['query']}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


def configuration(stage: Stage, directory: Path) -> Path:
    """Write what Prometheus runs with; the rules are those that are shipped, evaluated at once."""
    rules = yaml.safe_load(RULES.read_text("utf-8"))
    for group in rules["groups"]:
        group["interval"] = INTERVAL
    (directory / "rules.yaml").write_text(yaml.safe_dump(rules), "utf-8")
    targets = [f"127.0.0.1:{port}" for port in (stage.management, stage.prober)]
    whole: Mapping[str, Any] = {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": [str(directory / "rules.yaml")],
        "scrape_configs": [
            {
                "job_name": "proxy",
                "static_configs": [{"targets": targets, "labels": {"namespace": "demo"}}],
            }
        ],
    }
    file = directory / "prometheus.yaml"
    file.write_text(yaml.safe_dump(whole), "utf-8")
    return file


@asynccontextmanager
async def watching(stage: Stage, directory: Path) -> AsyncIterator[Prometheus]:
    """Run Prometheus on a free port, and end it."""
    command = shutil.which("prometheus")
    assert command, "apt-get install prometheus"
    port = _free()
    process = await asyncio.create_subprocess_exec(
        command,
        f"--config.file={configuration(stage, directory)}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        cwd=directory,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            await _ready(client)
            yield Prometheus(client)
    finally:
        process.terminate()
        await process.wait()


async def _ready(client: httpx.AsyncClient) -> None:
    for _ in range(120):
        try:
            if (await client.get("/-/ready")).is_success:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.25)
    raise AssertionError("Prometheus did not start")


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
