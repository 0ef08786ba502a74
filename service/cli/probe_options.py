"""What ``probe`` may be told, and why it is no use otherwise; never a value of a file."""

import argparse
import math
import re
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from service.secret import Secret
from service.settings.files import failing

SHORTEST: Final = 1.0
"""Seconds between two rounds; fewer would be load."""
PORTS: Final = range(65536)
_WORD: Final = re.compile(rb"[!-~]+")


class UnusableFile(Exception):
    """A file that cannot be used, in a sentence that names it."""


def url(text: str) -> str:
    """Return where the API is: scheme, host and port, and nothing else."""
    split = _split(text)
    if split is None or split.scheme not in {"http", "https"} or not split.hostname:
        raise argparse.ArgumentTypeError("must be http://HOST[:PORT] or https://HOST[:PORT]")
    if split.username is not None or split.path not in {"", "/"} or split.query or split.fragment:
        raise argparse.ArgumentTypeError("must have no path, no query and no user")
    return text.rstrip("/")


def seconds(text: str) -> float:
    """Return the seconds between two rounds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not SHORTEST <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be seconds, {SHORTEST:g} or more")
    return value


def port(text: str) -> int:
    """Return a port to listen on; 0 is any that is free."""
    if not text.isascii() or not text.isdigit() or int(text) not in PORTS:
        raise argparse.ArgumentTypeError("must be a port, 0 to 65535")
    return int(text)


def token(file: Path) -> Secret[str]:
    """Return the token in a file; raises ``UnusableFile``."""
    lines = octets(file).split(b"\n")
    text = lines[0].removesuffix(b"\r")
    if not _WORD.fullmatch(text) or any(lines[1:]):
        raise UnusableFile(f"{file} must hold a token: one line of ASCII without blanks")
    return Secret(text.decode("ascii"))


def octets(file: Path) -> bytes:
    """Return what is in a file; raises ``UnusableFile``."""
    try:
        return file.read_bytes()
    except OSError as error:
        told = f"{file} is {failing(error)}"
    raise UnusableFile(told)


def _split(text: str) -> SplitResult | None:
    try:
        split = urlsplit(text)
        _ = split.port  # raises for what is none
    except ValueError:
        return None
    return split if text.isprintable() and " " not in text else None
