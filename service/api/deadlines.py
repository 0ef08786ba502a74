"""How long a request may take: as configured, or less where the caller says so."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from service.deadline import Clock, Deadline
from service.errors import InvalidRequest


def deadline_of(given: Sequence[bytes], seconds: float, clock: Clock) -> Deadline:
    """Return the deadline of a request that arrives now, before it is known who asks.

    What is ``given`` as ``Request-Timeout`` (seconds, a positive decimal number, once) can lower
    ``seconds``, never raise it. Anything else in that header is told by ``require_good_timeout``.
    """
    if given:
        with suppress(InvalidRequest):
            seconds = min(seconds, _seconds(given))
    return Deadline(clock.monotonic() + seconds, clock.monotonic)


def require_good_timeout(given: Sequence[bytes]) -> None:
    """Raise ``InvalidRequest`` if what is given as ``Request-Timeout`` is none, or nothing is."""
    _seconds(given)


_DECIMAL: Final = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")


def _seconds(given: Sequence[bytes]) -> float:
    is_one_number = len(given) == 1 and _DECIMAL.fullmatch(given[0])
    seconds = float(given[0]) if is_one_number else 0.0
    if seconds == 0.0:
        raise InvalidRequest(
            "Request-Timeout must be given once, as a positive number of seconds.",
            reason="bad-request-timeout",
        )
    return seconds
