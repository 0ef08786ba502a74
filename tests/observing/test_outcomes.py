from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from service.wiring.observers import RESULTS
from tests.observing.ways import VARIANTS, WAYS, gone, prepared

EXPECTED: Final[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("outcomes.yaml").read_text("utf-8")
)
VARIES: Final = frozenset(
    {"audit_id", "timestamp", "chain", "hash", "configuration", "build", "gigya_call_id", "call_id"}
)
"""Members that chance or the build give; that they are there is compared, and that they agree."""


def steady(value: Any) -> Any:
    """Return ``value`` with a dot for whatever varies."""
    if not isinstance(value, dict):
        return value
    return {name: "." if name in VARIES else steady(member) for name, member in value.items()}


def test_every_outcome_has_its_way() -> None:
    """The table of outcomes is complete, here and there."""
    assert set(RESULTS) == set(WAYS) == set(EXPECTED) - set(VARIANTS)


@pytest.mark.parametrize("outcome", [*WAYS, *VARIANTS])
async def test_line_and_record_are_these(outcome: str, tmp_path: Path) -> None:
    """The canonical line and the audit record of each outcome are these and hold nothing else."""
    line, record = await gone(prepared(tmp_path, outcome), outcome)

    assert EXPECTED[outcome] == {"line": steady(line), "record": steady(record)}
    assert line["audit_id"] == record["audit_id"]
    assert line.get("gigya_call_id") == record.get("upstream", {}).get("call_id")
