"""How long a request may take: as configured, or less where the caller says so."""

import re
from collections.abc import Sequence
from typing import Final

from service.deadline import Clock, Deadline
from service.errors import InvalidRequest


def deadline_of(given: Sequence[bytes], *, seconds: float, clock: Clock) -> Deadline:
    """Return the deadline of a request that arrives now.

    What is ``given`` as ``Request-Timeout`` (seconds, a positive decimal number, once) can lower
    ``seconds``, never raise it. Raises ``InvalidRequest`` for anything else in that header.
    """
    if not given:
        return Deadline.after(seconds, clock)
    return Deadline.after(min(seconds, _seconds(given)), clock)


_DECIMAL: Final = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")


def early_deadline_of(given: Sequence[bytes], *, seconds: float, clock: Clock) -> Deadline:
    """Return the deadline before it is known who asks; a bad header is told after that."""
    try:
        return deadline_of(given, seconds=seconds, clock=clock)
    except InvalidRequest:
        return Deadline.after(seconds, clock)


def require_good_timeout(given: Sequence[bytes]) -> None:
    """Raise ``InvalidRequest`` for a ``Request-Timeout`` that is none."""
    if given:
        _seconds(given)


def _seconds(given: Sequence[bytes]) -> float:
    is_one_number = len(given) == 1 and _DECIMAL.fullmatch(given[0])
    seconds = float(given[0]) if is_one_number else 0.0
    if seconds == 0.0:
        raise InvalidRequest(
            "Request-Timeout must be given once, as a positive number of seconds.",
            reason="bad-request-timeout",
        )
    return seconds
