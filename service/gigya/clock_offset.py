"""How far Gigya's clock is from ours, learnt from the ``Date`` header (RFC 9110 §6.6.1)."""

from email.utils import parsedate_to_datetime
from typing import Final

FARTHEST: Final = 86_400.0
"""Seconds; a clock that is off by more than a day needs a person."""

RESOLUTION: Final = 1.0
"""Seconds that a ``Date`` can tell apart."""


class ClockOffset:
    """The seconds to add to our clock so that it agrees with Gigya's."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def learn(self, date: str | None, now: float) -> None:
        """Take the offset from ``date``, ``now`` being our UNIX seconds.

        A missing, unreadable or absurd ``Date`` teaches nothing, nor does one that agrees.
        """
        offset = offset_of(date, now)
        if offset is None or abs(offset) > FARTHEST:
            return
        if abs(offset - self.seconds) >= RESOLUTION:
            self.seconds = offset


def offset_of(date: str | None, now: float) -> float | None:
    """Return the seconds by which ``date`` is ahead of ``now`` (UNIX), if it can be read."""
    try:
        return parsedate_to_datetime(date).timestamp() - now if date is not None else None
    except (ValueError, OverflowError):
        return None
