"""Headers: a request's by name, gone through once for all who read them; an answer's as lines."""

from collections.abc import Mapping, Sequence
from typing import Final

HEADERS: Final = "gigya_credential_proxy.headers"
"""Where a scope holds its request's headers as ``by_name`` returns them."""

AUTHORIZATION: Final = b"authorization"
CONTENT_LENGTH: Final = b"content-length"
CONTENT_TYPE: Final = b"content-type"
REQUEST_TIMEOUT: Final = b"request-timeout"
TRACEPARENT: Final = b"traceparent"
AUDIT_ID: Final = b"audit-id"

Headers = Sequence[tuple[bytes, bytes]]


def by_name(headers: Headers) -> Mapping[bytes, Sequence[bytes]]:
    """Return the values of each header, in the order in which they came."""
    values = {name: [value] for name, value in headers}
    if len(values) < len(headers):  # few requests have any header twice
        values = {name: [] for name in values}
        for name, value in headers:
            values[name].append(value)
    return values


def lines_of(headers: Headers) -> bytes:
    """Return headers as they are on the wire, each with its end.

    Raises ``ValueError`` for one that holds a line break.
    """
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if not len(headers) == lines.count(b"\r") == lines.count(b"\n"):
        raise ValueError("a header holds a line break")
    return lines


def headers_of(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of which ``lines`` are made."""
    return [(name, value) for name, _, value in (x.partition(b": ") for x in lines.splitlines())]
