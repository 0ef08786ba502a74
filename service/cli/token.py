"""``token new``: a bearer token of our own making, and the row by which it is known.

A token is ``gigyaproxy_``, 43 characters of base 62 that hold 256 random bits, and 6 that hold the
CRC-32 of all before them, so that secret scanners can tell one from a look-alike without asking.
"""

import argparse
import hashlib
import re
import secrets
import sys
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from service.settings.shapes import LINE

PREFIX: Final = "gigyaproxy_"
OCTETS: Final = 32
LONGEST: Final = timedelta(days=731)

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM, _CHECK = 43, 6  # 62^43 > 2^256, 62^6 > 2^32
_SHAPE: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM + _CHECK}}}")
_LIFE: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to ``subparsers``."""
    parser = subparsers.add_parser("token", help="bearer tokens for callers without a platform")
    new = parser.add_subparsers(required=True, metavar="new").add_parser(
        "new",
        help="make a token",
        description="The token alone goes to standard output, its row for `tokens` to standard "
        "error. Nothing is kept: whoever needs the token takes it now.",
    )
    new.add_argument("--name", required=True, type=subject, help="subject that it proves")
    new.add_argument(
        "--expires", required=True, type=life, metavar="90d", help="hours, days or weeks"
    )
    new.set_defaults(run=run)


def run(
    args: argparse.Namespace,
    *,
    random: Callable[[int], bytes] = secrets.token_bytes,
    now: datetime | None = None,
) -> int:
    """Print a new token and its row; always 0."""
    token = new_token(random(OCTETS))
    expires = (now or datetime.now(UTC)) + args.expires
    print(token)
    print(row(token, args.name, expires), file=sys.stderr)
    return 0


def new_token(octets: bytes) -> str:
    """Return the token that holds ``octets``, 32 of them."""
    told = PREFIX + _digits(int.from_bytes(octets), _RANDOM)
    return told + _checksum(told)


def is_token(text: str) -> bool:
    """Whether ``text`` has the shape of a token and its checksum."""
    return _SHAPE.fullmatch(text) is not None and text[-_CHECK:] == _checksum(text[:-_CHECK])


def row(token: str, name: str, expires: datetime) -> str:
    """Return the row of the configuration that knows ``token`` by its digest."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    moment = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    quoted = "'" + name.replace("'", "''") + "'"
    return f"- {{subject: {quoted}, sha256: '{digest}', expires: {moment}}}"


def subject(text: str) -> str:
    """Return ``text`` if it can be a subject; for argparse."""
    if re.fullmatch(LINE, text) is None:
        raise argparse.ArgumentTypeError("must be one line without white space around it")
    return text


def life(text: str) -> timedelta:
    """Return the life that ``text`` tells, such as 90d, 12h or 26w; for argparse."""
    told = _LIFE.fullmatch(text)
    if told is None:
        raise argparse.ArgumentTypeError("must be hours, days or weeks, such as 90d")
    span = int(told[1]) * _UNITS[told[2]]
    if span > LONGEST:
        raise argparse.ArgumentTypeError("must be two years or less")
    return span


def _checksum(text: str) -> str:
    return _digits(zlib.crc32(text.encode()), _CHECK)


def _digits(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
