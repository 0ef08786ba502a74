"""What ``audit`` and its commands can be told."""

import argparse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

Prepare = Callable[[argparse.ArgumentParser], None]


def prepare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add each command with its options."""
    for name, (add_options, explain) in COMMANDS.items():
        add_options(commands.add_parser(name, help=explain, description=explain))


def _moment(text: str) -> str:
    """Return a time as the records write it; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        said = f"{text!r} is no time in ISO 8601, as 2027-01-31T08:00 is"
        raise argparse.ArgumentTypeError(said) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _with_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key-file",
        action="append",
        default=[],
        metavar="FILE",
        help="an audit key; again for older ones",
    )


def _with_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mixed",
        action="store_true",
        help="pass over lines that are no records, as in a container's log, and count them",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="plain or gzip; - reads input")


def _prepare_verify(parser: argparse.ArgumentParser) -> None:
    _with_keys(parser)
    parser.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="SEQ:HASH",
        help="an exported head: its record must be there; again for more. HASH is as logged, or"
        " the number of the metric audit_head",
    )
    _with_files(parser)


def _prepare_who_got(parser: argparse.ArgumentParser) -> None:
    _with_keys(parser)
    parser.add_argument("--json", action="store_true", help="print whole records")
    _with_files(parser)


def _prepare_hash(parser: argparse.ArgumentParser) -> None:
    _with_keys(parser)
    parser.add_argument("--uid", action="store_true", help="the value is a UID, not a token")


def _prepare_show(parser: argparse.ArgumentParser) -> None:
    _with_keys(parser)
    for name in ("caller", "provider", "site", "outcome", "kind", "audit-id"):
        parser.add_argument(f"--{name}", metavar=name.upper().replace("-", "_"))
    parser.add_argument("--user", metavar="FINGERPRINT", help="as in records, or from audit hash")
    parser.add_argument("--uid", action="store_true", help="read a UID on standard input")
    parser.add_argument("--since", type=_moment, metavar="TIME", help="ISO 8601; UTC if no zone")
    parser.add_argument("--until", type=_moment, metavar="TIME")
    _with_files(parser)


def _prepare_key(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="key_command", required=True)
    commands.add_parser("new", help="print a new audit key for a file")


COMMANDS: Final[Mapping[str, tuple[Prepare, str]]] = {
    "verify": (_prepare_verify, "find every change to the records"),
    "who-got": (_prepare_who_got, "read a token on standard input; print who was given it"),
    "hash": (_prepare_hash, "read a value on standard input; print its fingerprints"),
    "show": (_prepare_show, "print the records that meet the conditions"),
    "key": (_prepare_key, "make audit keys"),
}
"""The commands, how their options are added, and what they are for."""
