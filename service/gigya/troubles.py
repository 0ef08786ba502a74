"""Every way an attempt at Gigya can bring nothing: its name, its count, what another needs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from service.errors import (
    NoSession,
    ReauthenticationRequired,
    ServiceError,
    UpstreamBusy,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from service.gigya.replies import Reply, Verdict, failure, verdict_of
from service.model import Exchange
from service.outbound import (
    Answer,
    BrokenReply,
    EncodedBody,
    OutboundError,
    TimedOut,
    TooLarge,
    Unreachable,
)


class Result(StrEnum):
    """How one attempt is counted; a closed set."""

    OK = "ok"
    NO_SESSION = "no_session"
    REAUTHENTICATE = "reauthenticate"
    CREDENTIALS_REJECTED = "credentials_rejected"
    CLOCK = "clock"
    NONCE = "nonce"
    TOKEN = "token"  # noqa: S105  # a label
    REJECTED = "rejected"
    RATE_LIMITED = "rate_limited"
    MALFORMED = "malformed"
    TIMEOUT = "timeout"
    DOWN = "down"


CREDENTIAL_CODES: Final = frozenset({400008, 403000, 403003, 403007, 403010})
"""Codes that another authentication slot can cure: a bad header, no right, a wrong signature,
a key without the right (a fresh user key often has none yet), a wrong secret or unknown key.

Not among them: 400093 (both slots share the API key), 403005 (speaks of the UID), 403006 (both
travel the same way), 403036 and 403041 (the partner's contract).
"""

_BY_VERDICT: Final[Mapping[Verdict, Result]] = {
    Verdict.RESYNC: Result.CLOCK,
    Verdict.RENONCE: Result.NONCE,
    Verdict.RENEW_TOKEN: Result.TOKEN,
}
_BY_ERROR: Final[Mapping[type[ServiceError], Result]] = {
    NoSession: Result.NO_SESSION,
    ReauthenticationRequired: Result.REAUTHENTICATE,
    UpstreamBusy: Result.RATE_LIMITED,
    UpstreamInvalid: Result.MALFORMED,
    UpstreamTimeout: Result.TIMEOUT,
    UpstreamUnavailable: Result.DOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trouble:
    """Why an attempt brought nothing: how it counts, what another needs, what the caller is told.

    ``retry_after`` is seconds that the peer asked us to wait; ``date`` its ``Date`` header. Where
    Gigya itself answered there is a ``reply``, and ``replies.failure`` has the words.
    """

    error: type[ServiceError]
    reason: str
    result: Result
    detail: str = ""
    verdict: Verdict = Verdict.NEVER
    retry_after: float | None = None
    date: str | None = None
    reply: Reply | None = None

    def as_error(self, exchange: Exchange) -> ServiceError:
        """Return what the request ends with."""
        if self.reply is not None:
            return failure(self.reply, exchange)
        return self.error(
            self.detail, reason=self.reason, retry_after=self.retry_after, exchange=exchange
        )


class Troubled(Exception):
    """An attempt that brought nothing; holds nothing that was sent."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.reason)
        self.trouble = trouble


def of_reply(reply: Reply, answer: Answer) -> Trouble:
    """Return the trouble that Gigya names by a code other than 0."""
    error, verdict = type(failure(reply, Exchange())), verdict_of(reply.error_code)
    return Trouble(
        error=error,
        reason=f"gigya-{reply.error_code}",
        result=_result(reply.error_code, error, verdict),
        verdict=verdict,
        retry_after=_seconds(answer),
        date=answer.headers.get("date"),
        reply=reply,
    )


def of_status(answer: Answer) -> Trouble:
    """Return the trouble of an answer that is no reply of Gigya's, by its status."""
    trouble = _STATUSES.get(answer.status) or _FAMILIES.get(answer.status // 100, _STRANGER)
    return replace(trouble, retry_after=_seconds(answer))


def of_outbound(error: OutboundError) -> Trouble:
    """Return the trouble of a request that brought no answer."""
    if isinstance(error, Unreachable):
        verdict = Verdict.NEVER if error.reason in _HOPELESS else Verdict.BACK_OFF
        return replace(_UNREACHABLE, reason=f"unreachable-{error.reason}", verdict=verdict)
    return _OUTBOUND[type(error)]


def _result(code: int, error: type[ServiceError], verdict: Verdict) -> Result:
    if code in CREDENTIAL_CODES:
        return Result.CREDENTIALS_REJECTED
    return _BY_VERDICT.get(verdict) or _BY_ERROR.get(error, Result.REJECTED)


_MOST_DIGITS: Final = 6


def _seconds(answer: Answer) -> float | None:
    """Return ``Retry-After`` where it is seconds (RFC 9110 §10.2.3); Gigya documents none."""
    value = answer.headers.get("retry-after", "")
    is_seconds = value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
    return float(value) if is_seconds else None


_STRANGER: Final = Trouble(
    error=UpstreamInvalid,
    reason="not-gigya",
    result=Result.MALFORMED,
    detail="Something that is not Gigya answered in its place.",
)
_MALFORMED: Final = Trouble(
    error=UpstreamInvalid,
    reason="malformed-reply",
    result=Result.MALFORMED,
    detail="Gigya's reply cannot be read.",
    verdict=Verdict.BACK_OFF,
)
_GATEWAY: Final = Trouble(
    error=UpstreamUnavailable,
    reason="gateway-error",
    result=Result.DOWN,
    detail="A gateway answered that Gigya is not available.",
    verdict=Verdict.BACK_OFF,
)
_REDIRECT: Final = Trouble(
    error=UpstreamInvalid,
    reason="redirect",
    result=Result.MALFORMED,
    detail="Gigya's address answers with a redirect, which is never followed.",
)
_SLOW_DOWN: Final = Trouble(
    error=UpstreamBusy,
    reason="http-429",
    result=Result.RATE_LIMITED,
    detail="Gigya asks us to slow down.",
    verdict=Verdict.BACK_OFF,
)
_STATUSES: Final[Mapping[int, Trouble]] = {408: _GATEWAY, 429: _SLOW_DOWN}
_FAMILIES: Final[Mapping[int, Trouble]] = {2: _MALFORMED, 3: _REDIRECT, 5: _GATEWAY}

_HOPELESS: Final = frozenset({"tls", "bad-url"})
"""Stages at which another attempt meets the same wall."""

_UNREACHABLE: Final = Trouble(
    error=UpstreamUnavailable,
    reason="unreachable",
    result=Result.DOWN,
    detail="Gigya cannot be reached.",
)
_OUTBOUND: Final[Mapping[type[OutboundError], Trouble]] = {
    TimedOut: Trouble(
        error=UpstreamTimeout,
        reason="timeout",
        result=Result.TIMEOUT,
        detail="Gigya did not answer in time.",
    ),
    TooLarge: replace(_STRANGER, reason="too-large", detail="Gigya's reply is over the cap."),
    EncodedBody: replace(
        _STRANGER,
        reason="encoded-body",
        detail="Gigya's reply is encoded, which was not asked for.",
    ),
    BrokenReply: replace(_MALFORMED, reason="broken-reply", detail="Gigya's reply broke off."),
}
