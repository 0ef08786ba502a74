"""What is shipped for Prometheus and Grafana, as data."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RULES: Final = DEPLOY / "prometheus/rules.yaml"
RULE_TESTS: Final = sorted((DEPLOY / "prometheus/tests").glob("*.yaml"))
RUNBOOKS: Final = DEPLOY / "runbooks"
DASHBOARD: Final = DEPLOY / "grafana/dashboard.json"

NAME: Final = re.compile(r"\b(?:credential_proxy|process)_\w+")
_SELECTOR: Final = re.compile(
    r"(?<![\w:$])(?:up|credential_proxy[_:][\w:]+|process_\w+)(?:\{[^}]*\})?"
)


class Alert(NamedTuple):
    """One alert as it stands in the rules."""

    name: str
    severity: str
    summary: str
    runbook: str
    labels: dict[str, str]


def rules() -> list[dict[str, Any]]:
    """Return every rule, in order."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[Alert]:
    """Return every alert, in order."""
    return [
        Alert(
            rule["alert"],
            rule["labels"]["severity"],
            rule["annotations"]["summary"],
            rule["annotations"]["runbook_url"],
            rule["labels"],
        )
        for rule in rules()
        if "alert" in rule
    ]


def selectors(expression: str) -> Iterator[str]:
    """Yield every selector of an expression, without its range."""
    yield from _SELECTOR.findall(expression)


def panels() -> list[dict[str, Any]]:
    """Return every panel of the dashboard that asks something."""
    whole = json.loads(DASHBOARD.read_text("utf-8"))
    return [panel for panel in whole["panels"] if panel.get("targets")]


def expressions() -> dict[str, str]:
    """Return each expression that is shipped, by where it stands."""
    found = {
        f"{rule.get('alert') or rule['record']} {rule.get('labels', {})}": rule["expr"]
        for rule in rules()
    }
    for panel in panels():
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found
