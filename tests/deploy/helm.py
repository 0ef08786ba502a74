"""Enough of the helm command for the README's installation: Helm's own engine renders.

``python helm.py template|install NAME CHART --values F [--show-only T] [--namespace N]``
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml


def main() -> int:
    """Render; an installation goes no further."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["template", "install"])
    parser.add_argument("name")
    parser.add_argument("chart")
    parser.add_argument("--values", required=True, type=Path)
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--show-only")
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--timeout")
    args = parser.parse_args()
    values = yaml.safe_load(args.values.read_text("utf-8"))
    helm: Any = import_module("helm_python")
    with helm.Chart.load(args.chart) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values, name=args.name, namespace=args.namespace)
    for place, text in sorted(rendered.items()):
        if args.show_only is None or place.endswith(f"/{args.show_only}"):
            sys.stdout.write(f"---\n# Source: {place}\n{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
