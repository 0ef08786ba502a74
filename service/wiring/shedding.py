"""What is answered at the door while there is no room: it must cost next to nothing."""

from collections.abc import Callable
from typing import Final

from service.api.problems import render
from service.api.recording import AUDIT_ID
from service.audit.journal import Journal
from service.errors import Overloaded
from service.metrics import NOBODY, Metrics

IN_FLIGHT: Final = "in-flight"
FULL: Final = "This replica works on as many requests as it accepts. Ask again."
_PLACE: Final = "0" * 32
"""Where the audit id goes."""


class Shedding:
    """Counts a request that is turned away, and gives the headers and the body of its answer.

    At twice the capacity half of all requests end here: each has an audit id, and the audit their
    number. ``octets`` gives that many random octets.
    """

    def __init__(
        self, journal: Journal, metrics: Metrics, *, octets: Callable[[int], bytes]
    ) -> None:
        self._journal = journal
        self._metrics = metrics
        self._octets = octets
        _, headers, body = render(Overloaded(FULL, reason=IN_FLIGHT, retry_after=1), _PLACE)
        headers = [*headers, (AUDIT_ID, _PLACE.encode())]
        self._answer = b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n" + body

    def __call__(self) -> bytes:
        """Return what follows the status line."""
        self._journal.turned_away(Overloaded.code, IN_FLIGHT)
        self._metrics.count("requests", NOBODY, "failed")
        self._metrics.count("problems", Overloaded.code)
        return self._answer.replace(_PLACE.encode(), self._octets(16).hex().encode())
