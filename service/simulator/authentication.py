"""The six ways to prove who calls, one of them per request (facts.md §3).

Where no source tells the code of a refusal, the choice here is the project's own (README).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from service.simulator import bearer, signing
from service.simulator.calls import Call
from service.simulator.codes import Refusal
from service.simulator.memory import AccessTokens, Once
from service.simulator.world import Site, UserKey, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """Which site is called, by which of the six ways, and the user that a token is bound to."""

    site: Site
    way: str
    uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the ways need besides the call and its site."""

    once: Once
    tokens: AccessTokens
    now: float


def authenticate(call: Call, world: World, desk: Desk) -> Authenticated:
    """Return who calls; raises the ``Refusal`` that Gigya would answer with."""
    shown = [way for way, shows in _SHOWS.items() if shows(call)]
    if len(shown) > 1:
        raise Refusal(400001, "More than one authorization method in a request")
    if not shown:
        raise Refusal(403000, "The request carries no credentials")
    if shown == ["oauth"]:
        return _oauth(call, world, desk)
    return _WAYS[shown[0]](call, site_of(call, world), desk)


def site_of(call: Call, world: World) -> Site:
    """Return the site that ``apiKey`` names: 400002 if missing, 400093 if unknown."""
    site = world.sites.get(call.need("apiKey"))
    if site is None:
        raise Refusal(400093, "Invalid ApiKey parameter")
    return site


def user_key_of(site: Site, name: str, call: Call) -> UserKey:
    """Return the user key ``name``: 403010 if the site has none, 403007 without the right."""
    key = site.user_keys.get(name)
    if key is None:
        raise Refusal(403010, "Unknown user key")
    if call.method not in key.may:
        raise Refusal(403007, "The user key has no permission for this method")
    return key


def secrets_of(site: Site, call: Call) -> tuple[str, ...]:
    """Return the secrets that may prove this call: of its user key, else of the partner."""
    if name := call.get("userKey"):
        return user_key_of(site, name, call).secrets
    if not site.partner_secret_authenticates:
        raise Refusal(403010, "The partner secret is not accepted for authentication any more")
    return site.partner_secrets


def check_time(site: Site, at: float, now: float) -> None:
    """Refuse with 403002 what was made too long ago, or too far ahead."""
    if abs(now - at) > site.clock_window:
        raise Refusal(403002, "Request has expired")


def _plain(call: Call, site: Site, _: Desk) -> Authenticated:
    if not call.is_secure:
        raise Refusal(403006, "The secret may only be sent over HTTPS")
    if call.get("secret") not in secrets_of(site, call):
        raise Refusal(403010, "Invalid secret")
    return Authenticated(site=site, way="user_key" if call.get("userKey") else "partner_secret")


def _signed(call: Call, site: Site, desk: Desk) -> Authenticated:
    timestamp, nonce, sig = call.need("timestamp"), call.need("nonce"), call.need("sig")
    if not (timestamp.isascii() and timestamp.isdigit()):
        raise Refusal(400006, "Invalid parameter value : timestamp")
    secrets = secrets_of(site, call)
    text = signing.base_string(call.http_method, call.url, call.parameters)
    expected = [signing.sign(text, secret) for secret in secrets]
    if not any(signing.same(sig, each) for each in expected):
        raise Refusal(403003, "Signature mismatch", baseString=text, expectedSignature=expected[0])
    check_time(site, int(timestamp), desk.now)
    until = int(timestamp) + site.clock_window
    desk.once.use(site.api_key, nonce, now=desk.now, until=until)
    return Authenticated(site=site, way="user_key_signed" if call.get("userKey") else "signed")


def _bearer(call: Call, site: Site, desk: Desk) -> Authenticated:
    if not call.is_secure:
        raise Refusal(400001, "Bearer authorization needs HTTPS")
    token = bearer.read(_credential(call)[1])
    key = user_key_of(site, token.kid, call)
    if not any(token.is_signed_by(public_key) for public_key in key.public_keys):
        raise Refusal(403003, "The token's signature does not verify")
    check_time(site, token.iat, desk.now)
    until = token.iat + site.clock_window
    desk.once.use(key.user_key, token.jti, now=desk.now, until=until)
    return Authenticated(site=site, way="bearer")


def _oauth(call: Call, world: World, desk: Desk) -> Authenticated:
    if not call.is_secure:
        raise Refusal(403025, "An access token may only be sent over HTTPS")
    grant = desk.tokens.redeem(access_token(call) or "", desk.now)
    site = world.sites[grant.api_key]
    if call.get("apiKey") not in {None, site.api_key}:
        raise Refusal(403025, "The access token is of another site")
    return Authenticated(site=site, way="oauth2", uid=grant.uid)


def access_token(call: Call) -> str | None:
    """Return the OAuth 2 access token that a call carries, in either of its two places."""
    in_header = _credential(call)[0] in {"oauth", "bearer"} and not _shows_jwt(call)
    return call.get("oauth_token") or (_credential(call)[1] if in_header else None)


def _credential(call: Call) -> tuple[str, str]:
    scheme, _, credential = call.headers.get("authorization", "").partition(" ")
    return scheme.lower(), credential.strip()


def _shows_jwt(call: Call) -> bool:
    scheme, credential = _credential(call)
    return scheme == "bearer" and credential.count(".") == 2  # noqa: PLR2004  # a JWT's dots


_SHOWS: Final[Mapping[str, Callable[[Call], bool]]] = {
    "secret": lambda call: call.get("secret") is not None,
    "sig": lambda call: call.get("sig") is not None,
    "bearer": _shows_jwt,
    "oauth": lambda call: access_token(call) is not None,
}
_WAYS: Final[Mapping[str, Callable[[Call, Site, Desk], Authenticated]]] = {
    "secret": _plain,
    "sig": _signed,
    "bearer": _bearer,
}
