import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from service.metrics import METRICS, PROBE_METRICS, PROCESS, Kind
from tests.observing.shipped import (
    NAME,
    RULE_TESTS,
    RUNBOOKS,
    Alert,
    alerts,
    expressions,
    rules,
)

README: Final = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SERIES: Final = frozenset(
    row.exposed + suffix
    for row in (*METRICS, *PROBE_METRICS)
    for suffix in (("_bucket", "_sum", "_count") if row.kind is Kind.HISTOGRAM else ("",))
) | frozenset(PROCESS)
FAMILIES: Final = {row.exposed for row in (*METRICS, *PROBE_METRICS)}
LABELS: Final = {label for row in (*METRICS, *PROBE_METRICS) for label in row.labels}
OF_THE_SCRAPE: Final = {"namespace", "job", "instance", "le", "slo", "of", "alertname"}
"""Labels of the scrape, of histograms, and of our own recording rules."""


def seen() -> dict[str, set[bool]]:
    """Return for each alert whether a test sees it fire, and whether one sees it not fire."""
    ways: dict[str, set[bool]] = {}
    for file in RULE_TESTS:
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            for check in test["alert_rule_test"]:
                fires = bool(check.get("exp_alerts"))
                ways.setdefault(check["alertname"], set()).add(fires)
    return ways


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: f"{alert.name} {alert.labels}")
class TestAlert:
    def test_says_how_grave_it_is(self, alert: Alert) -> None:
        """It pages or it waits, and there is no third way; one sentence says what is so."""
        assert alert.severity in {"critical", "warning"}
        assert alert.summary.endswith(".")
        assert "\n" not in alert.summary

    def test_has_a_runbook(self, alert: Alert) -> None:
        """Its link leads to a page of its own name, with what to look at and what to do."""
        assert f"deploy/runbooks/{alert.name}.md" == alert.runbook

        text = (RUNBOOKS / f"{alert.name}.md").read_text("utf-8")
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert [alert.name, "Look", "Do", "Afterwards"] == headings

    def test_says_in_its_runbook_whether_it_pages(self, alert: Alert) -> None:
        """Who is woken knows by the first line that it was meant."""
        text = (RUNBOOKS / f"{alert.name}.md").read_text("utf-8")
        assert ("Page" if alert.severity == "critical" else "orking day") in text.split("\n")[2]

    def test_is_in_the_readme(self, alert: Alert) -> None:
        """The README's table has it, with its severity and its runbook."""
        assert f"| [`{alert.name}`]({alert.runbook}) |" in README

    def test_is_tested_both_ways(self, alert: Alert) -> None:
        """A test of promtool's sees it fire, and one sees it not fire."""
        assert {True, False} == seen()[alert.name]


WORD: Final = re.compile(r"`([a-z]+(?:[-_][a-z]+)+)`")
QUOTED: Final = re.compile(r'"([a-z]+(?:[-_][a-z]+)+)"')


def words() -> set[str]:
    """Return every word with a hyphen or an underscore that the service's code has."""
    return {
        word
        for path in (Path(__file__).parents[2] / "service").rglob("*.py")
        for word in re.findall(r"[a-z]+(?:[-_][a-z]+)+", path.read_text("utf-8"))
    }


@pytest.mark.parametrize("file", sorted(RUNBOOKS.glob("*.md")), ids=lambda file: file.stem)
class TestRunbook:
    def test_names_only_metrics_that_exist(self, file: Path) -> None:
        """Every metric, label and recorded series in it can be asked for."""
        text = file.read_text("utf-8")
        recorded = {rule["record"] for rule in rules() if "record" in rule}

        assert set() == set(NAME.findall(text)) - SERIES - FAMILIES
        assert set() == set(re.findall(r"\bcredential_proxy:[\w:]+", text)) - recorded
        labels = re.findall(r"[{,]\s*(\w+)(?:=~|!~|!=|=)\"", text)
        assert set() == set(labels) - LABELS - OF_THE_SCRAPE

    def test_names_only_events_and_codes_that_exist(self, file: Path) -> None:
        """What an engineer is told to look for in log, audit or configuration is written there."""
        text = file.read_text("utf-8")
        theirs = {name for name in WORD.findall(text) if name.startswith("kube_")}

        assert set() == {*WORD.findall(text), *QUOTED.findall(text)} - words() - theirs - FAMILIES


def test_no_runbook_is_left_over() -> None:
    """Every page belongs to an alert."""
    assert {alert.name for alert in alerts()} == {file.stem for file in RUNBOOKS.glob("*.md")}


@pytest.mark.parametrize("place", expressions())
def test_every_metric_that_is_asked_for_exists(place: str) -> None:
    """Rules and dashboard ask only for what the table of metrics has, by labels that it has."""
    expression = expressions()[place]

    assert set() == set(NAME.findall(expression)) - SERIES
    named = {
        label
        for clause in re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", expression)
        for label in re.findall(r"\w+", clause)
    }
    assert set() == named - LABELS - OF_THE_SCRAPE


def test_recorded_names_are_used_as_they_are_recorded() -> None:
    """What an expression takes from a recording rule is recorded."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used: set[Any] = set()
    for expression in expressions().values():
        used.update(re.findall(r"\bcredential_proxy:[\w:]+", expression))

    assert set() == used - recorded
    assert recorded == used | {"credential_proxy:slo_budget_left:ratio"}
