"""How this package asks issuers and API servers: through one callable that it is given."""

from collections.abc import Awaitable, Callable, Mapping

from service.deadline import Deadline


class FetchFailed(OSError):
    """No usable answer came; says why in our own words."""


Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers (lower-case names), body."""

Fetch = Callable[[str, Mapping[str, str], bytes | None, Deadline], Awaitable[Answer]]
"""Takes URL, headers, a body to POST (or ``None`` for GET) and a deadline.

Follows no redirect, trusts only the CA configured for that peer, caps the body, and raises
``FetchFailed``.
"""

ReadToken = Callable[[], str]
"""Reads our own projected token from disk, each time anew; raises ``OSError``."""
