"""What ``audit`` and its commands are given: keys, heads, files, and values that are secret."""

import argparse
import getpass
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from service.audit.chain import Head
from service.audit.exported import expected
from service.audit.fingerprints import AuditKey, BadAuditKey, Keyring
from service.audit.mixed import sift
from service.audit.reading import Source, arranged, from_path

Warn = Callable[[str], None]


class Misused(Exception):
    """The command cannot do what it was asked; says why."""


def keys_of(args: argparse.Namespace) -> Keyring:
    """Return the keys of ``--key-file``."""
    if not args.key_file:
        raise Misused("name the audit keys with --key-file, the newest first")
    return Keyring(tuple(map(_key, args.key_file)))


def heads_of(args: argparse.Namespace) -> list[Head]:
    """Return the heads of ``--expect``."""
    try:
        return [expected(text) for text in args.expect]
    except ValueError as error:
        raise Misused(f"--expect: {error}") from None


def sources_of(args: argparse.Namespace) -> list[Source]:
    """Return the files, in the order of their chains."""
    try:
        sources = [_standard_input() if p == "-" else from_path(p) for p in args.files]
    except OSError as error:
        said = f"{error.filename}: {error.strerror}"
    else:
        return arranged([replace(each, sift=sift) for each in sources] if args.mixed else sources)
    raise Misused(said)


def value(prompt: str, warn: Warn, files: Sequence[str] = ()) -> str:
    """Read a value that must not be on a command line, from standard input."""
    if "-" in files:
        raise Misused("standard input cannot be both the value and a file")
    try:
        given = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    except (OSError, UnicodeError):
        given = ""
    given = given.rstrip("\r\n")
    if not given:
        raise Misused("give the value on standard input, alone on its line")
    if given != given.strip():
        warn("the value begins or ends with a blank, which is taken as part of it")
    return given


def _key(path: str) -> AuditKey:
    try:
        return AuditKey.from_file(Path(path).read_bytes())
    except OSError as error:
        said = f"{path}: {error.strerror}"
    except BadAuditKey as error:
        said = f"{path}: {error}"
    raise Misused(said)


def _standard_input() -> Source:
    return Source("-", lambda: cast("BinaryIO", sys.stdin.buffer))
