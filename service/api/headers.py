"""The headers of a request by name: gone through once for all who read them."""

from collections.abc import Mapping, Sequence
from typing import Final

HEADERS: Final = "gigya_credential_proxy.headers"
"""Where a scope holds its request's headers as ``by_name`` returns them."""

AUTHORIZATION: Final = b"authorization"
CONTENT_LENGTH: Final = b"content-length"
CONTENT_TYPE: Final = b"content-type"
REQUEST_TIMEOUT: Final = b"request-timeout"
TRACEPARENT: Final = b"traceparent"


def by_name(headers: Sequence[tuple[bytes, bytes]]) -> Mapping[bytes, Sequence[bytes]]:
    """Return the values of each header, in the order in which they came."""
    values = {name: [value] for name, value in headers}
    if len(values) < len(headers):  # few requests have any header twice
        values = {name: [] for name in values}
        for name, value in headers:
            values[name].append(value)
    return values
