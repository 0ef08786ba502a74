"""What Gigya answers: the envelope, and what each of its codes means for the caller and for us.

Source: facts.md §1.4, §1.5 and §5; which error a code becomes is design.md's contract.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from service import errors
from service.errors import ServiceError, UpstreamInvalid, UpstreamRejected
from service.gigya.sites import BY_DOMAIN
from service.model import Exchange
from service.secret import Secret
from service.strict_json import NotStrictJson, loads
from service.values import value


class Verdict(StrEnum):
    """What another attempt needs, if one can help at all."""

    NEVER = "never"
    RESYNC = "resync"
    RENONCE = "renonce"
    RENEW_TOKEN = "renew_token"  # noqa: S105  # a verdict's name
    BACK_OFF = "back_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """One code: Gigya's name, our error, what another attempt needs, and what to do about it."""

    name: str
    error: type[ServiceError]
    verdict: Verdict
    advice: str


@value(kw_only=False, eq=False)
class Reply:
    """What is kept of a reply; ``expectedSignature`` and ``baseString`` never are.

    ``ignored`` names the parameters that Gigya did not take; ``fields`` holds what is not empty,
    as it came, sealed or not, and nothing where ``error_code`` is not 0; ``api_domain`` is the
    domain that 301001 names, if the table of data centers has it.
    """

    error_code: int
    call_id: str | None = None
    ignored: tuple[str, ...] = ()
    context: str | None = field(default=None, repr=False)
    fields: Mapping[str, Secret[str]] = field(default_factory=dict)
    api_domain: str | None = None


class MalformedReply(ValueError):
    """The body is no reply of Gigya's; says why, quoting nothing."""


WANTED: Final = (
    "authToken", "tokenSecret", "tokenExpiration", "tokenExpirationUTC", "sessionHandle",
    "sessionExpiration", "sessionExpirationUTC", "IV", "providerUID", "timestamp", "providerUIDSig"
)  # fmt: skip
"""The fields of session info that are kept; ``sessionExpirationUTC`` is a guess by analogy."""

_MOST_IGNORED: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

WRONG_DATA_CENTER: Final = 301001
RETRY_AFTER: Final[Mapping[type[ServiceError], float]] = {
    errors.UpstreamBusy: 5.0,
    errors.UpstreamUnavailable: 2.0,
    errors.UpstreamTimeout: 2.0,
}
"""Seconds after which a caller may ask again; Gigya states none, so these are ours."""

_Row = tuple[type[ServiceError], Verdict, str, dict[int, str]]
_ROWS: Final[tuple[_Row, ...]] = (
    (errors.NoSession, Verdict.NEVER,
     "The site has no such user, or the user is not connected to that provider.",
     {403005: "Unauthorized user", 404000: "Not found", 404003: "UID not found",
      400106: "Not connected"}),
    (errors.ReauthenticationRequired, Verdict.NEVER,
     "The user must log in with the provider again.",
     {403009: "Provider session expired", 403011: "Session has expired",
      403012: "No valid session", 403017: "Unexpected provider user",
      500014: "Session migration error"}),
    (errors.ReauthenticationRequired, Verdict.NEVER,
     "The user must log in with the provider again and grant the permission.",
     {403022: "Permission not requested", 403023: "No user permission"}),
    (errors.UnknownProvider, Verdict.NEVER, "It has no session info for that provider.",
     {400096: "Not supported"}),
    (errors.UpstreamBusy, Verdict.BACK_OFF, "Ask again later, and less often.",
     {403024: "Provider limit reached", 403048: "API rate limit exceeded",
      409030: "Too many requests for the same user"}),
    (errors.UpstreamUnavailable, Verdict.BACK_OFF,
     "Gigya, or the provider behind it, is failing: ask again later.",
     {100001: "Data pending", 500001: "General server error", 500023: "Provider error",
      500028: "Database error", 500034: "Backend operation error"}),
    (errors.UpstreamTimeout, Verdict.BACK_OFF, "Gigya ran out of time: ask again later.",
     {504001: "Timeout", 504002: "Request timeout"}),
    (UpstreamRejected, Verdict.NEVER,
     "The API key lives in another data center: look it up in Gigya's console.",
     {WRONG_DATA_CENTER: "Invalid data center"}),
    (UpstreamRejected, Verdict.RESYNC,
     "The clock of this host is off, or the credential has expired.",
     {403002: "Request has expired"}),
    (UpstreamRejected, Verdict.RENONCE, "A nonce was used twice.", {403004: "Duplicate nonce"}),
    (UpstreamRejected, Verdict.RENEW_TOKEN,
     "The access token is refused, a new one too: check the site's OAuth 2 credentials.",
     {403025: "Invalid token"}),
    (UpstreamRejected, Verdict.NEVER,
     "Check the site's API key, user key and secret: this one is wrong or switched off.",
     {400008: "Invalid authentication header", 400093: "Invalid apiKey parameter",
      403003: "Invalid request signature", 403010: "Invalid secret", 403041: "Account disabled"}),
    (UpstreamRejected, Verdict.NEVER,
     "Give the site's user key or application key the right to call this method.",
     {403000: "Forbidden", 403001: "Unlisted refusal", 403007: "Permission denied",
      403026: "Unauthorized access error", 403035: "No user cookie",
      403036: "Unauthorized partner"}),
    (UpstreamRejected, Verdict.NEVER, "A secret must travel over TLS: check the site's address.",
     {403006: "Secret sent over HTTP"}),
    (UpstreamRejected, Verdict.NEVER,
     "The site's application at the provider is missing or misconfigured in Gigya's console.",
     {400122: "Provider configuration error", 500003: "Default application configuration",
      500031: "No provider application"}),
    (UpstreamRejected, Verdict.NEVER,
     "The request does not suit the site: compare its configuration with Gigya's console.",
     {400001: "Invalid request format", 400002: "Missing required parameter",
      400003: "Unique identifier exists", 400004: "Invalid parameter format",
      400006: "Invalid parameter value", 400007: "Duplicate value",
      400011: "Invalid redirect URI", 400012: "Invalid response type",
      400013: "Unsupported grant type", 400014: "Invalid grant", 400015: "Code has expired",
      400030: "Operation not allowed", 400120: "Invalid site domain",
      403008: "Invalid OpenID URL", 403015: "Missing request referrer",
      403042: "Invalid login id", 403043: "Login id exists", 403047: "Unknown login id",
      403120: "Account temporarily locked out", 405001: "Invalid API method",
      500002: "Server login error"}),
    (UpstreamInvalid, Verdict.NEVER, "That is no answer to a request for session info.",
     {200001: "Operation canceled", 200003: "Permission not granted", 200008: "OK with errors",
      500000: "General security warning", 500033: "Invalid environment configuration"}),
    (UpstreamInvalid, Verdict.BACK_OFF, "That is no answer to a request for session info.",
     {500026: "Network error"}),
)  # fmt: skip

CODES: Final[Mapping[int, Meaning]] = MappingProxyType({
    code: Meaning(name=name, error=error, verdict=verdict, advice=advice)
    for error, verdict, advice, names in _ROWS
    for code, name in names.items()
})  # fmt: skip
"""Every code that facts.md §5 lists; the names of 400011-400015 and 40304x are ours."""


def parse(body: bytes) -> Reply:
    """Return the reply in ``body``; success is ``error_code`` 0. Raises ``MalformedReply``."""
    try:
        document = loads(body)
    except NotStrictJson as error:
        raise MalformedReply(str(error)) from error  # neither holds the body
    if not isinstance(document, dict):
        raise MalformedReply("it is not a JSON object")
    code = document.get("errorCode")
    # type(), because true is an int, and 0.0 and "0" are not what the documents promise.
    if type(code) is not int or not 0 <= code <= 999_999:  # noqa: PLR2004  # six digits, §5
        raise MalformedReply("it has no errorCode of up to six digits")
    context = document.get("context")
    return Reply(
        code,
        _name(document.get("callId")),
        _ignored(document["ignoredParams"]) if "ignoredParams" in document else (),
        context if context is None or isinstance(context, str) else _text(context),
        _fields(document) if code == 0 else {},
        _api_domain(document) if code == WRONG_DATA_CENTER else None,
    )


def verdict_of(code: int) -> Verdict:
    """Return what another attempt after ``code`` needs."""
    return CODES[code].verdict if code in CODES else Verdict.NEVER


def failure(reply: Reply, exchange: Exchange) -> ServiceError:
    """Return the error that ``reply`` means; with code 0 it is that ``authToken`` is missing."""
    code = reply.error_code
    if code == 0:
        detail = "Gigya answered with success, but without authToken."
        return UpstreamInvalid(detail, reason="gigya-no-auth-token", exchange=exchange)
    meaning = CODES.get(code)
    if meaning is None:
        detail = "Gigya answered with a code that its documentation does not list."
        return UpstreamInvalid(detail, reason="gigya-unlisted-code", exchange=exchange)
    return meaning.error(
        f"Gigya answered {code} ({meaning.name}). {_where(reply) or meaning.advice}",
        reason=f"gigya-{code}",
        retry_after=RETRY_AFTER.get(meaning.error),
        exchange=exchange,
    )


def _where(reply: Reply) -> str | None:
    if reply.api_domain is None:
        return None
    return f"The API key lives in data center {BY_DOMAIN[reply.api_domain].name}: configure that."


def _fields(document: Mapping[str, Any]) -> Mapping[str, Secret[str]]:
    fields = {}
    for name in filter(document.__contains__, WANTED):  # of most replies that is half of them
        given = document[name]
        if text := given if isinstance(given, str) else _text(given):
            fields[name] = Secret(text)
    return fields


def _text(value: Any) -> str | None:
    """Return a member that is no text as one.

    A number is what some servers make of digits; null is absent.
    """
    if type(value) is int:
        return str(value)
    if value is None:
        return None
    raise MalformedReply("one of its fields is not a string")


def _name(value: Any) -> str | None:
    """Return what may stand in a log: a name of harmless characters, or nothing."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def _ignored(value: Any) -> tuple[str, ...]:
    # Advice of the server's: what is malformed in it costs the advice, not the session.
    if not isinstance(value, list):
        return ()
    names = [_name(row.get("paramName")) for row in value[:_MOST_IGNORED] if isinstance(row, dict)]
    return tuple([name for name in names if name is not None])


def _api_domain(document: Mapping[str, Any]) -> str | None:
    value = document.get("apiDomain")
    domain = value.lower() if isinstance(value, str) else None
    return domain if domain in BY_DOMAIN else None
