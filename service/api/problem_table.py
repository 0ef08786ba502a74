"""What each error is to a caller (RFC 9457), and what callers and operators do about it.

The README's table and the OpenAPI document are made from this one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from service.errors import (
    AccessDenied,
    AuditUnavailable,
    AuthenticationUnavailable,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NoSession,
    NotFound,
    Overloaded,
    RateLimited,
    ReauthenticationRequired,
    RequestTimeout,
    RequestTooLarge,
    ServiceError,
    ShuttingDown,
    TokenExpiring,
    Unauthenticated,
    Undecryptable,
    UnknownProvider,
    UnsupportedMediaType,
    UpstreamBusy,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """How an error looks to the caller.

    ``is_retryable``: the same request can succeed later, nothing else having been changed.
    ``retry_after`` is told, in seconds, where the error itself does not know better.
    """

    status: HTTPStatus
    title: str
    is_retryable: bool = False
    retry_after: int | None = None
    caller: str
    operator: str


PROBLEMS: Final[Mapping[type[ServiceError], Problem]] = {
    InvalidRequest: Problem(
        status=HTTPStatus.BAD_REQUEST,
        title="The request is not well-formed",
        caller="Correct the request; detail says what is wrong.",
        operator="Nothing.",
    ),
    UnknownProvider: Problem(
        status=HTTPStatus.BAD_REQUEST,
        title="The mapping has no such provider",
        caller="Take the name from GET /v1/providers; case is exact.",
        operator="Give SAML, OIDC and unmapped providers a row under the site's providers.",
    ),
    Unauthenticated: Problem(
        status=HTTPStatus.UNAUTHORIZED,
        title="No credential proves who is calling",
        caller="Get a fresh credential for this service's audience; send exactly one.",
        operator="Look the audit_id up in the audit record: it holds the true reason.",
    ),
    AccessDenied: Problem(
        status=HTTPStatus.FORBIDDEN,
        title="No grant allows this",
        caller="Read missing, compare with GET /v1/grants, and ask the operator for the grant.",
        operator="Run explain for this caller, site and provider; change callers if it is right.",
    ),
    NoSession: Problem(
        status=HTTPStatus.NOT_FOUND,
        title="The user has no session with this provider",
        caller="Let the user connect the provider first.",
        operator="Nothing; many of them at once suggest a wrong site or a wrong kind of UID.",
    ),
    NotFound: Problem(
        status=HTTPStatus.NOT_FOUND,
        title="There is no such route",
        caller="Correct the path; GET /openapi.json lists all.",
        operator="Nothing.",
    ),
    MethodNotAllowed: Problem(
        status=HTTPStatus.METHOD_NOT_ALLOWED,
        title="The route has other methods",
        caller="Use a method that Allow lists.",
        operator="Nothing.",
    ),
    RequestTimeout: Problem(
        status=HTTPStatus.REQUEST_TIMEOUT,
        title="The request did not arrive in time",
        is_retryable=True,
        caller="Send the whole request at once; try again.",
        operator="If there are many, look at the network between callers and this service.",
    ),
    ReauthenticationRequired: Problem(
        status=HTTPStatus.CONFLICT,
        title="The user must log in with the provider again",
        caller="Let the user log in with the provider again; do not retry before.",
        operator="Nothing; a sudden rise means that the provider revoked the site's tokens.",
    ),
    TokenExpiring: Problem(
        status=HTTPStatus.CONFLICT,
        title="The token expires too soon",
        caller="Let the user log in again, or ask with a smaller min_ttl.",
        operator="Nothing.",
    ),
    RequestTooLarge: Problem(
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        title="The request is too large",
        caller="Send less; context is the only member that can be long.",
        operator="Nothing.",
    ),
    UnsupportedMediaType: Problem(
        status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        title="The body is not declared as JSON",
        caller="Send one header Content-Type: application/json.",
        operator="Nothing.",
    ),
    RateLimited: Problem(
        status=HTTPStatus.TOO_MANY_REQUESTS,
        title="A limit is reached",
        is_retryable=True,
        retry_after=1,
        caller="Wait as Retry-After says; ask for fewer users, or less often.",
        operator="Find out whether the caller is stolen or has grown; raise limits only then.",
    ),
    InternalError: Problem(
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        title="This service has a fault",
        caller="Report the audit_id; do not retry in a loop.",
        operator="Find the traceback in the log by the audit_id, and report the bug.",
    ),
    UpstreamRejected: Problem(
        status=HTTPStatus.BAD_GATEWAY,
        title="Gigya refuses this service",
        caller="Nothing: the operator must act.",
        operator=(
            "Page someone: credentials, rights or configuration of the site at Gigya are wrong; "
            "the record holds Gigya's code; run check --live."
        ),
    ),
    UpstreamInvalid: Problem(
        status=HTTPStatus.BAD_GATEWAY,
        title="Gigya's reply makes no sense",
        caller="Report the audit_id.",
        operator="Run check --live; if expiries are relative at this site, say so in its settings.",
    ),
    Undecryptable: Problem(
        status=HTTPStatus.BAD_GATEWAY,
        title="Gigya's reply cannot be decrypted",
        caller="Report the audit_id.",
        operator="Mount the site's current partner secret, newest first; run check --live.",
    ),
    UpstreamUnavailable: Problem(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="Gigya is not available",
        is_retryable=True,
        retry_after=5,
        caller="Try again as Retry-After says, with jitter.",
        operator="Look at Gigya's status, the proxy and the breaker; there is no need to restart.",
    ),
    UpstreamBusy: Problem(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="Gigya asks for fewer requests",
        is_retryable=True,
        retry_after=2,
        caller="Try again as Retry-After says, with jitter.",
        operator="Compare all replicas' rate with the contract's; lower upstream.concurrency.",
    ),
    Overloaded: Problem(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="This replica has too much to do",
        is_retryable=True,
        retry_after=1,
        caller="Try again as Retry-After says, with jitter.",
        operator="Add replicas if Gigya is fast; look at Gigya if it is slow.",
    ),
    AuditUnavailable: Problem(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="The audit record cannot be written",
        is_retryable=True,
        retry_after=2,
        caller="Try again as Retry-After says; nothing was released.",
        operator="Page someone: a disk is full or a socket closed; sinks then heal by themselves.",
    ),
    AuthenticationUnavailable: Problem(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="The credential cannot be checked now",
        is_retryable=True,
        retry_after=2,
        caller="Keep the credential and try again as Retry-After says.",
        operator="Look at the issuer or the API server, and at the way there.",
    ),
    ShuttingDown: Problem(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="This replica is shutting down",
        is_retryable=True,
        retry_after=1,
        caller="Try again at once, on a new connection.",
        operator="Nothing; if it reaches callers, raise shutdown.delay.",
    ),
    UpstreamTimeout: Problem(
        status=HTTPStatus.GATEWAY_TIMEOUT,
        title="Gigya did not answer in time",
        is_retryable=True,
        retry_after=1,
        caller="Try again, or allow more time in Request-Timeout.",
        operator="Look at Gigya's latency; compare with upstream.deadline.",
    ),
}

BEFORE: Final[Mapping[HTTPStatus, type[ServiceError]]] = {
    HTTPStatus.BAD_REQUEST: InvalidRequest,
    HTTPStatus.REQUEST_TIMEOUT: RequestTimeout,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: RequestTooLarge,
}
"""What is answered to what never became a request, by the status that HTTP wants for it."""
