"""The command line."""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from service.cli import audit, check, demo, explain, probe, schema, serve, simulate, token, version
from service.cli.output import told

COMMANDS: Final = (serve, check, schema, explain, demo, simulate, token, audit, probe, version)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="gigya-credential-proxy",
        description="Hands provider tokens out of Gigya to the workloads that may have them.",
    )
    subparsers = whole.add_subparsers(metavar="command", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
        name = command.__name__.rpartition(".")[2]
        subparsers.choices[name].set_defaults(run=command.run)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    args = parser().parse_args(arguments)
    return told(lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())
