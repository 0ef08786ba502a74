"""Grafana's dashboard from the readable one: ``python -m tests.observing.dashboard``."""

import json
from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from typing import Any, Final

import yaml

from tests.observing.shipped import DASHBOARD, DEPLOY

PANELS: Final = DEPLOY / "grafana/panels.yaml"
WIDTH: Final = 24
HEIGHT: Final = 8
SHORT: Final[Mapping[str, str]] = {
    "$ns": 'namespace=~"$namespace", job=~"$job"',
    "$rate": "$__rate_interval",
}
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def definition() -> dict[str, Any]:
    """Return the readable dashboard."""
    read: dict[str, Any] = yaml.safe_load(PANELS.read_text("utf-8"))
    return read


def dashboard() -> dict[str, Any]:
    """Return what Grafana imports."""
    read = definition()
    return {
        "uid": "gigya-credential-proxy",
        "title": read["title"],
        "description": "Objectives, traffic, Gigya, security, audit, keys, runtime.",
        "tags": ["gigya-credential-proxy"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(_variables())},
        "annotations": {"list": []},
        "links": [],
        "panels": list(_panels(read["rows"])),
    }


def text() -> str:
    """Return the file's text."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


VARIABLES: Final[Mapping[str, tuple[str, str, str]]] = {
    "namespace": ("Namespace", "credential_proxy_build_info", "namespace"),
    "job": ("Job", 'credential_proxy_build_info{namespace=~"$namespace"}', "job"),
    "site": ("Site", 'credential_proxy_breaker_open{namespace=~"$namespace"}', "site"),
    "caller": ("Caller", 'credential_proxy_caller_users{namespace=~"$namespace"}', "caller"),
}
"""Variable -> what it is called, the series that have it, and the label that it is there."""


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource"} | {
        "query": "prometheus",
        "hide": 0,
    }
    for name, (called, series, label) in VARIABLES.items():
        yield {
            "name": name,
            "label": called,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": f"label_values({series}, {label})", "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }


def _panels(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for row in rows:
        number += 1
        yield _row(number, row["title"], top)
        left, top = 0, top + 1
        for panel in row["panels"]:
            if left + panel["width"] > WIDTH:
                left, top = 0, top + HEIGHT
            number += 1
            place = {"x": left, "y": top, "w": panel["width"], "h": HEIGHT}
            yield _panel(number, panel, place)
            left += panel["width"]
        top += HEIGHT


def _row(number: int, title: str, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "gridPos": place, "collapsed": False}


def _panel(number: int, panel: dict[str, Any], place: dict[str, int]) -> dict[str, Any]:
    kind = panel.get("kind", "timeseries")
    return {
        "id": number,
        "type": kind,
        "title": panel["title"],
        "description": panel.get("about", ""),
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [
            {
                "refId": letter,
                "datasource": SOURCE,
                "expr": _whole(expression),
                "legendFormat": legend,
                "instant": kind == "stat",
                "range": kind != "stat",
            }
            for letter, (legend, expression) in zip(
                ascii_uppercase, panel["queries"].items(), strict=False
            )
        ],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _OPTIONS[kind],
    }


_OPTIONS: Final[Mapping[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "textMode": "auto",
    },
}


def _field(panel: dict[str, Any]) -> dict[str, Any]:
    field: dict[str, Any] = {"unit": panel["unit"]}
    if panel.get("kind") != "stat":
        stacking = {"mode": "normal" if panel.get("stacked") else "none", "group": "A"}
        field |= {"min": 0, "custom": {"fillOpacity": 10, "stacking": stacking}}
    return field


def _whole(expression: str) -> str:
    for short, whole in SHORT.items():
        expression = expression.replace(short, whole)
    return expression


if __name__ == "__main__":
    DASHBOARD.write_text(text(), "utf-8")
