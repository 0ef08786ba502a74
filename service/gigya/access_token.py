"""The OAuth 2 access token of one set of credentials: asked for once, shared, renewed in time.

Source: facts.md §3d (socialize.getToken); RFC 6749 §5.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.deadline import Clock, Deadline
from service.errors import UpstreamRejected, UpstreamUnavailable
from service.gigya.attempts import read
from service.gigya.replies import Verdict
from service.gigya.troubles import Result, Trouble, Troubled, of_outbound, of_status
from service.outbound import Answer, TimedOut
from service.secret import Secret
from service.strict_json import NotStrictJson, loads

METHOD: Final = "socialize.getToken"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Issued:
    """A fresh token and the seconds it lives; ``None``: Gigya says that it never expires."""

    token: Secret[str]
    life: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Held:
    token: Secret[str]
    until: float


class AccessToken:
    """One token, kept ``max_age`` seconds at most and never into the last ``margin`` of its life.

    ``ask`` gets a new one or raises ``Troubled``. It runs as a flight of its own, with
    ``patience`` seconds, so that a waiter who goes away takes nothing from the others.
    """

    def __init__(
        self,
        ask: Callable[[Deadline], Awaitable[Issued]],
        *,
        clock: Clock,
        max_age: float = 3600.0,
        margin: float = 30.0,
        patience: float = 10.0,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._max_age = max_age
        self._margin = margin
        self._patience = patience
        self._held: _Held | None = None
        self._flight: asyncio.Task[Secret[str] | Troubled] | None = None

    async def get(self, deadline: Deadline) -> Secret[str]:
        """Return a token that should still be good; raises ``Troubled``."""
        if self._held is not None and self._clock.monotonic() < self._held.until:
            return self._held.token
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._renew())
        return await _landed(self._flight, deadline)

    def reject(self, token: Secret[str]) -> None:
        """Forget ``token``, which Gigya refused; one that replaced it meanwhile stays."""
        if self._held is not None and self._held.token is token:
            self._held = None

    async def aclose(self) -> None:
        """End a flight that is under way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait({self._flight})

    async def _renew(self) -> Secret[str] | Troubled:
        try:
            issued = await self._ask(Deadline.after(self._patience, self._clock))
        except Troubled as error:
            return error.with_traceback(None)
        life = self._max_age if issued.life is None else issued.life - self._margin
        until = self._clock.monotonic() + min(self._max_age, life)
        self._held = _Held(token=issued.token, until=until)
        return issued.token


async def _landed(
    flight: "asyncio.Task[Secret[str] | Troubled]", deadline: Deadline
) -> Secret[str]:
    # wait() leaves the flight alone when this waiter is cancelled or out of time.
    done, _ = await asyncio.wait({flight}, timeout=deadline.remaining())
    if not done or flight.cancelled():
        raise Troubled(of_outbound(TimedOut(sent=False)))
    outcome = flight.result()
    if isinstance(outcome, Troubled):
        raise Troubled(outcome.trouble)
    return outcome


def issued(answer: Answer) -> Issued:
    """Return the token in ``answer``; raises ``Troubled`` for errors of OAuth's and of Gigya's."""
    document = _document(answer)
    if type(document.get("error")) is str:
        raise Troubled(_of_oauth(document["error"]))
    token, life = document.get("access_token"), document.get("expires_in")
    if type(token) is str and token and _is_life(life):
        return Issued(token=Secret(token), life=None if life is None else float(life))
    read(answer)  # an error in Gigya's own words
    raise Troubled(of_status(answer))


def _document(answer: Answer) -> Mapping[str, Any]:
    try:
        document = loads(answer.body)
    except NotStrictJson:
        document = None
    if not isinstance(document, dict):
        raise Troubled(of_status(answer))
    return document


_MOST_DIGITS: Final = 12


def _is_life(value: Any) -> bool:
    """Whether it is absent or seconds above zero, as a number or as digits (some servers)."""
    digits = "1" if value is None else str(value) if type(value) in {int, str} else ""
    return len(digits) <= _MOST_DIGITS and digits.isascii() and digits.isdigit() and int(digits) > 0


_REFUSED: Final = Trouble(
    error=UpstreamRejected,
    reason="oauth-error",
    result=Result.REJECTED,
    detail="Gigya gives no access token for what is configured.",
)
_OAUTH: Final[Mapping[str, Trouble]] = {
    error: Trouble(
        error=kind,
        reason=f"oauth-{error}",
        result=result,
        detail=f"Gigya gives no access token: {error}.",
        verdict=verdict,
    )
    for error, kind, result, verdict in (
        ("invalid_client", UpstreamRejected, Result.CREDENTIALS_REJECTED, Verdict.NEVER),
        ("unauthorized_client", UpstreamRejected, Result.CREDENTIALS_REJECTED, Verdict.NEVER),
        ("access_denied", UpstreamRejected, Result.CREDENTIALS_REJECTED, Verdict.NEVER),
        ("invalid_grant", UpstreamRejected, Result.CREDENTIALS_REJECTED, Verdict.NEVER),
        ("invalid_request", UpstreamRejected, Result.REJECTED, Verdict.NEVER),
        ("unsupported_grant_type", UpstreamRejected, Result.REJECTED, Verdict.NEVER),
        ("server_error", UpstreamUnavailable, Result.DOWN, Verdict.BACK_OFF),
        ("temporarily_unavailable", UpstreamUnavailable, Result.DOWN, Verdict.BACK_OFF),
    )
}
"""RFC 6749 §4.1.2.1 and §5.2; ``error_description`` is never quoted."""


def _of_oauth(error: str) -> Trouble:
    return _OAUTH.get(error, _REFUSED)
