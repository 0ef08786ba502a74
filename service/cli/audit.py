"""``audit``: verify the stream, find who got a token, fingerprint a value, show records.

Exit status: 0 fine, 1 found something (tampering; nothing to verify; somebody who got the token),
2 usage.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

from service.audit import search
from service.audit.chain import Head
from service.audit.findings import Finding
from service.audit.fingerprints import BadAuditKey, Keyring, new_key
from service.audit.reading import Line, Source, Unreadable, arranged, from_path
from service.audit.verification import Verifier
from service.cli.audit_options import prepare
from service.cli.audit_printing import document, printable, progress_of, sentence
from service.model import Uid
from service.secret import Secret

FINE: Final = 0
FOUND: Final = 1
USAGE: Final = 2

SHOWN: Final = 100
"""Findings that are printed one by one; the rest is counted."""


class Misused(Exception):
    """The command cannot do what it was asked; says why."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``audit`` and its commands."""
    parser = subparsers.add_parser("audit", help="verify and search the audit stream")
    commands = parser.add_subparsers(dest="audit_command", required=True)
    prepare(commands)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out one of the commands."""
    try:
        return RUN[args.audit_command](args)
    except (Misused, BadAuditKey, Unreadable) as error:
        print(f"audit: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # for the exit
        return FINE


def _verify(args: argparse.Namespace) -> int:
    shown = 0

    def tell(finding: Finding) -> None:
        nonlocal shown
        shown += 1
        if shown <= SHOWN:
            word = "TAMPERED" if finding.is_tampering else "note"
            print(f"{word}: {finding.where}: {finding.what}")

    verifier = Verifier(_keys(args), _heads(args), tell)
    for source in arranged(_sources(args)):
        _verify_file(source, verifier)
    verifier.finish()
    if shown > SHOWN:
        print(f"… and {shown - SHOWN} more")
    for state in verifier.chains.values():
        print(f"chain {state.name}: records {state.first} to {state.head.sequence}")
        print(f"  head {state.head}")
    if not (verifier.records or verifier.tampering):
        print("nothing to verify: no record was found")
        return FOUND
    verdict = "TAMPERED" if verifier.tampering else "intact"
    print(f"{verdict}: {verifier.records} records in {len(verifier.chains)} chains")
    return FOUND if verifier.tampering else FINE


def _verify_file(source: Source, verifier: Verifier) -> None:
    with progress_of(source) as progress:
        try:
            for line in source.lines(progress):
                verifier.read(line)
        except Unreadable as error:
            verifier.accuse(source.name, str(error).removeprefix(f"{source.name}: "))
    verifier.end_of_file()


def _warn() -> None:
    print("audit: not verified; run audit verify", file=sys.stderr)


def _who_got(args: argparse.Namespace) -> int:
    token = Secret(_value("token: ", args.files))
    fingerprints = search.token_fingerprints(_keys(args), token)
    found = FINE
    _warn()
    for record in search.who_got(_lines(args), fingerprints):
        found = FOUND
        print(document(record) if args.json else sentence(record))
    return found


def _hash(args: argparse.Namespace) -> int:
    value = _value("UID: " if args.uid else "token: ")
    keys = _keys(args)
    found = (
        search.uid_fingerprints(keys, Uid(value))
        if args.uid
        else search.token_fingerprints(keys, Secret(value))
    )
    print("\n".join(found))
    return FINE


def _show(args: argparse.Namespace) -> int:
    users: tuple[str, ...] | None = (args.user,) if args.user else None
    if args.uid:
        uid = Uid(_value("UID: ", args.files))
        users = tuple(search.uid_fingerprints(_keys(args), uid))
    names = ("caller", "provider", "site", "outcome", "kind", "audit_id", "since", "until")
    wanted = search.Filter(users=users, **{name: getattr(args, name) for name in names})
    _warn()
    for line, _ in search.show(_lines(args), wanted):
        sys.stdout.write(printable(line.octets.decode("utf-8", "replace")) + "\n")
    return FINE


def _key(args: argparse.Namespace) -> int:
    if args.key_command == "new":
        sys.stdout.write(new_key(os.urandom).decode())
    return FINE


def _keys(args: argparse.Namespace) -> Keyring:
    if not args.key_file:
        raise Misused("name the audit keys with --key-file, the newest first")
    try:
        return Keyring.from_files([Path(path).read_bytes() for path in args.key_file])
    except OSError as error:
        said = f"{error.filename}: {error.strerror}"
    raise Misused(said)


def _heads(args: argparse.Namespace) -> list[Head]:
    try:
        return [Head.parse(text) for text in args.expect]
    except ValueError as error:
        raise Misused(f"--expect: {error}") from None


def _sources(args: argparse.Namespace) -> list[Source]:
    try:
        return [_standard_input() if p == "-" else from_path(p) for p in args.files]
    except OSError as error:
        said = f"{error.filename}: {error.strerror}"
    raise Misused(said)


def _standard_input() -> Source:
    return Source("-", lambda: cast("BinaryIO", sys.stdin.buffer))


def _lines(args: argparse.Namespace) -> Iterator[Line]:
    for source in arranged(_sources(args)):
        with progress_of(source) as progress:
            yield from source.lines(progress)


def _value(prompt: str, files: Sequence[str] = ()) -> str:
    """Read a value that must not be on a command line, from standard input."""
    if "-" in files:
        raise Misused("standard input cannot be both the value and a file")
    is_asked = sys.stdin.isatty()
    value = getpass.getpass(prompt) if is_asked else sys.stdin.readline().rstrip("\r\n")
    if not value:
        raise Misused("give the value on standard input, alone on its line")
    return value


RUN: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "verify": _verify,
    "who-got": _who_got,
    "hash": _hash,
    "show": _show,
    "key": _key,
}
"""What each command does."""
