"""The README's picture of the dashboard: ``python -m tests.observing.picture`` (four minutes).

The real service serves over real sockets, a real Prometheus scrapes it each second and evaluates
the shipped rules, and each panel's own queries are asked of that Prometheus and drawn.
"""

import asyncio
import json
import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from service.server import run_process
from tests.observing.demonstration import lived
from tests.observing.drawing import Line, Panel, picture
from tests.observing.prometheus import Prometheus, watching
from tests.observing.shipped import DASHBOARD, DEPLOY
from tests.observing.stage import staged

PICTURE: Final = DEPLOY / "grafana/dashboard.svg"
STEP: Final = 3
LABEL: Final = re.compile(r"\{\{(\w+)\}\}")
CHOSEN: Final = {
    "$namespace": "demo",
    "$job": ".*",
    "$site": ".*",
    "$caller": ".*",
    "$__rate_interval": "15s",
}
TITLE: Final = "gigya-credential-proxy"
STORY: Final = (
    "Four minutes against the simulator. At 1:00 Gigya fails for 20 seconds, at 1:50 its partner "
    "secret changes, at 2:20 a caller rushes, at 3:00 a grant is too broad for 20 seconds."
)


async def main() -> int:
    """Make the picture."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with staged(directory) as stage, watching(stage, directory) as prometheus:
            await prometheus.until("credential_proxy_build_info")
            begin, end = await lived(stage)
            panels = [
                await _asked(panel, prometheus, begin, end)
                for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]
            ]
    text = picture(panels, title=TITLE, story=STORY, begin=begin, end=end)
    await asyncio.to_thread(PICTURE.write_text, text, "utf-8")
    return 0


async def _asked(panel: dict[str, Any], prometheus: Prometheus, begin: float, end: float) -> Panel:
    lines: list[Line] = []
    for target in panel.get("targets", ()):
        found = await prometheus.query_range(
            chosen(target["expr"]), start=begin, end=end, step=STEP
        )
        lines += _lines(found, target["legendFormat"])
    if panel["type"] == "stat":
        lines = [line for line in lines if line.points and line.points[-1][0] > end - 2 * STEP]
    return Panel(
        title=panel["title"],
        unit=panel.get("fieldConfig", {}).get("defaults", {}).get("unit", ""),
        kind=panel["type"],
        place=panel["gridPos"],
        lines=[line for line in lines if line.points],
    )


def _lines(found: list[dict[str, Any]], legend: str) -> Iterator[Line]:
    for series in found:
        name = LABEL.sub(partial(_named, series["metric"]), legend)
        points = [(float(at), float(value)) for at, value in series["values"]]
        yield Line(name, [point for point in points if not math.isnan(point[1])])


def _named(labels: Mapping[str, str], found: re.Match[str]) -> str:
    return labels.get(found[1], "")


def chosen(expression: str) -> str:
    """Return a panel's expression with everything chosen."""
    for variable, value in CHOSEN.items():
        expression = expression.replace(variable, value)
    return expression


if __name__ == "__main__":
    run_process(main)
