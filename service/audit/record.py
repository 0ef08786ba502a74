"""What the audit says about one request: an allow-list of fields, and their canonical bytes."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

import orjson

from service.audit.fingerprints import AuditKey
from service.deadline import Deadline
from service.model import (
    Caller,
    Exchange,
    Field,
    Identity,
    ProviderName,
    ProviderTokens,
    SiteName,
    Uid,
)
from service.secret import Secret

RELEASED: Final = "released"
"""The outcome of a release: authorised, recorded, about to be sent."""
UNAVAILABLE: Final = "audit-unavailable"
CANCELLED: Final = "cancelled"

LARGEST: Final = 2**63 - 1

Commit = Callable[["Entry"], Awaitable[None] | None]
"""Sees to an entry's record, and returns what its request must wait for, if it must."""


def _nowhere(entry: "Entry") -> None:
    """Keep nothing: for an entry that no journal opened."""


@dataclass(slots=True, eq=False)  # not kw_only: Python would look up each default by its name
class Entry:
    """One request of the API port, filled as facts become known and committed once.

    Its outcome is "internal-error" until proved otherwise. ``route`` is a route's template,
    ``site``, ``provider`` and ``asked`` are names we know, never input as it came. ``uid``, or
    ``user`` where a session tells, and ``tokens`` are fingerprinted at the commit and then dropped.
    ``opened_at`` is UNIX seconds, ``started`` monotonic seconds. ``identity`` was proved and is no
    caller's. ``is_counted``: one of a flood, told as a count (no release). No release waits for its
    record beyond ``deadline``.
    """

    audit_id: str
    opened_at: float = 0.0
    started: float = 0.0
    route: str | None = None
    method: str | None = None
    peer: str | None = None
    trace_id: str | None = None
    config_hash: str | None = None
    build: str | None = None
    commit_to: Commit = field(default=_nowhere, repr=False)
    caller: Caller | None = None
    identity: Identity | None = None
    site: SiteName | None = None
    provider: ProviderName | None = None
    uid: Uid | None = field(default=None, repr=False)
    user: Secret[str] | None = None
    asked: tuple[str, ...] = ()
    released: tuple[Field, ...] = ()
    withheld: tuple[Field, ...] = ()
    names_released: tuple[str, ...] = ()
    tokens: ProviderTokens | None = None
    decision: Literal["allow", "deny"] | None = None
    rule: str | None = None
    reason: str | None = None
    would_deny: bool | None = None
    outcome: str = "internal-error"
    exchange: Exchange | None = None
    token_expires_at: datetime | None = None
    status: int | None = None
    deadline: Deadline | None = field(default=None, repr=False)
    is_counted: bool = False
    is_committed: bool = False

    async def commit(self) -> None:
        """Write the record; a second call does nothing.

        For a release this is the gate: it raises ``AuditUnavailable`` unless the record was
        accepted. For anything else it never raises.
        """
        if self.is_committed:
            return
        self.is_committed = True
        try:
            gate = self.commit_to(self)
            if gate is not None:
                await gate
        finally:
            self.uid = self.user = None
            self.tokens = None


def describe(entry: Entry, key: AuditKey, *, now: float, monotonic: float) -> dict[str, Any]:
    """Return the record of ``entry``: only the members named here; absent what does not apply.

    ``now`` is UNIX seconds, ``monotonic`` seconds on the clock that gave ``entry.started``.
    """
    caller, exchange, expires = entry.caller, entry.exchange, entry.token_expires_at
    user: str | None = None
    if entry.user is not None:
        user = key.of_user(entry.user)
    elif entry.uid is not None:
        user = key.of_uid(entry.uid)
    members = {
        "kind": "request",
        "time": timestamp(now),
        "audit_id": entry.audit_id,
        "trace_id": entry.trace_id,
        "received_at": timestamp(entry.opened_at),
        "peer": entry.peer,
        "method": entry.method,
        "route": entry.route,
        "caller": None if caller is None else caller.told or _caller(caller),
        "identity": None if entry.identity is None else _identity(entry.identity),
        "site": entry.site,
        "provider": entry.provider,
        "user": user,
        "asked": entry.asked or None,
        "released": entry.released or None,
        "withheld": entry.withheld or None,
        "names_released": entry.names_released or None,
        "tokens": None if entry.tokens is None else key.of_tokens(entry.tokens) or None,
        "decision": entry.decision,
        "rule": entry.rule,
        "reason": entry.reason,
        "would_deny": entry.would_deny,
        "outcome": entry.outcome,
        "upstream": None if exchange is None else exchange.told or _upstream(exchange),
        "key_slot": None if exchange is None else exchange.key_slot,
        "token_expires_at": None if expires is None else _moment(expires),
        "status": entry.status,
        "milliseconds": round((monotonic - entry.started) * 1000, 3),
        "build": entry.build,
        "configuration": entry.config_hash,
    }
    # As ``present`` does, without a call more for each release.
    for name in _OF_SOME_RELEASES if entry.outcome == RELEASED else _OF_SOME_REQUESTS:
        if members[name] is None:
            del members[name]
    return members


_OF_SOME_REQUESTS: Final = (
    "trace_id",
    "peer",
    "method",
    "route",
    "caller",
    "identity",
    "site",
    "provider",
    "user",
    "asked",
    "released",
    "withheld",
    "names_released",
    "tokens",
    "decision",
    "rule",
    "reason",
    "would_deny",
    "upstream",
    "key_slot",
    "token_expires_at",
    "status",
    "build",
    "configuration",
)
_IN_EVERY_RELEASE: Final = frozenset(
    {
        "method",
        "route",
        "caller",
        "site",
        "provider",
        "user",
        "decision",
        "rule",
        "upstream",
        "status",
        "build",
        "configuration",
    }
)
"""Nothing is released without them: to look whether they are there is in vain."""
_OF_SOME_RELEASES: Final = tuple([n for n in _OF_SOME_REQUESTS if n not in _IN_EVERY_RELEASE])


def present(members: dict[str, Any], optional: Iterable[str]) -> dict[str, Any]:
    """Take out of ``members`` those of the ``optional`` ones that are None; return the others."""
    for name in optional:
        if members[name] is None:
            del members[name]
    return members


def canonical(record: Mapping[str, Any]) -> bytes:
    """Return the one way to write ``record``: compact JSON in UTF-8, members in their order.

    What JSON cannot carry (half of a surrogate pair, a number over 64 bits) is replaced: a record
    that says a little less is better than none.
    """
    try:
        return orjson.dumps(record)
    except TypeError:
        return orjson.dumps(_mended(record))


def timestamp(seconds: float) -> str:
    """Return UNIX ``seconds`` as RFC 3339 in UTC with microseconds."""
    micros = round(seconds * 1_000_000)
    return f"{_second(micros // 1_000_000)}.{micros % 1_000_000:06d}Z"


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


@lru_cache(maxsize=256)  # a caller's credential ends at the same moment for all its requests
def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return max(-LARGEST, min(value, LARGEST))
    if isinstance(value, Mapping):
        return {_mended(name): _mended(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mended(item) for item in value]
    return value


def _caller(caller: Caller) -> dict[str, Any]:
    """Write down what is told of ``caller`` and return it."""
    identity, expires = caller.identity, caller.credential_expires_at
    members = {
        "name": caller.name,
        "authentication": identity.via,
        "subject": identity.subject,
        "namespace": caller.namespace,
        "pod": caller.pod,
        "credential_expires_at": None if expires is None else _moment(expires),
    }
    caller.told.update(present(members, ("namespace", "pod", "credential_expires_at")))
    return caller.told


def _identity(identity: Identity) -> dict[str, str]:
    return {"authentication": identity.via, "subject": identity.subject}


def _upstream(exchange: Exchange) -> dict[str, Any]:
    """Write down what is told of ``exchange`` and return it."""
    told = exchange.told
    if exchange.error_code is not None:
        told["error_code"] = exchange.error_code
    if exchange.call_id is not None:
        told["call_id"] = exchange.call_id
    told["attempts"] = exchange.attempts
    told["milliseconds"] = round(exchange.milliseconds, 3)
    told["cached"] = exchange.cached
    return told
