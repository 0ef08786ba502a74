"""How long a request may take: as configured, or less where the caller says so."""

import math

from starlette.types import Scope

from service.deadline import Clock, Deadline
from service.errors import InvalidRequest

REQUEST_TIMEOUT = b"request-timeout"


def deadline_of(scope: Scope, *, seconds: float, clock: Clock) -> Deadline:
    """Return the deadline of a request that arrives now.

    ``Request-Timeout`` (seconds, a positive decimal number) can lower ``seconds``, never raise it.
    Raises ``InvalidRequest`` for anything else in that header.
    """
    given = [value for name, value in scope["headers"] if name == REQUEST_TIMEOUT]
    if not given:
        return Deadline.after(seconds, clock)
    return Deadline.after(min(seconds, _seconds(given)), clock)


def _seconds(given: list[bytes]) -> float:
    try:
        [only] = given
        seconds = float(only)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidRequest(
            "Request-Timeout must be given once, as a positive number of seconds.",
            reason="bad-request-timeout",
        )
    return seconds
