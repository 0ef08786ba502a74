"""``schema``: the configuration's JSON Schema on standard output."""

import argparse
import json

from service.settings.published import json_schema


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to ``subparsers``."""
    parser = subparsers.add_parser("schema", help="print the configuration's JSON Schema")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the schema; always 0."""
    del args
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
