"""The command line."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Final

from service.cli.output import told

COMMANDS: Final = (
    "serve",
    "check",
    "schema",
    "explain",
    "demo",
    "simulate",
    "token",
    "audit",
    "probe",
    "version",
)
"""Each is a module of ``service.cli``."""


def parser(commands: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of the command line, as far as it has these ``commands``."""
    whole = argparse.ArgumentParser(
        prog="gigya-credential-proxy",
        description="Hands provider tokens out of Gigya to the workloads that may have them.",
    )
    subparsers = whole.add_subparsers(metavar="command", required=True)
    for name in commands:
        command = import_module(f"service.cli.{name}")
        command.add_parser(subparsers)
        subparsers.choices[name].set_defaults(run=command.run)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    # What the others need is not loaded: a replica would hold it for as long as it serves.
    named = [name for name in given[:1] if name in COMMANDS]
    args = parser(named or COMMANDS).parse_args(given)
    return told(lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())
