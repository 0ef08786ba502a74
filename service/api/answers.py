"""What a 200 looks like; the one place where provider tokens are revealed to a caller."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope

from service.audit.record import present
from service.broker import Release
from service.model import TokenRequest
from service.secret import Secret

_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-type", b"application/json"),
)


class JsonAnswer:
    """A 200 of JSON in UTF-8 that nothing between us and the caller may keep."""

    __slots__ = ("body", "headers")

    def __init__(self, content: Any) -> None:
        self.body = orjson.dumps(content)
        self.headers = [*_HEADERS, (b"content-length", b"%d" % len(self.body))]


Endpoint = Callable[[Scope, Receive], Awaitable[JsonAnswer]]
"""What answers a request; it raises a ``ServiceError`` where there is a problem instead."""


def release_answer(release: Release, request: TokenRequest, audit_id: str) -> JsonAnswer:
    """Reveal a release that the audit has accepted; what does not apply is absent."""
    given, exchange = release.provider_tokens, release.session.exchange
    ends, session_ends, uid = given.expires_at, given.session_expires_at, given.provider_uid
    tokens = {
        name: token.reveal() if isinstance(token, Secret) else token
        for name, token in given.tokens.items()
    }
    members = {
        "site": release.site,
        "provider": release.row.name,
        "tokens": tokens,
        "withheld": given.withheld_names,
        "expires_at": None if ends is None else _moment(ends),
        "session_expires_at": None if session_ends is None else _moment(session_ends),
        "provider_uid": None if uid is None else uid.reveal(),
        "provider_uid_verified": release.provider_uid_verified,
        "cached": exchange.cached,
        "age": release.age,
        "gigya_call_id": exchange.call_id,
        "audit_id": audit_id,
    }
    present(members, _OF_SOME_RELEASES)
    if request.has_context:
        members["context"] = _as_it_came(request.context)  # may itself be null
    return JsonAnswer(members)


_OF_SOME_RELEASES: Final = (
    "expires_at",
    "session_expires_at",
    "provider_uid",
    "provider_uid_verified",
    "gigya_call_id",
)


def _as_it_came(context: Any) -> orjson.Fragment:
    # orjson's integers end at 64 bits; a caller's need not.
    return orjson.Fragment(json.dumps(context, ensure_ascii=False, separators=(",", ":")))


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")[:-6] + "Z"
