from pathlib import Path

import pytest

from tests.resilience.failures import FAILURES, Breaker, Failure, table
from tests.resilience.stage import Stage, staged

LEAST = 40
"""Failures that the issue asks for."""

TIMES = {Breaker.SESSION: 3, Breaker.PROVIDER: 3, Breaker.ANSWER: 3}
"""How often something must happen until it shows; ``stage`` has the breaker open at the first."""

SHOWS = {
    Breaker.FAILURE: {"breaker_open": 1, "upstream_resting": 1},
    Breaker.PAUSE: {"breaker_open": 1},
    Breaker.REJECTION: {"credentials_rejected": 1},
    Breaker.RIGHTS: {"credentials_rejected": 1, "upstream_resting": 1},
    Breaker.SESSION: {"upstream_resting": 1},
    Breaker.PROVIDER: {"upstream_resting": 1},
    Breaker.ANSWER: {},
    Breaker.UNASKED: {},
}
GAUGES = ("breaker_open", "credentials_rejected", "upstream_resting")


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.what[:60])
async def test_every_failure_is_as_the_table_says(failure: Failure, tmp_path: Path) -> None:
    """Status, code, calls to Gigya, breaker and the audit's reason are those of its row."""
    async with staged(failure, tmp_path) as stage:
        answer = await stage.visitor.ask(**failure.ask)
        problem = answer.json()
        arrived = stage.house.simulator.calls.by_method["socialize.getSessionInfo"]
        found = (answer.status_code, problem.get("code", "released"))
        await _check_breaker(stage, failure)

    assert (failure.status, failure.code) == found
    assert arrived == (failure.calls if failure.arrives else 0)
    assert ("Retry-After" in answer.headers) is (failure.status in {503, 504})
    _check_record(stage, failure)


async def _check_breaker(stage: Stage, failure: Failure) -> None:
    """Have it happen as often as it takes, and see that the gauges tell it."""
    for _ in range(TIMES.get(failure.breaker, 1) - 1):
        await stage.visitor.ask(**failure.ask)
    shown = {name: stage.metric(f'{name}{{site="shop"}}') for name in GAUGES}
    assert dict.fromkeys(GAUGES, 0) | SHOWS[failure.breaker] == shown


def _check_record(stage: Stage, failure: Failure) -> None:
    if failure.code == "audit-unavailable":
        return  # it says so itself: there is no record
    record = stage.house.records()[0]
    found = (record["outcome"], record["reason"], record["upstream"]["attempts"])
    assert (failure.code, failure.reason, failure.calls) == found
    assert failure.status == record["status"]


def test_there_are_enough() -> None:
    """The table has no row twice, and as many as were asked for."""
    rows = [(failure.group, failure.what) for failure in FAILURES]

    assert len(rows) == len(set(rows)) >= LEAST


def test_the_table_shows_each() -> None:
    """What is tested is what the README says."""
    shown = table()

    assert [] == [failure.what for failure in FAILURES if failure.what not in shown]
