"""``version``: what is running."""

import argparse
import platform
from importlib.metadata import version

from service.app import DISTRIBUTION


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser("version", help="print the version")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the version; return the exit status."""
    del args
    print(f"{DISTRIBUTION} {version(DISTRIBUTION)} (Python {platform.python_version()})")
    return 0
