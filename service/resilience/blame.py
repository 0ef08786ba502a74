"""Whom a failed call speaks of: one session, one provider, Gigya itself, or us."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from service.errors import (
    ServiceError,
    UpstreamBusy,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from service.gigya.troubles import CREDENTIAL_CODES


class Blame(StrEnum):
    """What the next calls have to fear after a failed one."""

    NOBODY = "nobody"
    """Gigya answered, whatever it said of the user."""
    SESSION = "session"
    """Gigya wants less to be asked about this one user."""
    PROVIDER = "provider"
    """The network behind Gigya fails, and Gigya does not."""
    OUTAGE = "outage"
    """Gigya is away, or the way to it."""
    PAUSE = "pause"
    """Gigya asks all of us to slow down."""
    RIGHTS = "rights"
    """Gigya refuses us, or only what this one session needs."""
    CREDENTIALS = "credentials"
    """Gigya refuses us, whoever is asked about."""


RIGHTS: Final = frozenset({403000, 403007, 403041})
"""No right, no permission, account disabled: of the site's key, or of the one user."""

OF_THE_SITE: Final = frozenset({301001, 400093, 403002, 403004, 403006, 403025, 403036})
"""Refusals of us that another authentication slot does not cure: data center, API key, clock,
nonce, transport, token, contract. After their own cures have failed they are nobody else's."""

BY_CODE: Final[Mapping[int, Blame]] = {
    **dict.fromkeys((CREDENTIAL_CODES - RIGHTS) | OF_THE_SITE, Blame.CREDENTIALS),
    **dict.fromkeys(RIGHTS, Blame.RIGHTS),
    403024: Blame.PROVIDER,
    403048: Blame.PAUSE,
    409030: Blame.SESSION,
    500023: Blame.PROVIDER,
}
"""Gigya's codes that are not simply what ``BY_ERROR`` says of their error."""

OAUTH_REJECTIONS: Final = frozenset(
    f"oauth-{error}"
    for error in ("invalid_client", "unauthorized_client", "access_denied", "invalid_grant")
)

BY_ERROR: Final[Mapping[type[ServiceError], Blame]] = {
    UpstreamUnavailable: Blame.OUTAGE,
    UpstreamTimeout: Blame.OUTAGE,
    UpstreamInvalid: Blame.OUTAGE,
    UpstreamBusy: Blame.PAUSE,
}


def blame_of(error: ServiceError) -> Blame:
    """Return whom ``error`` speaks of."""
    code = code_of(error)
    if code is not None and code in BY_CODE:
        return BY_CODE[code]
    if error.reason in OAUTH_REJECTIONS:
        return Blame.CREDENTIALS
    if isinstance(error, UpstreamInvalid) and code is not None:
        return Blame.NOBODY  # Gigya answered, in words that we do not know
    return BY_ERROR.get(type(error), Blame.NOBODY)


def code_of(error: ServiceError) -> int | None:
    """Return Gigya's code, if it was Gigya that answered."""
    return error.exchange.error_code if error.exchange else None
