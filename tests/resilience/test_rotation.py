"""Keys are rotated, callers go on, and in the end the process goes: nobody is refused."""

import json
from pathlib import Path

import pytest

from tests.resilience.rotations import ROTATIONS
from tests.resilience.soak import REST, soak

A_MOMENT = 1.0
A_MINUTE = 60.0


async def test_no_request_fails_while_keys_are_rotated(tmp_path: Path) -> None:
    """Each kind of key is rotated under load, and SIGTERM comes under load: all are answered."""
    report = await soak(tmp_path, A_MOMENT)

    assert not report["wrong"], "\n".join(report["wrong"])
    assert set(ROTATIONS) == set(report["rotations"])
    assert (0, True) == (report["exit_status"], report["audit_is_whole"])
    assert report["answers"]["200 released"] == report["releases_on_record"]


@pytest.mark.needs_tools
async def test_nothing_leaks_over_a_minute(tmp_path: Path) -> None:
    """Load, failures and rotations for a minute: no memory, task or descriptor is lost."""
    report = await soak(tmp_path, A_MINUTE, rest=REST)

    assert not report["wrong"], "\n".join(report["wrong"])
    assert report["is_well"], json.dumps(report, indent=2)
