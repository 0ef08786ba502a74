"""``socialize.getToken``: an OAuth 2 access token for a site's credentials (facts.md §3d)."""

import base64
from collections.abc import Callable
from typing import Any, Final

from service.simulator.authentication import secrets_of
from service.simulator.calls import Call
from service.simulator.codes import Refusal
from service.simulator.memory import AccessTokens, Grant
from service.simulator.world import Site, World

GRANT_TYPES: Final = frozenset({"none", "client_credentials"})


class OAuthRefusal(Exception):
    """An error in OAuth 2's own words (RFC 6749 section 5.2), which has no ``errorCode``."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description


def answer(
    call: Call, world: World, tokens: AccessTokens, *, now: float, entropy: Callable[[int], bytes]
) -> dict[str, Any]:
    """Return the token reply; raises ``OAuthRefusal`` or ``Refusal``."""
    if not call.is_secure:
        raise Refusal(400001, "socialize.getToken needs HTTPS")
    if call.http_method != "POST":
        raise Refusal(400001, "socialize.getToken is called with POST")
    site = _client(call, world)
    if call.get("grant_type") not in GRANT_TYPES:
        raise OAuthRefusal(400, "unsupported_grant_type", "Only none and client_credentials")
    token = entropy(24).hex()
    life = _life(call, site)
    ends = None if life is None else now + life
    tokens.give(token, Grant(api_key=site.api_key, uid=call.get("x_siteUID"), expires_at=ends))
    return {"access_token": token} if life is None else {"access_token": token, "expires_in": life}


def _client(call: Call, world: World) -> Site:
    client_id, secret = _basic(call) or (call.get("client_id"), _body_secret(call))
    site = world.sites.get(client_id or "")
    if site is None or secret is None:
        raise OAuthRefusal(401, "invalid_client", "No such client, or no secret")
    try:
        accepted = secrets_of(site, call)
    except Refusal as refusal:
        raise OAuthRefusal(401, "invalid_client", refusal.details) from None
    if secret not in accepted:
        raise OAuthRefusal(401, "invalid_client", "The client's secret is wrong")
    return site


def _body_secret(call: Call) -> str | None:
    return call.get("secret") if call.get("userKey") else call.get("client_secret")


def _basic(call: Call) -> tuple[str | None, str | None] | None:
    scheme, _, credential = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    if call.get("userKey"):
        raise OAuthRefusal(401, "invalid_client", "A user key goes into the body, not into Basic")
    try:
        client_id, _, secret = base64.b64decode(credential, validate=True).decode().partition(":")
    except ValueError:
        raise OAuthRefusal(401, "invalid_client", "The Basic credential is malformed") from None
    return client_id, secret


def _life(call: Call, site: Site) -> int | None:
    asked = call.get("x_sessionExpiration") or ""
    return int(asked) if asked.isascii() and asked.isdigit() else site.token_life
