"""What is counted and logged of each room; nothing here can fail a request.

Metrics and log raise nothing themselves: only what does more than count and say is ``quietly``.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from service.api.recording import GONE
from service.audit.chain import START, Head
from service.audit.media import DELETED, REPLACED
from service.audit.orders import REASONS
from service.audit.record import CANCELLED, RELEASED, UNAVAILABLE, Entry
from service.audit.surroundings import ROTATED, ROTATION_FAILED
from service.callers.observed import Event
from service.errors import ShuttingDown
from service.gigya.cures import Cure
from service.gigya.session_info import Opening
from service.gigya.slots import CURRENT, PREVIOUS
from service.gigya.troubles import Result
from service.handshake import REASONS as HANDSHAKES
from service.logs import Log
from service.metrics import NOBODY, Metrics
from service.quiet import quietly
from service.reception import Refusal
from service.resilience.admission import Admission
from service.resilience.breaker import PATIENCE, Breaker, State
from service.resilience.retries import Retry
from service.sessions import PART
from service.watch import Change, Outcome
from service.wiring.entrance import BAD, GOOD, UNKNOWN
from service.wiring.sparing import Sparing

ANSWERED: Final = "answered"
ABANDONED: Final = "abandoned"

_REFUSED: Final = (
    "no-session",
    "invalid-request",
    "unknown-provider",
    "request-timeout",
    "request-too-large",
    "unsupported-media-type",
    "unauthenticated",
    "access-denied",
    "not-found",
    "method-not-allowed",
    "rate-limited",
)
SHUTTING_DOWN: Final = ShuttingDown.code
_FAILED: Final = (
    "internal-error",
    "upstream-rejected",
    "upstream-invalid",
    "undecryptable",
    "upstream-unavailable",
    "upstream-busy",
    "upstream-timeout",
    "overloaded",
    "audit-unavailable",
    "authentication-unavailable",
    SHUTTING_DOWN,
)
RESULTS: Final[Mapping[str, str]] = {
    RELEASED: RELEASED,
    ANSWERED: ANSWERED,
    "reauthentication-required": "reauthenticate",
    "token-expiring": "reauthenticate",
    **dict.fromkeys(_REFUSED, "refused"),
    **dict.fromkeys(_FAILED, "failed"),
    GONE: ABANDONED,
    CANCELLED: "failed",  # by the end of the process; who waited was told shutting-down
}
"""Outcome of a request -> what it means to the service's objectives."""

OTHERS: Final = "other"
"""The label of whatever is not told apart, such as all providers that nobody is granted."""
MEANINGS: Final = tuple(dict.fromkeys(RESULTS.values()))
OF_PROVIDERS: Final = tuple(meaning for meaning in MEANINGS if meaning != ANSWERED)
"""A table is of no provider."""
TIMED: Final = (RELEASED, "failed")
"""Whose time is told apart; a histogram for each meaning would be fifteen series more."""

_PROBLEM_FREE: Final = frozenset({RELEASED, ANSWERED, GONE})
LATE: Final = frozenset({"upstream-timeout", "authentication-unavailable"})
"""What a request comes to whose deadline ends while it waits."""
ACCEPT_FAILED: Final = "accept-failed"
"""No descriptor for a connection: all callers wait."""
LIMITS: Final = ("limit-rate", "limit-in-flight", "limit-distinct-users", "flood")


class Granted(Protocol):
    """The rules in use, as far as requests are counted by them."""

    @property
    def providers(self) -> Container[str]:
        """Those that somebody is granted."""


class RequestObserver:
    """Counts each request and writes its canonical line.

    Providers that nobody is ``granted`` count as one, so that no request makes a series.
    ``monotonic`` gives seconds; ``deadline`` is what a request has that asks for no shorter one.
    """

    def __init__(
        self,
        metrics: Metrics,
        log: Log,
        *,
        monotonic: Callable[[], float],
        granted: Granted,
        deadline: float,
    ) -> None:
        self._metrics = metrics
        self._log = log
        self._monotonic = monotonic
        self._granted = granted
        self._patience = min(PATIENCE, deadline)
        self._requests = metrics.series("requests")
        self._of_providers = metrics.series("provider_requests")
        for result in MEANINGS:
            metrics.begin("requests", NOBODY, result)
        for timed in (*TIMED, OTHERS):
            metrics.begin("request_duration_seconds", timed)
        durations = metrics.series("request_duration_seconds")
        self._durations = {
            result: durations[(result if result in TIMED else OTHERS,)] for result in MEANINGS
        }
        for outcome in sorted(RESULTS.keys() - _PROBLEM_FREE - {CANCELLED}):
            metrics.begin("problems", outcome)

    def finished(self, entry: Entry) -> None:
        """Log one request and count it."""
        seconds = max(0.0, self._monotonic() - entry.started)
        self._log.request(entry, seconds)
        try:  # each request would pay for ``quietly``
            outcome, provider = entry.outcome, entry.provider
            result = RELEASED if outcome == RELEASED else self._meaning(entry)
            caller = NOBODY if entry.caller is None else entry.caller.name
            self._requests[caller, result].value += 1
            self._durations[result].observe(seconds)
            if provider is not None:
                known = provider in self._granted.providers
                self._of_providers[provider if known else OTHERS, result].value += 1
        except Exception:  # noqa: BLE001  # what observes never fails what it observes
            return
        if outcome not in _PROBLEM_FREE:
            self._count_problem(entry, caller)
        elif entry.would_deny and outcome == RELEASED:
            self._metrics.count("would_deny", caller)

    @quietly
    def unexpected(self, entry: Entry, error: Exception) -> None:
        """Log where something failed that should not."""
        self._log.unexpected(error, audit_id=entry.audit_id)

    def _count_problem(self, entry: Entry, caller: str) -> None:
        code = SHUTTING_DOWN if entry.outcome == CANCELLED else entry.outcome
        self._metrics.count("problems", code)
        if entry.reason in LIMITS:
            self._metrics.count("limits_hit", caller, entry.reason)

    def _meaning(self, entry: Entry) -> str:
        """Return what it means to the service's objectives that nothing was released."""
        meaning = RESULTS.get(entry.outcome, "failed")
        return ABANDONED if meaning == "failed" and self._was_hurried(entry) else meaning

    def _was_hurried(self, entry: Entry) -> bool:
        """Whether the caller's own deadline ended it, which was too short to tell of us or Gigya.

        One of a second or more tells: an outage must not hide behind impatient callers.
        """
        deadline = entry.deadline
        if deadline is None or entry.outcome not in LATE:
            return False
        given = deadline.at - entry.started
        return given < self._patience and deadline.remaining() <= given * (1 - PART)


class SiteObserver:
    """Counts what happens between us and one site's Gigya."""

    def __init__(self, metrics: Metrics, log: Log, site: str) -> None:
        self._metrics = metrics
        self._log = log
        self._site = site
        self._ignored: set[str] = set()
        self.authenticated: Callable[[str], None] = partial(
            metrics.count, "upstream_authenticated", site
        )
        """Counts an attempt that Gigya took as ours, and by which slot."""
        metrics.set("breaker_open", 0, site)
        metrics.set("credentials_rejected", 0, site)
        metrics.begin("upstream_duration_seconds", site)
        metrics.begin("upstream_shed", site)
        for name, kinds in _OF_A_SITE.items():
            for kind in kinds:
                metrics.begin(name, site, kind)

    def attempted(self, result: Result, seconds: float) -> None:
        """Count one attempt."""
        self._metrics.count("upstream_requests", self._site, result)
        self._metrics.observe("upstream_duration_seconds", seconds, self._site)

    @quietly
    def cured(self, cure: Cure) -> None:
        """Count a cure that is tried, whether it helps or not; each is worth a look."""
        self._metrics.count("upstream_cures", self._site, cure)
        self._log.warning("upstream-cure-tried", site=self._site, cure=cure)

    @quietly
    def pinned(self, slot: str) -> None:
        """Say which credentials serve from now on."""
        self._log.warning("credentials-pinned", site=self._site, slot=slot)

    def retried(self, outcome: Retry) -> None:
        """Count a wish to try again."""
        self._metrics.count("upstream_retries", self._site, outcome)

    @quietly
    def ignored(self, name: str) -> None:
        """Count a parameter that Gigya ignored; say so once: a site may ignore it for good."""
        self._metrics.count("upstream_ignored_parameters", self._site, name)
        if name not in self._ignored:
            self._ignored.add(name)
            self._log.warning("upstream-ignored-parameter", site=self._site, parameter=name)

    def opened(self, opening: Opening, slot: int | None) -> None:
        """Count a sealed reply."""
        self._metrics.count("decrypts", self._site, NOBODY if slot is None else str(slot), opening)

    def shed(self) -> None:
        """Count a call for which there was no slot."""
        self._metrics.count("upstream_shed", self._site)

    @quietly
    def breaker(self, state: State) -> None:
        """Tell how the breaker stands."""
        self._metrics.count("breaker_transitions", self._site, state)
        is_rejected = state is State.REJECTED
        self._metrics.set("breaker_open", _OPENNESS[state], self._site)
        if state is not State.HALF_OPEN:  # a probe has no answer yet
            self._metrics.set("credentials_rejected", is_rejected, self._site)
        say = self._log.error if is_rejected else self._log.warning
        say("breaker", site=self._site, state=state)

    def keys(self, name: str, count: Callable[[], int]) -> None:
        """Show how many keys of a kind there are."""
        self._metrics.read("keys_loaded", count, name)

    def sends(self, names: Iterable[str]) -> None:
        """Show each parameter that Gigya may ignore."""
        for name in names:
            self._metrics.begin("upstream_ignored_parameters", self._site, name)

    def slots(self, count: int) -> None:
        """Show the partner secrets of which each may open a reply."""
        for slot in range(count):
            self._metrics.begin("decrypts", self._site, str(slot), Opening.OPENED)
        for opening in (Opening.UNOPENED, Opening.PLAIN_REFUSED):
            self._metrics.begin("decrypts", self._site, NOBODY, opening)

    def watch(self, admission: Admission, breaker: Breaker) -> None:
        """Show the slots that are taken and waited for, and what is left alone by itself."""
        self._metrics.read("upstream_in_flight", lambda: admission.in_flight, self._site)
        self._metrics.read("upstream_waiting", lambda: admission.waiting, self._site)
        self._metrics.read("upstream_resting", lambda: breaker.resting, self._site)


_OF_A_SITE: Final[Mapping[str, tuple[str, ...]]] = {
    "upstream_requests": tuple(Result),
    "upstream_retries": tuple(Retry),
    "upstream_cures": tuple(Cure),
    "upstream_authenticated": (CURRENT, PREVIOUS),
    "breaker_transitions": tuple(State),
}
_OPENNESS: Final = {
    State.CLOSED: 0.0,
    State.HALF_OPEN: 0.5,
    State.OPEN: 1.0,
    State.REJECTED: 0.0,  # no outage: an alarm of its own
    State.BUSY: 1.0,
}


class AuditObserver:
    """Counts, logs and alarms for ``sinks`` (``audit.surroundings.Observer``)."""

    def __init__(self, metrics: Metrics, log: Log, *, sinks: Sequence[str]) -> None:
        self._metrics = metrics
        self._log = log
        for reason in (UNAVAILABLE, CANCELLED):
            metrics.begin("audit_withdrawn", reason)
        for sink in sinks:
            metrics.set("audit_sink_ejected", 0, sink)
            for name in ("audit_records", "audit_write_seconds", "audit_dropped"):
                metrics.begin(name, sink)
            for reason in REASONS:
                metrics.begin("audit_ejections", sink, reason)
            for what in (DELETED, REPLACED, ROTATED, ROTATION_FAILED):
                metrics.begin("audit_notices", sink, what)

    def wrote(self, sink: str, records: int, seconds: float) -> None:
        """Count records."""
        self._metrics.count("audit_records", sink, by=records)
        self._metrics.observe("audit_write_seconds", seconds, sink)

    @quietly
    def ejected(self, sink: str, why: str) -> None:
        """Alarm."""
        self._metrics.count("audit_ejections", sink, why)
        self._metrics.set("audit_sink_ejected", 1, sink)
        self._log.error("audit-sink-ejected", sink=sink, reason=why)

    @quietly
    def readmitted(self, sink: str, missed: int) -> None:
        """End the alarm."""
        self._metrics.set("audit_sink_ejected", 0, sink)
        self._log.warning("audit-sink-readmitted", sink=sink, missed=missed)

    def dropped(self, sink: str, records: int) -> None:
        """Count records that found no room."""
        self._metrics.count("audit_dropped", sink, by=records)

    def withdrew(self, reason: str) -> None:
        """Count a release that did not happen."""
        self._metrics.count("audit_withdrawn", reason)

    @quietly
    def noticed(self, sink: str, what: str) -> None:
        """Warn; a rotation is only told."""
        self._metrics.count("audit_notices", sink, what)
        say = self._log.info if what == ROTATED else self._log.warning
        say("audit-sink-noticed", sink=sink, what=what)

    @quietly
    def checkpoint(self, sink: str, head: Head) -> None:
        """Export the head: no file can prove its own tail; one that never opened has none."""
        if head != START:
            self._log.info("audit-head", sink=sink, head=str(head))


class CallerObserver:
    """Counts what happens behind authentications, and handshakes that came to nothing.

    ``ways`` are the authentications and what can happen behind each; ``tls`` whether there are
    handshakes. ``monotonic`` gives seconds.
    """

    def __init__(
        self,
        metrics: Metrics,
        log: Log,
        *,
        ways: Mapping[str, Sequence[Event]],
        tls: bool,
        monotonic: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._log = log
        self._lines = Sparing(monotonic)
        self._events = metrics.series("authentication_events")
        self.judged: Callable[[str, str], None] = partial(metrics.count, "authentications")
        """Counts what came of an authentication: its name, and the result."""
        for name, events in ways.items():
            metrics.begin("authentications", name, GOOD)
            metrics.begin("authentications", name, BAD)
            for event in events:
                metrics.begin("authentication_events", name, event)
        for reason in sorted(HANDSHAKES) if tls else ():
            metrics.begin("tls_refusals", reason)
        for result in (BAD, UNKNOWN):
            metrics.begin("authentications", NOBODY, result)
        for kind in CUT_OFF:
            metrics.begin("connection_refusals", kind)

    def happened(self, name: str, event: Event, detail: str) -> None:
        """Count an event behind the authentication ``name``."""
        if event in _WORTH_A_LOOK:
            self._log.warning(event, authentication=name, detail=detail)
        try:  # each request may be told of, and would pay for ``quietly``
            self._events[name, event].value += 1
        except Exception:  # noqa: BLE001  # what observes never fails what it observes
            return

    @quietly
    def refused(self, refusal: Refusal) -> None:
        """Count a connection that never reached the application; log the first few of a flood."""
        if refusal.kind == "tls-refused":
            self._metrics.count("tls_refusals", refusal.reason)
        else:
            self._metrics.count("connection_refusals", refusal.kind)
        unsaid = self._lines.unsaid(f"{refusal.kind} {refusal.reason}")
        if unsaid is None:
            return
        facts: dict[str, Any] = {"unsaid": unsaid} if unsaid else {}
        facts |= {"listener": refusal.listener, "reason": refusal.reason, "peer": refusal.peer}
        say = self._log.error if refusal.reason == ACCEPT_FAILED else self._log.info
        say(refusal.kind, **facts)


CUT_OFF: Final = ("connection-refused", "malformed-request", "too-slow")
_WORTH_A_LOOK: Final = frozenset({Event.KEYS_FAILED, Event.REVIEW_FAILED})


class ReloadObserver:
    """Counts and logs what became of watched files."""

    def __init__(self, metrics: Metrics, log: Log, *, wall: Callable[[], float]) -> None:
        self._metrics = metrics
        self._log = log
        self._wall = wall

    def began(self, name: str) -> None:
        """Tell that a watched file is in use from now on."""
        self._metrics.set("loaded_timestamp_seconds", self._wall(), name)
        for outcome in Outcome:
            self._metrics.begin("reloads", name, outcome)
        self._stands(name, None)

    @quietly
    def changed(self, change: Change) -> None:
        """Tell of a change."""
        self._metrics.count("reloads", change.name, change.outcome)
        self._stands(change.name, change.outcome)
        if change.outcome is Outcome.REPLACED:
            self._metrics.set("loaded_timestamp_seconds", self._wall(), change.name)
        facts: dict[str, Any] = {"generation": change.generation, "detail": change.detail}
        say = self._log.error if change.outcome is Outcome.FAULTY else self._log.warning
        say("reload", name=change.name, outcome=change.outcome, **facts)

    def _stands(self, name: str, outcome: Outcome | None) -> None:
        self._metrics.set("reload_faulty", outcome is Outcome.FAULTY, name)
        self._metrics.set("restart_required", outcome is Outcome.RESTART_REQUIRED, name)
