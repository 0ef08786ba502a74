"""Every metric there is, in one place; labels come from closed sets, and observing never fails.

No label holds a UID, a path or an error's text; callers appear by their configured name only. The
rows of ``METRICS`` are also the README's table (a test compares them).
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Any, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)

from service.counters import Counter, Histogram

NAMESPACE: Final = "credential_proxy"
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
NOBODY: Final = "none"
"""The label of a request without a caller that we know."""

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of what a caller or Gigya waits for; 0.5 is the objective's."""
SMALL_SECONDS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
"""Bounds of what happens inside: an audit write, the event loop's lag."""


class Kind(StrEnum):
    """How a metric moves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: its name without prefix and suffix, and what it tells."""

    name: str
    kind: Kind
    tells: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = SECONDS

    @property
    def exposed(self) -> str:
        """The name as Prometheus sees it."""
        suffix = "_total" if self.kind is Kind.COUNTER else ""
        return f"{NAMESPACE}_{self.name}{suffix}"


_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

METRICS: Final = (
    Row("requests", _C, "Requests of the API port", ("caller", "result")),
    Row("provider_requests", _C, "Requests for provider tokens", ("provider", "result")),
    Row("problems", _C, "Problems answered", ("code",)),
    Row("request_duration_seconds", _H, "Time to answer a request", ("result",)),
    Row("requests_in_flight", _G, "Requests that are worked on"),
    Row("would_deny", _C, "Releases that candidate grants would deny", ("caller",)),
    Row("caller_users", _G, "Different users asked for in an hour, about", ("caller",)),
    Row("limits_hit", _C, "Requests refused by a limit", ("caller", "limit")),
    Row("authentications", _C, "What came of authentications", ("name", "result")),
    Row("authentication_events", _C, "What happened behind them", ("name", "event")),
    Row("key_set_age_seconds", _G, "Age of an issuer's keys", ("name",)),
    Row("connections", _G, "Open connections, handshakes included", ("listener",)),
    Row("tls_refusals", _C, "Handshakes refused", ("reason",)),
    Row("connection_refusals", _C, "Connections cut without an answer of ours", ("kind",)),
    Row("upstream_requests", _C, "Attempts at Gigya", ("site", "result")),
    Row("upstream_duration_seconds", _H, "Time of one attempt at Gigya", ("site",)),
    Row("upstream_retries", _C, "Wishes to try again", ("site", "outcome")),
    Row("upstream_cures", _C, "Attempts after a cure", ("site", "cure")),
    Row("upstream_authenticated", _C, "Attempts that Gigya took as ours", ("site", "slot")),
    Row("upstream_ignored_parameters", _C, "Parameters that Gigya ignored", ("site", "name")),
    Row("upstream_in_flight", _G, "Calls to Gigya under way", ("site",)),
    Row("upstream_waiting", _G, "Calls to Gigya that wait for a slot", ("site",)),
    Row("upstream_resting", _G, "Sessions and providers left alone for a moment", ("site",)),
    Row("upstream_shed", _C, "Calls to Gigya refused for want of a slot", ("site",)),
    Row("breaker_open", _G, "1 while a site's calls are stopped, 0.5 while probing", ("site",)),
    Row("credentials_rejected", _G, "1 while Gigya refuses a site's credentials", ("site",)),
    Row("breaker_transitions", _C, "Changes of a site's breaker", ("site", "to")),
    Row("decrypts", _C, "Sealed replies opened or not", ("site", "slot", "result")),
    Row("flights", _C, "Requests that began, joined or abandoned a call", ("event",)),
    Row("flights_under_way", _G, "Calls that requests can join"),
    Row("cache_events", _C, "Hits, misses and what becomes of entries", ("event",)),
    Row("cache_entries", _G, "Sessions in memory"),
    Row("cache_bytes", _G, "Octets that they take"),
    Row("reloads", _C, "Changes of watched files", ("name", "outcome")),
    Row("reload_faulty", _G, "1 while a watched file cannot be used", ("name",)),
    Row("restart_required", _G, "1 while a file has changes that need a restart", ("name",)),
    Row("loaded_timestamp_seconds", _G, "When a watched file was last taken", ("name",)),
    Row("keys_loaded", _G, "Keys of a site in use; more than 1: a rotation goes on", ("name",)),
    Row("audit_records", _C, "Records that a sink accepted", ("sink",)),
    Row("audit_write_seconds", _H, "Time of one write", ("sink",), SMALL_SECONDS),
    Row("audit_sink_ejected", _G, "1 while a sink is out", ("sink",)),
    Row("audit_ejections", _C, "Sinks taken out", ("sink", "reason")),
    Row("audit_dropped", _C, "Records, none of a release, that found no room", ("sink",)),
    Row("audit_notices", _C, "What a sink noticed and went on", ("sink", "what")),
    Row("audit_withdrawn", _C, "Releases withdrawn", ("reason",)),
    Row("audit_sequence", _G, "Sequence number of a sink's last record", ("sink",)),
    Row("audit_head", _G, "First 48 bits of that record's hash", ("sink",)),
    Row("certificate_expiry_timestamp_seconds", _G, "When our certificate expires", ("listener",)),
    Row("log_dropped", _C, "Log lines that found no room or no reader"),
    Row("event_loop_lag_seconds", _H, "How late the event loop is", (), SMALL_SECONDS),
    Row("build_info", _G, "The running build and configuration", ("version", "configuration")),
)


PROBE_METRICS: Final = (
    Row("probe_success", _G, "1 where a check got what it must get", ("site", "check")),
    Row("probe_got_in", _G, "1 where one was let in that must not be", ("site", "check")),
    Row("probe_duration_seconds", _G, "Time of a check", ("site", "check")),
    Row("probe_timestamp_seconds", _G, "When the prober ran last, or began", ("site",)),
)
"""What ``probe`` tells; the service itself does not."""

PROCESS: Final[Mapping[str, tuple[Kind, str]]] = {
    "process_cpu_seconds_total": (Kind.COUNTER, "Processor time"),
    "process_resident_memory_bytes": (Kind.GAUGE, "Memory in use"),
    "process_virtual_memory_bytes": (Kind.GAUGE, "Address space in use"),
    "process_open_fds": (Kind.GAUGE, "Open descriptors"),
    "process_max_fds": (Kind.GAUGE, "Descriptors that may be open"),
    "process_start_time_seconds": (Kind.GAUGE, "When the process began"),
}
"""What the library tells of any process on Linux, under everybody's names."""

_MAKERS: Final[Mapping[Kind, Callable[..., Any]]] = {
    Kind.COUNTER: Counter,
    Kind.GAUGE: Gauge,
    Kind.HISTOGRAM: Histogram,
}


class Metrics:
    """The registry of one process, and what is counted in it.

    ``of_process`` adds what the library tells of it, which a text for another's exposition must
    not have twice.
    """

    def __init__(self, rows: tuple[Row, ...] = METRICS, *, of_process: bool = True) -> None:
        # Else each counter has a second series that says its birthday.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
        self._registry = CollectorRegistry()
        if of_process:
            ProcessCollector(registry=self._registry)
        self._rows = {row.name: row for row in rows}
        self._made = {row.name: self._make(row) for row in rows}
        self._series = {name: _Series(made) for name, made in self._made.items()}
        self._prepare: list[Callable[[], None]] = []
        self._exposing = Lock()

    def begin(self, name: str, *labels: str) -> None:
        """Show a series before there is anything to tell: alerts see its first change as one."""
        _ = self._series[name][labels]

    def series(self, name: str) -> Mapping[tuple[str, ...], Any]:
        """Return a metric's series by their labels; one that is not there begins when asked for.

        This is for what counts at every request and sees to it itself that nothing fails:
        ``ValueError`` is raised for labels that the metric has not.
        """
        return self._series[name]

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Count; never raises. To be called on the event loop."""
        try:
            self._series[name][labels].value += by
        except Exception:  # noqa: BLE001  # what observes never fails what it observes
            return

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Put a measurement into a histogram; never raises. To be called on the event loop."""
        try:
            self._series[name][labels].observe(seconds)
        except Exception:  # noqa: BLE001  # likewise
            return

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge; never raises."""
        try:
            self._series[name][labels].set(value)
        except Exception:  # noqa: BLE001  # likewise
            return

    def read(self, name: str, value: Callable[[], float], *labels: str) -> None:
        """Have a metric ask ``value`` at each exposition, which happens off the event loop.

        Where ``value`` raises, the metric is not a number; the others are what they are.
        """

        def read() -> float:
            try:
                return value()
            except Exception:  # noqa: BLE001  # likewise
                return math.nan

        self._series[name][labels].set_function(read)

    def prepare(self, work: Callable[[], None]) -> None:
        """Have ``work`` set gauges that belong together before each exposition, on its thread."""
        self._prepare.append(work)

    def forget(self, name: str) -> None:
        """Drop all series of a metric, before it says something new."""
        self._series[name].clear()
        self._made[name].clear()

    def exposition(self) -> bytes:
        """Return what Prometheus reads; it takes milliseconds, so not on the event loop."""
        with self._exposing:
            for work in self._prepare:
                with suppress(Exception):  # likewise
                    work()
            return generate_latest(self._registry)

    def serve(self, port: int) -> int:
        """Serve the exposition from a thread, for a process without a management port.

        Returns the port, which is another where 0 was asked; raises ``OSError``.
        """
        server, _ = start_http_server(port, registry=self._registry)
        return server.server_port

    def _make(self, row: Row) -> Any:
        options: dict[str, Any] = {"buckets": row.bounds} if row.kind is Kind.HISTOGRAM else {}
        return _MAKERS[row.kind](
            row.name,
            row.tells,
            row.labels,
            namespace=NAMESPACE,
            registry=self._registry,
            **options,
        )


class _Series(dict[tuple[str, ...], Any]):
    """Each series of one metric that was told of, by its labels; begun when it is told of.

    Asking for labels that the metric has not raises ``ValueError``.
    """

    def __init__(self, made: Any) -> None:
        super().__init__()
        self._made = made

    def __missing__(self, labels: tuple[str, ...]) -> Any:
        made = self._made
        is_plain = not labels and isinstance(made, Gauge)
        self[labels] = series = made if is_plain else made.labels(*labels)
        return series
