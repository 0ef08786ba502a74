from pathlib import Path

import pytest

from tests.resilience.failures import FAILURES, Breaker, Failure, table
from tests.resilience.stage import Stage, staged

LEAST = 40
"""Failures that the issue asks for."""

OPENING = {Breaker.FAILURE: 1, Breaker.REJECTION: 3, Breaker.RIGHTS: 1, Breaker.ANSWER: 0}
"""How often something must happen until the breaker opens; ``stage`` sets the first."""


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.what[:60])
async def test_every_failure_is_as_the_table_says(failure: Failure, tmp_path: Path) -> None:
    """Status, code, calls to Gigya, breaker and the audit's reason are those of its row."""
    async with staged(failure, tmp_path) as stage:
        answer = await stage.visitor.ask(**failure.ask)
        problem = answer.json()
        arrived = stage.house.simulator.calls.by_method["socialize.getSessionInfo"]
        found = (answer.status_code, problem.get("code", "released"))
        opened = await _opened(stage, failure)

    assert (failure.status, failure.code) == found
    assert arrived <= failure.calls
    assert ("Retry-After" in answer.headers) is (failure.status in {503, 504})
    _check_record(stage, failure)
    assert opened is (failure.breaker is not Breaker.ANSWER)


async def _opened(stage: Stage, failure: Failure) -> bool:
    """Return whether the breaker opens when it has happened often enough, and says so."""
    for _ in range(OPENING[failure.breaker] - 1):
        await stage.visitor.ask(**failure.ask)
    gauges = [
        stage.metric(f'{name}{{site="shop"}}') for name in ("breaker_open", "credentials_rejected")
    ]
    expected = [
        float(failure.breaker is Breaker.FAILURE),
        float(failure.breaker in {Breaker.REJECTION, Breaker.RIGHTS}),
    ]
    assert expected == gauges
    return any(gauges)


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
