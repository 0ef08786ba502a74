import re
from pathlib import Path
from typing import Final

from service.audit.orders import REASONS

RUNBOOK: Final = Path(__file__).parents[2] / "deploy/runbooks/CredentialProxyReleasesWithdrawn.md"


def test_tells_of_every_reason() -> None:
    """Whatever a sink is taken out for, who is woken finds what it is and what to do, once."""
    rows = re.findall(r"^\| (`.*?`) \| .+ \| .+ \|$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    told = [reason for row in rows for reason in re.findall(r"`([a-z-]+)`", row)]
    assert sorted(REASONS) == sorted(reason for reason in told if reason != "reason")
