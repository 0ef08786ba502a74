"""What a request must be before an application sees it (RFC 9112), and what is refused."""

from collections.abc import Sequence
from http import HTTPStatus
from operator import countOf, itemgetter
from typing import Final

OFFER: Final = frozenset({b"upgrade", b"http2-settings"})
"""Headers of an offer to switch protocols; ``Connection`` may say more than their names."""

Headers = Sequence[tuple[bytes, bytes]]

_name_of: Final = itemgetter(0)


class Unacceptable(Exception):
    """A request that no application sees.

    ``status`` is its answer's, ``reason`` a slug for us, ``detail`` a sentence for the peer.
    """

    def __init__(self, status: HTTPStatus, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.detail = detail


MALFORMED: Final = Unacceptable(
    HTTPStatus.BAD_REQUEST, "parse-error", "This is no request of HTTP/1.1 (RFC 9112)."
)
HOST: Final = Unacceptable(
    HTTPStatus.BAD_REQUEST, "host-header", "A request has one Host header, not none and not two."
)
FRAMING: Final = Unacceptable(
    HTTPStatus.BAD_REQUEST, "body-framing", "What frames the body in chunks is too large."
)
PIPELINE: Final = Unacceptable(
    HTTPStatus.BAD_REQUEST, "pipeline", "Too many requests wait for their turn on this connection."
)
TOO_LARGE: Final = Unacceptable(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head-too-large",
    "The request line and the headers together are too large.",
)
TOO_SLOW: Final = Unacceptable(
    HTTPStatus.REQUEST_TIMEOUT,
    "header-timeout",
    "The request line and the headers did not arrive in time.",
)

REFUSALS: Final = (MALFORMED, HOST, FRAMING, PIPELINE, TOO_LARGE, TOO_SLOW)


def host_fault(headers: Headers, version: str) -> Unacceptable | None:
    """Return what is wrong with ``Host``: RFC 9112 §3.2 wants one in any 1.1 request."""
    hosts = countOf(map(_name_of, headers), b"host")
    return None if hosts == 1 or (hosts == 0 and version != "1.1") else HOST


def size(url: bytes, headers: Headers) -> int:
    """Return the octets of a head, but for a few."""
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def without_offer(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """Return a head as it is without an offer of another protocol (RFC 9110 §7.8)."""
    kept = [header for header in headers if header[0] not in OFFER]
    lines = b"".join(b"%s: %s\r\n" % header for header in kept)
    return b"%s %s HTTP/%s\r\n%s\r\n" % (method, url, version.encode(), lines)
