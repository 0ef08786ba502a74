"""What calls were about that failed lately, and what of it is left alone for a moment."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from service.errors import ServiceError

About = tuple[Hashable, ...]
"""What a call asks about, the wider first: a provider and a UID. Empty: nothing in particular."""

SUBJECTS: Final = 1024
"""Subjects that are remembered; the one that failed longest ago makes room."""

SESSION: Final = (
    "Gigya fails for this session again and again, and is not asked about it for a moment."
)
PROVIDER: Final = (
    "Gigya says again and again that this provider fails, and is not asked about it for a moment."
)


@dataclass(frozen=True, slots=True)
class _Known:
    """Failures in a row, the last one's time, how long it is left alone, and what it met."""

    count: int
    at: float
    until: float
    why: type[ServiceError]


class Subjects:
    """Sessions and providers that fail; each has ``cool_down`` seconds of its own.

    Failures further apart than ``window`` seconds are not in a row.
    """

    def __init__(self, *, window: float, cool_down: float) -> None:
        self._window = window
        self._cool_down = cool_down
        self._known: OrderedDict[About, _Known] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._known)

    def resting(self, now: float) -> int:
        """Return how many are left alone now."""
        return sum(known.until > now for known in self._known.values())

    def check(self, about: About, now: float) -> None:
        """Raise what the last calls met if one ``about`` this, or its provider, is left alone."""
        if not self._known:
            return
        for subject, detail in ((about[:1], PROVIDER), (about, SESSION)):
            known = self._known.get(subject)
            if known is not None and known.until > now:
                wait = known.until - now
                raise known.why(detail, reason="breaker-open", retry_after=wait)

    def failed(self, subject: About, now: float, *, most: int, why: type[ServiceError]) -> None:
        """Count a failure; after ``most`` in a row the subject is left alone."""
        if not subject:
            return
        before = self._known.pop(subject, None)
        count = before.count + 1 if before and now - before.at <= self._window else 1
        until = now + self._cool_down if count >= most else now
        self._known[subject] = _Known(count, now, until, why)
        if len(self._known) > SUBJECTS:
            self._known.popitem(last=False)

    def well(self, subject: About) -> None:
        """Forget a subject that was answered."""
        self._known.pop(subject, None)

    def forgive(self, why: type[ServiceError]) -> None:
        """Forget all that met ``why``: its cause has gone."""
        for subject in [each for each, known in self._known.items() if known.why is why]:
            del self._known[subject]
