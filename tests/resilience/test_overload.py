"""Twice as many requests as can be served; ``test_shedding`` has the parts."""

from pathlib import Path

import pytest

from tests.resilience.overload import overload


@pytest.mark.needs_tools
async def test_twice_the_load_costs_less_than_a_tenth(tmp_path: Path) -> None:
    """At twice the capacity goodput is 0.9 of the peak or more, and afterwards all is well."""
    report = await overload(tmp_path, 4.0)

    assert report["is_well"], report
