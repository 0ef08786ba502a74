"""What each room's happenings become in metrics and log."""

import io
import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Final, cast

import pytest

from service.api.problem_table import PROBLEMS
from service.audit.chain import START, Head
from service.audit.orders import REASONS
from service.audit.record import Entry
from service.callers.observed import Event
from service.deadline import Deadline
from service.gigya.cures import Cure
from service.gigya.session_info import Opening
from service.gigya.troubles import Result
from service.logs import Log
from service.metrics import Metrics
from service.model import ProviderName
from service.reception import Refusal
from service.resilience.breaker import State
from service.resilience.retries import Retry
from service.watch import Change, Outcome
from service.wiring.observers import (
    RESULTS,
    AuditObserver,
    CallerObserver,
    ReloadObserver,
    RequestObserver,
    SiteObserver,
)
from tests.test_metrics import samples

NAME: Final = "requests_total"
Tell = Callable[["Room"], None]
NOTICED: Final = ("deleted", "replaced", "rotated", "rotation-failed")


class Room:
    """Every observer, over one registry and one log."""

    def __init__(self, metrics: Metrics | None = None, *, deadline: float = 10.0) -> None:
        self.metrics = metrics or Metrics()
        self.now = 0.0
        self.stream = io.StringIO()
        log = Log(self.stream, form="json")
        self.site = SiteObserver(self.metrics, log, "shop")
        self.audit = AuditObserver(self.metrics, log, sinks=("file",))
        self.callers = CallerObserver(
            self.metrics, log, ways={}, tls=False, monotonic=lambda: self.now
        )
        self.reloads = ReloadObserver(self.metrics, log, wall=lambda: 7.0)
        self.requests = RequestObserver(
            self.metrics,
            log,
            monotonic=lambda: 0.0,
            granted=SimpleNamespace(providers=("twitter", "facebook")),
            deadline=deadline,
        )

    def lines(self) -> list[tuple[str, str]]:
        """Return the level and event of each line."""
        lines = map(json.loads, self.stream.getvalue().splitlines())
        return [(line["level"], line["event"]) for line in lines]


class Broken:
    """Rules that cannot be asked for what they grant."""

    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    @property
    def providers(self) -> tuple[str, ...]:
        """Fail, and keep that it was tried."""
        self._asked.append("providers")
        raise RuntimeError


def refusal(kind: str) -> Refusal:
    return Refusal(listener="api", kind=kind, reason="slug", peer="192.0.2.7")


def change(outcome: Outcome) -> Change:
    return Change(name="tls", outcome=outcome, generation=2)


HAPPENINGS: Final[Mapping[str, tuple[Tell, dict[str, float], list[tuple[str, str]]]]] = {
    "an attempt": (
        lambda room: room.site.attempted(Result.DOWN, 0.2),
        {"upstream_requests_total shop down": 1, "upstream_duration_seconds_sum shop": 0.2},
        [],
    ),
    "an accepted attempt": (
        lambda room: room.site.authenticated("previous"),
        {"upstream_authenticated_total shop previous": 1},
        [],
    ),
    "a cure": (
        lambda room: room.site.cured(Cure.RESYNC),
        {"upstream_cures_total shop resync": 1},
        [("warning", "upstream-cure-tried")],
    ),
    "other credentials": (
        lambda room: room.site.pinned("previous"),
        {},
        [("warning", "credentials-pinned")],
    ),
    "a retry": (
        lambda room: room.site.retried(Retry.NO_BUDGET),
        {"upstream_retries_total shop no_budget": 1},
        [],
    ),
    "an ignored parameter": (
        lambda room: room.site.ignored("encrypt"),
        {"upstream_ignored_parameters_total shop encrypt": 1},
        [("warning", "upstream-ignored-parameter")],
    ),
    "an opened reply": (
        lambda room: room.site.opened(Opening.OPENED, 1),
        {"decrypts_total shop 1 opened": 1},
        [],
    ),
    "an unopened reply": (
        lambda room: room.site.opened(Opening.UNOPENED, None),
        {"decrypts_total shop none unopened": 1},
        [],
    ),
    "a call shed": (lambda room: room.site.shed(), {"upstream_shed_total shop": 1}, []),
    "a breaker opening": (
        lambda room: room.site.breaker(State.OPEN),
        {"breaker_open shop": 1, "breaker_transitions_total shop open": 1},
        [("warning", "breaker")],
    ),
    "a breaker that heeds a rate limit": (
        lambda room: room.site.breaker(State.BUSY),
        {"breaker_open shop": 1, "breaker_transitions_total shop busy": 1},
        [("warning", "breaker")],
    ),
    "a breaker probing": (
        lambda room: room.site.breaker(State.HALF_OPEN),
        {"breaker_open shop": 0.5},
        [("warning", "breaker")],
    ),
    "credentials rejected": (
        lambda room: room.site.breaker(State.REJECTED),
        {"breaker_open shop": 0, "credentials_rejected shop": 1},
        [("error", "breaker")],
    ),
    "rejected credentials that are probed": (
        lambda room: (room.site.breaker(State.REJECTED), room.site.breaker(State.HALF_OPEN))[-1],
        {"breaker_open shop": 0.5, "credentials_rejected shop": 1},
        [("error", "breaker"), ("warning", "breaker")],
    ),
    "credentials that are good again": (
        lambda room: (room.site.breaker(State.REJECTED), room.site.breaker(State.CLOSED))[-1],
        {"breaker_open shop": 0, "credentials_rejected shop": 0},
        [("error", "breaker"), ("warning", "breaker")],
    ),
    "records written": (
        lambda room: room.audit.wrote("file", 3, 0.25),
        {"audit_records_total file": 3, "audit_write_seconds_sum file": 0.25},
        [],
    ),
    "a sink ejected": (
        lambda room: room.audit.ejected("file", "late"),
        {"audit_sink_ejected file": 1, "audit_ejections_total file late": 1},
        [("error", "audit-sink-ejected")],
    ),
    "a sink healed": (
        lambda room: (room.audit.ejected("file", "late"), room.audit.readmitted("file", 9))[-1],
        {"audit_sink_ejected file": 0},
        [("error", "audit-sink-ejected"), ("warning", "audit-sink-readmitted")],
    ),
    "records dropped": (
        lambda room: room.audit.dropped("file", 2),
        {"audit_dropped_total file": 2},
        [],
    ),
    "a release withdrawn": (
        lambda room: room.audit.withdrew("cancelled"),
        {"audit_withdrawn_total cancelled": 1},
        [],
    ),
    "a file replaced": (
        lambda room: room.audit.noticed("file", "replaced"),
        {"audit_notices_total file replaced": 1},
        [("warning", "audit-sink-noticed")],
    ),
    "a file put aside": (
        lambda room: room.audit.noticed("file", "rotated"),
        {"audit_notices_total file rotated": 1},
        [("info", "audit-sink-noticed")],
    ),
    "no head": (lambda room: room.audit.checkpoint("file", START), {}, []),
    "no descriptors": (
        lambda room: room.callers.refused(
            Refusal(listener="api", kind="connection-refused", reason="accept-failed", peer=None)
        ),
        {"connection_refusals_total connection-refused": 1},
        [("error", "connection-refused")],
    ),
    "a head": (
        lambda room: room.audit.checkpoint("file", Head(7, "0" * 64)),
        {},
        [("info", "audit-head")],
    ),
    "keys replaced": (
        lambda room: room.callers.happened("cluster", Event.KEYS_REPLACED, ""),
        {"authentication_events_total cluster keys-replaced": 1},
        [],
    ),
    "keys not fetched": (
        lambda room: room.callers.happened("cluster", Event.KEYS_FAILED, "timeout"),
        {"authentication_events_total cluster keys-failed": 1},
        [("warning", "keys-failed")],
    ),
    "a caller judged": (
        lambda room: room.callers.judged("cluster", "ok"),
        {"authentications_total cluster ok": 1},
        [],
    ),
    "a handshake refused": (
        lambda room: room.callers.refused(refusal("tls-refused")),
        {"tls_refusals_total slug": 1},
        [("info", "tls-refused")],
    ),
    "a connection cut": (
        lambda room: room.callers.refused(refusal("too-slow")),
        {"connection_refusals_total too-slow": 1},
        [("info", "too-slow")],
    ),
    "a file in use": (
        lambda room: room.reloads.began("tls"),
        {"loaded_timestamp_seconds tls": 7, "reload_faulty tls": 0},
        [],
    ),
    "a file replaced while running": (
        lambda room: room.reloads.changed(change(Outcome.REPLACED)),
        {
            "reloads_total tls replaced": 1,
            "loaded_timestamp_seconds tls": 7,
            "reload_faulty tls": 0,
        },
        [("warning", "reload")],
    ),
    "a file faulty": (
        lambda room: room.reloads.changed(change(Outcome.FAULTY)),
        {"reloads_total tls faulty": 1, "reload_faulty tls": 1},
        [("error", "reload")],
    ),
    "a file healed": (
        lambda room: room.reloads.changed(change(Outcome.HEALED)),
        {"reloads_total tls healed": 1, "reload_faulty tls": 0},
        [("warning", "reload")],
    ),
}
"""What happens, the series that it moves, and the lines that it writes."""


class TestIgnoredParameters:
    def test_are_told_once(self) -> None:
        """A site that ignores a parameter for good fills the counter, not the log."""
        room = Room()
        for name in ("encrypt", "encrypt", "signIDs", "encrypt"):
            room.site.ignored(name)

        assert [("warning", "upstream-ignored-parameter")] * 2 == room.lines()
        sample = room.metrics.exposition().decode()
        assert 'name="encrypt",site="shop"} 3.0' in sample
        assert 'name="signIDs",site="shop"} 1.0' in sample


class TestHappenings:
    @pytest.mark.parametrize("name", HAPPENINGS)
    def test_are_counted_and_logged(self, name: str) -> None:
        """Each moves its series, and is logged where someone should look."""
        tell, expected, lines = HAPPENINGS[name]
        room = Room()

        tell(room)

        seen = {
            " ".join((name, *labels)): value
            for (name, labels), value in samples(room.metrics).items()
        }
        assert expected == {series: seen.get(series) for series in expected}
        assert lines == room.lines()

    @pytest.mark.parametrize("name", HAPPENINGS)
    def test_fail_nothing(self, name: str) -> None:
        """An observer that cannot observe costs what it observes nothing."""
        room = Room()
        room.stream.close()

        HAPPENINGS[name][0](room)


class TestCallers:
    def test_what_cannot_be_counted_is_told(self) -> None:
        """An event that has no series costs nobody anything, and its line is written."""
        room, nameless = Room(), cast("str", [])

        room.callers.happened(nameless, Event.KEYS_FAILED, "timeout")

        assert [("warning", "keys-failed")] == room.lines()


class TestAudit:
    def test_begins_what_alerts_watch(self) -> None:
        """Each notice and each reason of an ejection stands at 0, so that the first is a rise."""
        found = samples(Room().metrics)
        assert [0.0] * len(NOTICED) == [found["audit_notices_total", ("file", n)] for n in NOTICED]
        ejections = [found["audit_ejections_total", ("file", reason)] for reason in REASONS]
        assert [0.0] * len(REASONS) == ejections


class TestRefusedConnections:
    def test_a_flood_is_counted_whole_and_logged_in_part(self) -> None:
        """Of each kind and reason a few are written; the next tells how many were not."""
        room = Room()
        for _ in range(500):
            room.callers.refused(refusal("tls-refused"))
        room.callers.refused(refusal("too-slow"))
        room.now += 10
        room.callers.refused(refusal("tls-refused"))

        lines = [json.loads(line) for line in room.stream.getvalue().splitlines()]
        kinds = [line["event"] for line in lines]
        assert ([*["tls-refused"] * 20, "too-slow", "tls-refused"], 480) == (
            kinds,
            lines[-1]["unsaid"],
        )
        assert 501 == samples(room.metrics)["tls_refusals_total", ("slug",)]


class TestRequests:
    def test_every_outcome_has_a_meaning(self) -> None:
        """Whatever a request ends in means something to the objectives."""
        problems = {error.code for error in PROBLEMS}

        assert problems | {"released", "answered", "caller-gone", "cancelled"} == set(RESULTS)

    def test_what_cannot_be_counted_is_logged(self) -> None:
        """A request has its line, whatever goes wrong with its numbers."""
        stream = io.StringIO()

        requests = RequestObserver(
            Metrics(),
            Log(stream, form="json"),
            monotonic=lambda: 0.0,
            granted=Broken([]),
            deadline=10.0,
        )

        requests.finished(Entry(audit_id="0", provider=ProviderName("twitter")))

        assert "request" == json.loads(stream.getvalue())["event"]

    def test_an_unknown_outcome_is_a_failure(self) -> None:
        """What nobody thought of is counted against us."""
        room = Room()

        room.requests.finished(Entry(audit_id="0", outcome="brand-new"))

        assert 1 == samples(room.metrics)["requests_total", ("none", "failed")]

    @pytest.mark.parametrize(
        ("outcome", "given", "left", "expected"),
        [
            ("upstream-timeout", 0.05, 0.0, "abandoned"),
            ("authentication-unavailable", 0.9, 0.04, "abandoned"),
            ("upstream-timeout", 0.9, 0.5, "failed"),
            ("upstream-timeout", 1.0, 0.0, "failed"),
            ("upstream-timeout", 10.0, 0.0, "failed"),
            ("internal-error", 0.05, 0.0, "failed"),
            ("upstream-unavailable", 0.05, 0.0, "failed"),
            ("no-session", 0.05, 0.0, "refused"),
            ("released", 0.05, 0.0, "released"),
        ],
    )
    def test_a_caller_in_a_hurry_burns_no_budget(
        self, outcome: str, given: float, left: float, expected: str
    ) -> None:
        """What a caller's own deadline of less than a second ends is neither ours nor Gigya's."""
        room = Room()
        now = 100.0 + given - left

        room.requests.finished(
            Entry(
                audit_id="0",
                started=100.0,
                deadline=Deadline(100.0 + given, lambda: now),
                outcome=outcome,
            )
        )

        seen = samples(room.metrics)
        counted = {labels[1] for (name, labels), value in seen.items() if value and name == NAME}
        assert {expected} == counted
        is_problem = outcome != "released"
        assert is_problem == any(v for (name, _), v in seen.items() if name == "problems_total")

    @pytest.mark.parametrize("deadline", [0.5, 1.0])
    def test_a_short_deadline_of_ours_excuses_nobody(self, deadline: float) -> None:
        """Where the configuration itself gives no more, it is not the caller who is in a hurry."""
        room = Room(deadline=deadline)

        room.requests.finished(
            Entry(
                audit_id="0",
                started=100.0,
                deadline=Deadline(100.0 + deadline, lambda: 200.0),
                outcome="upstream-timeout",
            )
        )

        assert 1 == samples(room.metrics)["requests_total", ("none", "failed")]

    def test_an_observer_that_fails_fails_alone(self) -> None:
        """What breaks while a request is observed is nobody's business but the observer's."""
        room, asked = Room(), list[str]()

        requests = RequestObserver(
            room.metrics,
            Log(room.stream, form="json"),
            monotonic=lambda: 0.0,
            granted=Broken(asked),
            deadline=10.0,
        )

        requests.finished(Entry(audit_id="0", provider=ProviderName("twitter")))

        assert ["providers"] == asked
