"""What a 200 looks like; the one place where provider tokens are revealed to a caller."""

import json
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from starlette.types import Send

from service.broker import Release
from service.model import TokenRequest
from service.secret import Secret

_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-type", b"application/json"),
)


class JsonAnswer:
    """A 200 of JSON in UTF-8 that nothing between us and the caller may keep."""

    __slots__ = ("body",)

    def __init__(self, content: Any) -> None:
        self.body = orjson.dumps(content)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What stands above the body."""
        return [*_HEADERS, (b"content-length", b"%d" % len(self.body))]

    async def send(self, send: Send) -> None:
        """Answer."""
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def release_answer(release: Release, request: TokenRequest, audit_id: str) -> JsonAnswer:
    """Reveal a release that the audit has accepted; what does not apply is absent."""
    exchange = release.session.exchange
    members = {
        "site": release.site,
        "provider": release.row.name,
        "tokens": {name: _plain(v) for name, v in release.provider_tokens.tokens.items()},
        "withheld": list(release.provider_tokens.withheld_names),
        "expires_at": _moment(release.provider_tokens.expires_at),
        "session_expires_at": _moment(release.provider_tokens.session_expires_at),
        "provider_uid": _plain(release.provider_tokens.provider_uid),
        "provider_uid_verified": release.provider_uid_verified,
        "cached": exchange.cached,
        "age": release.age,
        "gigya_call_id": exchange.call_id,
        "audit_id": audit_id,
    }
    present: dict[str, Any] = {name: value for name, value in members.items() if value is not None}
    if request.has_context:
        present["context"] = _as_it_came(request.context)  # may itself be null
    return JsonAnswer(present)


def _as_it_came(context: Any) -> orjson.Fragment:
    # orjson's integers end at 64 bits; a caller's need not.
    return orjson.Fragment(json.dumps(context, ensure_ascii=False, separators=(",", ":")))


def _plain(value: Secret[str] | int | None) -> str | int | None:
    return value.reveal() if isinstance(value, Secret) else value


def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds")[:-6] + "Z"
