import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from service.metrics import METRICS, PROBE_METRICS, Kind
from tests.house import caller, grant
from tests.observing.dashboard import VARIABLES
from tests.observing.prometheus import Prometheus, watching
from tests.observing.shipped import RULE_TESTS, RULES, expressions, selectors
from tests.observing.stage import EVERYTHING, Stage, staged

pytestmark = pytest.mark.needs_tools

CHOSEN: Final = {
    "$namespace": ".*",
    "$job": ".*",
    "$site": ".*",
    "$caller": ".*",
    "$__rate_interval": "30s",
}
EXPOSED: Final = {
    name
    for row in (*METRICS, *PROBE_METRICS)
    for name in (
        [f"{row.exposed}_{part}" for part in ("bucket", "sum", "count")]
        if row.kind is Kind.HISTOGRAM
        else [row.exposed]
    )
}


def chosen(expression: str) -> str:
    """Return a panel's expression with everything chosen."""
    for variable, value in CHOSEN.items():
        expression = expression.replace(variable, value)
    return expression


@asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[tuple[Stage, Prometheus]]:
    """Have everything happen in front of a real Prometheus, until it has told of all of it."""
    async with staged(directory) as stage, watching(stage, directory) as prometheus:
        await prometheus.until("credential_proxy_build_info")
        for act in EVERYTHING:
            await act(stage)
        await prometheus.until("count_over_time(credential_proxy_probe_timestamp_seconds[1h]) > 3")
        for act in EVERYTHING:
            await act(stage)
        await prometheus.until("credential_proxy:slo_budget_left:ratio")
        await asyncio.sleep(3)
        yield stage, prometheus


async def test_everything_that_is_shipped_is_of_use(tmp_path: Path) -> None:
    """Every selector of rules and dashboard has series, and every metric is in the table.

    A grant that is too broad makes the alert of the prober fire.
    """
    async with watched(tmp_path) as (stage, prometheus):
        asked = {
            selector
            for expression in expressions().values()
            for selector in selectors(chosen(expression))
        }
        assert dict.fromkeys(VARIABLES, True) == {
            name: await prometheus.has(chosen(series), label)
            for name, (_, series, label) in VARIABLES.items()
        }
        empty = {s for s in sorted(asked) if not await prometheus.matches(s)}
        for expression in expressions().values():
            await prometheus.query(chosen(expression))
        names = await prometheus.query('count by (__name__) ({__name__=~"credential_proxy_.*"})')

        assert set() == empty
        assert len(asked) > 60
        assert EXPOSED == {series["metric"]["__name__"] for series in names}

        firing = 'ALERTS{alertname="CredentialProxyProbeGotIn", alertstate="firing"}'
        assert [] == await prometheus.query(firing)
        broad = caller("prober", grant(providers=["twitter"]))
        stage.configure(callers=[*stage.house.settings["callers"][:2], broad])
        await prometheus.until('credential_proxy_reloads_total{outcome="replaced"} > 0')
        await stage.probe()
        await prometheus.until(firing)


def test_rules_are_right_by_promtools_own_tests() -> None:
    """Promtool finds no fault in the rules, and each alert fires when it must and only then."""
    for arguments in (["check", "rules", RULES], ["test", "rules", *RULE_TESTS]):
        ended = subprocess.run(  # noqa: S603  # our own files
            ["promtool", *map(str, arguments)],  # noqa: S607  # wherever apt put it
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == ended.returncode, ended.stdout + ended.stderr


async def test_metrics_are_well_formed(tmp_path: Path) -> None:
    """Promtool's linter of metrics has nothing to say of what is exposed."""
    async with staged(tmp_path) as stage:
        for act in EVERYTHING[:2]:
            await act(stage)
        for metrics in (stage.house.metrics, stage.probes):
            ended = subprocess.run(  # noqa: ASYNC221  # a short one
                ["promtool", "check", "metrics"],  # noqa: S607  # wherever apt put it
                input=metrics.exposition(),
                capture_output=True,
                check=False,
            )
            said = re.sub(rb"error while linting: ", b"", ended.stderr)
            assert b"" == said + ended.stdout
