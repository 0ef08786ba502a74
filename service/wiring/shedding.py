"""What is answered at the door, where there is no room or no request: it costs next to nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from service.api.headers import AUDIT_ID, lines_of
from service.api.problems import BEFORE, render
from service.audit.journal import Journal
from service.errors import Overloaded, ServiceError
from service.heads import REFUSALS, Unacceptable
from service.metrics import NOBODY, Metrics

IN_FLIGHT: Final = "in-flight"
FULL: Final = "This replica works on as many requests as it accepts. Ask again."
_PLACE: Final = "0" * 32
"""Where the audit id goes."""


class Shedding:
    """Counts what is turned away, and gives the headers and the body of its answer.

    At twice the capacity half of all requests end here: each has an audit id, and the audit their
    number. So has what never became a request; nothing is known of whoever sent it.
    ``octets`` gives that many random octets.
    """

    def __init__(
        self, journal: Journal, metrics: Metrics, *, octets: Callable[[int], bytes]
    ) -> None:
        self._journal = journal
        self._metrics = metrics
        self._octets = octets
        full = _Answer.to(Overloaded(FULL, reason=IN_FLIGHT, retry_after=1))
        self._answers: dict[Unacceptable | None, _Answer] = {None: full}
        for fault in REFUSALS:
            error = BEFORE[fault.status](fault.detail, reason=fault.reason)
            self._answers[fault] = _Answer.to(error, fault.status)

    def __call__(self, fault: Unacceptable | None = None) -> bytes:
        """Return what follows the status line."""
        answer = self._answers[fault]
        self._journal.turned_away(answer.code, answer.reason)
        if fault is None:
            self._metrics.count("requests", NOBODY, "failed")
        self._metrics.count("problems", answer.code)
        return answer.text.replace(_PLACE.encode(), self._octets(16).hex().encode())


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer that lacks nothing but its audit id, and repeats nothing of what was sent."""

    code: str
    reason: str
    text: bytes

    @classmethod
    def to(cls, error: ServiceError, status: HTTPStatus | None = None) -> "_Answer":
        """Return the answer that tells of ``error``."""
        _, headers, body = render(error, _PLACE, status)
        lines = lines_of([*headers, (AUDIT_ID, _PLACE.encode())])
        return cls(error.code, error.reason, lines + b"\r\n" + body)
