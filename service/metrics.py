"""Every metric name, in one place; labels come from closed sets, and observing never fails.

No label holds a UID, a path or an error's text. Callers appear by configured name only.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from service.audit.record import CANCELLED, RELEASED, Entry

NAMESPACE: Final = "credential_proxy"
NOBODY: Final = "none"
"""The label of what has no caller, provider or code."""

ABANDONED: Final = "abandoned"
RESULTS: Final[Mapping[str, str]] = {
    RELEASED: "released",
    "answered": "answered",
    "reauthentication-required": "reauthenticate",
    "token-expiring": "reauthenticate",
    "no-session": "refused",
    "invalid-request": "refused",
    "unknown-provider": "refused",
    "request-timeout": "refused",
    "request-too-large": "refused",
    "unsupported-media-type": "refused",
    "unauthenticated": "refused",
    "access-denied": "refused",
    "not-found": "refused",
    "method-not-allowed": "refused",
    "rate-limited": "refused",
    "internal-error": "failed",
    "upstream-rejected": "failed",
    "upstream-invalid": "failed",
    "undecryptable": "failed",
    "upstream-unavailable": "failed",
    "upstream-busy": "failed",
    "overloaded": "failed",
    "audit-unavailable": "failed",
    "authentication-unavailable": "failed",
    "shutting-down": "failed",
    "upstream-timeout": "failed",
    "caller-gone": ABANDONED,
    CANCELLED: ABANDONED,
}
"""Outcome of a request -> what it means for the service's objectives."""

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The registry of one process and what is counted in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests of the API port", "caller", "result")
        self.provider_requests = self._counter(
            "provider_requests", "Requests for provider tokens", "provider", "result"
        )
        self.problems = self._counter("problems", "Problems answered", "code")
        self.request_seconds = self._histogram(
            "request_duration_seconds", "Time to answer a request", "result"
        )
        self.would_deny = self._counter(
            "would_deny", "Releases that candidate grants would deny", "caller"
        )
        self.upstream_requests = self._counter(
            "upstream_requests", "Calls to Gigya", "site", "result"
        )
        self.upstream_seconds = self._histogram(
            "upstream_duration_seconds", "Time of one call to Gigya", "site"
        )
        self.ignored_parameters = self._counter(
            "upstream_ignored_parameters", "Parameters that Gigya said it ignored", "site", "name"
        )
        self.build = self._gauge("build_info", "The running build", "version", "configuration")

    def request(self, entry: Entry, seconds: float) -> None:
        """Count one request of the API port; ``seconds`` is how long it took."""
        result = RESULTS.get(entry.outcome, "failed")
        caller = entry.caller.name if entry.caller else NOBODY
        self.requests.labels(caller, result).inc()
        self.request_seconds.labels(result).observe(seconds)
        if entry.provider:
            self.provider_requests.labels(entry.provider, result).inc()
        if result not in {"released", "answered", ABANDONED}:
            self.problems.labels(entry.outcome).inc()
        if entry.would_deny:
            self.would_deny.labels(caller).inc()

    def render(self) -> bytes:
        """Return the exposition; it takes milliseconds, so not on the event loop."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, namespace=NAMESPACE, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels, namespace=NAMESPACE, registry=self.registry)

    def _histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        return Histogram(
            name, help_text, labels, namespace=NAMESPACE, registry=self.registry, buckets=SECONDS
        )


CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


def quietly(observe: Callable[..., None]) -> Callable[..., None]:
    """Return ``observe`` so that it cannot fail what it observes."""

    def observed(*facts: object) -> None:
        with suppress(Exception):
            observe(*facts)

    return observed
