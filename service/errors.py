"""The one hierarchy of what can go wrong with a request; it knows no HTTP.

Each leaf has a ``code`` that callers see. ``detail`` is a sentence for the caller, made of our own
words and configured names, never of input values. ``reason`` is the true cause as a slug, for the
audit record alone.
"""

from enum import StrEnum
from typing import ClassVar, Self

from service.model import Exchange, Identity


class Missing(StrEnum):
    """What stands between a caller and a release."""

    SITE = "site"
    PROVIDER = "provider"
    FIELD = "field"
    USER_PROOF = "user-proof"
    BLOCKED = "blocked"


class ServiceError(Exception):
    """A request that ends without a release."""

    code: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        reason: str | None = None,
        retry_after: float | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason if reason is not None else self.code
        self.retry_after = retry_after
        """Seconds after which asking again can help."""
        self.exchange = exchange

    def again(self) -> Self:
        """Return a copy to raise elsewhere: several requests may share one failure."""
        copy = type(self).__new__(type(self), *self.args)
        copy.__dict__.update(self.__dict__)
        return copy


class InvalidRequest(ServiceError):
    """The request is not what the contract says."""

    code = "invalid-request"


class UnknownProvider(ServiceError):
    """No row of the mapping has that provider."""

    code = "unknown-provider"


class RequestTimeout(ServiceError):
    """The caller did not send its request in time."""

    code = "request-timeout"


class RequestTooLarge(ServiceError):
    """The body is over its cap."""

    code = "request-too-large"


class UnsupportedMediaType(ServiceError):
    """The body is not JSON in UTF-8."""

    code = "unsupported-media-type"


class Unauthenticated(ServiceError):
    """No credential proves who is calling; outwardly all reasons look the same."""

    code = "unauthenticated"

    def __init__(self, reason: str, *, identity: Identity | None = None) -> None:
        super().__init__("No credential was given that proves who is calling.", reason=reason)
        self.identity = identity
        """What was proved, where no caller has it; for the audit record alone."""


class AuthenticationUnavailable(ServiceError):
    """Who vouches for the credential is away; the credential may be good."""

    code = "authentication-unavailable"


class AccessDenied(ServiceError):
    """No grant allows this."""

    code = "access-denied"

    def __init__(self, detail: str, *, missing: Missing, reason: str | None = None) -> None:
        super().__init__(detail, reason=reason or f"missing-{missing}")
        self.missing = missing


class NotFound(ServiceError):
    """There is no such route."""

    code = "not-found"


class MethodNotAllowed(ServiceError):
    """The route has other methods."""

    code = "method-not-allowed"

    def __init__(self, detail: str, *, allow: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.allow = allow


class NoSession(ServiceError):
    """Gigya knows no such user, or the user is not connected to that provider."""

    code = "no-session"


class ReauthenticationRequired(ServiceError):
    """The user must log in with the provider again."""

    code = "reauthentication-required"


class TokenExpiring(ServiceError):
    """The token lives, but not as long as was asked."""

    code = "token-expiring"


class RateLimited(ServiceError):
    """The caller is over one of its limits."""

    code = "rate-limited"


class InternalError(ServiceError):
    """A fault of ours."""

    code = "internal-error"


class UpstreamRejected(ServiceError):
    """Gigya refuses our credentials, rights or configuration."""

    code = "upstream-rejected"


class UpstreamInvalid(ServiceError):
    """Gigya's reply is not what its documentation says."""

    code = "upstream-invalid"


class Undecryptable(ServiceError):
    """No partner secret opens what Gigya sealed."""

    code = "undecryptable"


class UpstreamUnavailable(ServiceError):
    """Gigya is away or failing."""

    code = "upstream-unavailable"


class UpstreamBusy(ServiceError):
    """Gigya asks us to slow down."""

    code = "upstream-busy"


class UpstreamTimeout(ServiceError):
    """Gigya did not answer in time."""

    code = "upstream-timeout"


class Overloaded(ServiceError):
    """We have more work than we accept."""

    code = "overloaded"


class AuditUnavailable(ServiceError):
    """The record could not be written, so nothing is released."""

    code = "audit-unavailable"


class ShuttingDown(ServiceError):
    """This process takes no new work."""

    code = "shutting-down"


def leaves(error: type[ServiceError] = ServiceError) -> set[type[ServiceError]]:
    """Return the classes that have no subclass: each has a problem of its own."""
    children = error.__subclasses__()
    return {error} if not children else set().union(*map(leaves, children))
