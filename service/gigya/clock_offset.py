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
        offset = _offset(date or "", now)
        if offset is None or abs(offset) > FARTHEST:
            return
        if abs(offset - self.seconds) >= RESOLUTION:
            self.seconds = offset


def _offset(date: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, OverflowError):
        return None
