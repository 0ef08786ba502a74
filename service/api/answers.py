"""What a 200 looks like; the one place where provider tokens are revealed to a caller."""

import json
from collections.abc import Awaitable, Callable
from math import floor
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope

from service.broker import Release
from service.model import TokenRequest
from service.secret import Secret

_LINES: Final = b"\r\n".join(
    (
        b"cache-control: no-store",
        b"content-type: application/json",
        b"content-length: %d",
        b"audit-id: %b",
        b"",
    )
)

_MOMENTS: Final = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
"""How datetimes are written: in RFC 3339, to the second."""


class JsonAnswer:
    """A 200 of JSON in UTF-8 that nothing between us and the caller may keep."""

    __slots__ = ("body",)

    def __init__(self, content: Any) -> None:
        self.body = orjson.dumps(content, option=_MOMENTS)

    def lines(self, audit_id: str) -> bytes:
        """Return its headers, with the entry's id among them, each with its end."""
        return _LINES % (len(self.body), audit_id.encode())


Endpoint = Callable[[Scope, Receive], Awaitable[JsonAnswer]]
"""What answers a request; it raises a ``ServiceError`` where there is a problem instead."""


def release_answer(release: Release, request: TokenRequest, audit_id: str) -> JsonAnswer:
    """Reveal a release that the audit has accepted; what does not apply is absent."""
    given, session, now = release.provider_tokens, release.session, release.at
    exchange = session.exchange
    members: dict[str, Any] = {
        "site": release.site,
        "provider": release.row.name,
        "tokens": {
            name: token.reveal() if isinstance(token, Secret) else floor(token - now)
            for name, token in given.tokens.items()
        },
        "withheld": given.withheld_names,
    }
    if given.expires_at is not None:
        members["expires_at"] = given.expires_at
    if given.session_expires_at is not None:
        members["session_expires_at"] = given.session_expires_at
    if given.provider_uid is not None:
        members["provider_uid"] = given.provider_uid.reveal()
    if release.provider_uid_verified is not None:
        members["provider_uid_verified"] = release.provider_uid_verified
    members["cached"], members["age"] = exchange.cached, max(0, int(now - session.fetched_at))
    if exchange.call_id is not None:
        members["gigya_call_id"] = exchange.call_id
    members["audit_id"] = audit_id
    if request.has_context:
        members["context"] = _as_it_came(request.context)  # may itself be null
    return JsonAnswer(members)


def _as_it_came(context: Any) -> orjson.Fragment:
    # orjson's integers end at 64 bits; a caller's need not.
    return orjson.Fragment(json.dumps(context, ensure_ascii=False, separators=(",", ":")))
