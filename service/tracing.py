"""Spans of a request, as the rest of the service sees them; ``service.collector`` makes real ones.

Nothing here is on a request's way where tracing is off: the composition root wraps what is traced.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Final, Protocol

Value = str | int | float | bool


class Kind(StrEnum):
    """Which side of a call a span is."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


AUTHENTICATE: Final = "authenticate"
DECIDE: Final = "decide"
CALL_GIGYA: Final = "call Gigya"
DECRYPT: Final = "decrypt"
COMMIT: Final = "commit"
RESPOND: Final = "respond"

ATTRIBUTES: Final = {
    "http.request.method": "method of the request",
    "http.route": "route's template, never a path as it came",
    "http.response.status_code": "status answered, or got from Gigya",
    "credential_proxy.audit_id": "the record that belongs to the trace",
    "credential_proxy.caller": "configured name",
    "credential_proxy.site": "configured name",
    "credential_proxy.provider": "canonical name",
    "credential_proxy.outcome": "as in the audit record",
    "credential_proxy.reason": "as in the audit record",
    "credential_proxy.rule": "the deciding grant",
    "credential_proxy.cached": "whether Gigya was asked",
    "credential_proxy.key_slot": "which partner secret decrypted",
    "credential_proxy.authentication": "by which the caller came in",
    "gigya.error_code": "Gigya's own code",
    "gigya.call_id": "Gigya's own id of the call",
}
"""Everything that a span may tell; nothing else gets out, whoever tells it."""


class Span(Protocol):
    """What a span is told."""

    def tell(self, name: str, value: Value | None) -> None:
        """Note one of ``ATTRIBUTES``; anything else, and ``None``, is dropped."""

    def rename(self, name: str) -> None:
        """Call the span otherwise."""

    def fail(self, why: str) -> None:
        """Mark the span as failed; ``why`` is a slug of ours."""


class Tracer(Protocol):
    """What makes spans; those within others, in a task and the tasks it begins, are their parts."""

    def span(
        self, name: str, *, kind: Kind = Kind.INTERNAL, traceparent: str | None = None
    ) -> AbstractContextManager[Span]:
        """Return a span, which lasts as long as its block and fails with it.

        ``traceparent`` (W3C Trace Context) is of whoever asks us.
        """

    def traceparent(self) -> str:
        """Return what to hand on of the span that goes on."""

    async def aclose(self) -> None:
        """Send what is left."""


Close = Callable[[], Awaitable[None]]
