"""What is made from the chart and the service: schema of the values, their table, the manifests.

``python deploy/chart.py write`` makes all of it again; tests/deploy says when that is due.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from service.settings.published import DIALECT, json_schema

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "helm/gigya-credential-proxy"
SCHEMA: Final = CHART / "values.schema.json"
VALUES: Final = CHART / "values.yaml"
MANIFESTS: Final = ROOT / "deploy/manifests/gigya-credential-proxy.yaml"
MANIFEST_VALUES: Final = ROOT / "deploy/manifests/values.yaml"
RULES: Final = ROOT / "deploy/prometheus/rules.yaml"
LAPTOP_RULES: Final = ROOT / "deploy/compose/rules.yaml"
NAME: Final = "gigya-credential-proxy"

HEAD: Final = """\
# For clusters without Helm: what the chart renders for values.yaml beside this file
# (python deploy/chart.py write). In it API key, user key, callers, the issuer and the image are
# placeholders. Change them, make the Secrets that it names, then
#   kubectl create namespace gigya-credential-proxy
#   kubectl label namespace gigya-credential-proxy pod-security.kubernetes.io/enforce=restricted
#   kubectl apply -f deploy/manifests/gigya-credential-proxy.yaml
"""


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the chart's values, the service's own inside it."""
    chart = yaml.safe_load((ROOT / "deploy/chart-values.yaml").read_text("utf-8"))
    config = json_schema()
    definitions = {**config.pop("$defs"), **chart.pop("$defs")}
    for key in ("$schema", "$id", "title"):
        del config[key]
    chart["properties"] = {"config": config, **chart["properties"]}
    whole = {"$schema": DIALECT, "title": "Values of gigya-credential-proxy", **chart}
    return {**whole, "$defs": definitions}


class Row(NamedTuple):
    """One value of the chart."""

    key: str
    default: str
    told: str


KEY: Final = re.compile(r"^( *)([A-Za-z]+):(.*)$")
TOLD: Final = re.compile(r"^ *# -- (.*)$")
MORE: Final = re.compile(r"^ *# (.*)$")


def rows(text: str) -> Iterator[Row]:
    """Yield the values that ``# --`` tells of, in their order; ``text`` is values.yaml."""
    values, above, told = yaml.safe_load(text), list[str](), list[str]()
    for line in text.splitlines():
        if match := TOLD.match(line):
            told = [match[1]]
        elif told and (match := MORE.match(line)):
            told.append(match[1])
        elif match := KEY.match(line):
            above = [*above[: len(match[1]) // 2], match[2]]
            if told:
                default = json.dumps(_at(values, above), ensure_ascii=False)
                yield Row(".".join(above), default, " ".join(told))
            told = []


def _at(values: Any, keys: list[str]) -> Any:
    for key in keys:
        values = values[key]
    return values


def table() -> str:
    """Return the table of values in Markdown."""
    lines = ["| value | default | |", "|---|---|---|"]
    for row in rows(VALUES.read_text("utf-8")):
        default = f"`{row.default}`" if len(row.default) <= LONGEST else "see values.yaml"
        lines.append(f"| `{row.key}` | {default} | {row.told.replace('|', '/')} |")
    return "\n".join(lines)


LONGEST: Final = 60
"""Characters of a default that stands in the table."""


def render(values: Mapping[str, Any], *, name: str = NAME, namespace: str = NAME) -> dict[str, str]:
    """Return what Helm makes of ``values``, by template; needs helm-python-sdk."""
    helm: Any = import_module("helm_python")  # only where something is rendered
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(dict(values))
        rendered: dict[str, str] = chart.render(dict(values), name=name, namespace=namespace)
    return rendered


def manifests() -> str:
    """Return the plain manifests."""
    rendered = render(yaml.safe_load(MANIFEST_VALUES.read_text("utf-8")))
    parts = [
        text.strip()
        for place, text in sorted(rendered.items())
        if place.endswith(".yaml") and text.strip() and "/tests.yaml" not in place
    ]
    return HEAD + "\n".join(f"---\n{part.removeprefix('---').strip()}" for part in parts) + "\n"


def copies() -> dict[Path, Path]:
    """Return what the chart has a copy of, as a chart holds all that it needs: copy -> origin."""
    files = CHART / "files"
    return {
        files / "rules.yaml": RULES,
        files / "dashboard.json": ROOT / "deploy/grafana/dashboard.json",
    }


def laptop_rules() -> str:
    """Return the rules for the compose file, where one process is all there is."""
    text = RULES.read_text("utf-8")
    many, one = (f"expr: vector({least})\n        labels: {{of: replicas}}" for least in (2, 1))
    if many not in text:
        raise ValueError("the rules have no least number of replicas")
    return text.replace(many, one)


def write() -> None:
    """Make everything again."""
    for copy, origin in copies().items():
        if origin.exists():
            copy.write_bytes(origin.read_bytes())
    LAPTOP_RULES.write_text(laptop_rules(), "utf-8")
    SCHEMA.write_text(json.dumps(schema(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    MANIFESTS.write_text(manifests(), "utf-8")


def show() -> None:
    """Print the table of values."""
    print(table())


COMMANDS: Final = {"write": write, "table": show}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]]()
