"""Searches records without verifying them: who got a token, and which records match."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from service.audit import controls
from service.audit.fingerprints import Keyring
from service.audit.reading import Line
from service.audit.record import RELEASED
from service.model import Uid
from service.secret import Secret

Record = Mapping[str, Any]
MATCHES: Final = 100_000
"""Releases whose withdrawal is looked out for; a token has few."""


def token_fingerprints(keys: Keyring, token: Secret[str]) -> list[str]:
    """Return what any of the keys would have written for ``token``."""
    return [key.of_token(token) for key in keys.keys]


def uid_fingerprints(keys: Keyring, uid: Uid) -> list[str]:
    """Return what any of the keys would have written for ``uid``."""
    return [key.of_uid(uid) for key in keys.keys]


def who_got(lines: Iterable[Line], fingerprints: Iterable[str]) -> Iterator[Record]:
    """Yield the releases of a token, and the withdrawals of any of them, as they come."""
    needles = [fingerprint.encode() for fingerprint in fingerprints]
    seen: set[str] = set()
    for line in lines:
        if any(needle in line.octets for needle in needles):
            record = parse(line)
            if record is not None and record.get("outcome") == RELEASED:
                if len(seen) < MATCHES:
                    seen.add(str(record.get("audit_id")))
                yield record
        elif seen and WITHDRAWN in line.octets:
            record = parse(line)
            if record is not None and record.get("audit_id") in seen:
                yield record


WITHDRAWN: Final = f'"kind":"{controls.WITHDRAWN}"'.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a record must say to be shown; ``None`` asks nothing.

    ``users`` are fingerprints; ``since`` and ``until`` are RFC 3339 in UTC, compared as text, and
    a record is shown if its time is in [since, until).
    """

    caller: str | None = None
    users: tuple[str, ...] | None = None
    provider: str | None = None
    site: str | None = None
    outcome: str | None = None
    kind: str | None = None
    audit_id: str | None = None
    since: str | None = None
    until: str | None = None

    def conditions(self) -> list[Callable[[Record], bool]]:
        """Return one test for each thing that is asked."""
        asked = [_test(self, name, equals) for name, equals in TESTS.items()]
        return [test for test in asked if test is not None]


def show(lines: Iterable[Line], wanted: Filter) -> Iterator[tuple[Line, Record]]:
    """Yield the records that meet every condition, with their lines."""
    conditions = wanted.conditions()
    for line in lines:
        record = parse(line)
        if record is not None and all(holds(record) for holds in conditions):
            yield line, record


def parse(line: Line) -> Record | None:
    """Return the record on ``line``, or ``None`` if it is none."""
    try:
        record = orjson.loads(line.octets)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def text(record: Record) -> str:
    """Return the record as JSON."""
    return orjson.dumps(record).decode()


def _caller(record: Record) -> Any:
    caller = record.get("caller")
    return caller.get("name") if isinstance(caller, dict) else None


TESTS: Final[Mapping[str, Callable[[Record, Any], bool]]] = {
    "caller": lambda record, wanted: bool(_caller(record) == wanted),
    "users": lambda record, wanted: record.get("user") in wanted,
    "provider": lambda record, wanted: bool(record.get("provider") == wanted),
    "site": lambda record, wanted: bool(record.get("site") == wanted),
    "outcome": lambda record, wanted: bool(record.get("outcome") == wanted),
    "kind": lambda record, wanted: bool(record.get("kind") == wanted),
    "audit_id": lambda record, wanted: bool(record.get("audit_id") == wanted),
    "since": lambda record, wanted: str(record.get("time", "")) >= wanted,
    "until": lambda record, wanted: str(record.get("time", "")) < wanted,
}
"""How each condition of a filter is judged."""


def _test(
    wanted: Filter, name: str, holds: Callable[[Record, Any], bool]
) -> Callable[[Record], bool] | None:
    value = getattr(wanted, name)
    if value is None:
        return None
    return lambda record: holds(record, value)
