"""The README's worked examples, one for each way to prove who is calling, are configurations."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from service.settings.load import load
from service.simulator import seeded
from tests.house import configuration, grant

README: Final = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
NOW: Final = datetime(2026, 11, 1, tzinfo=UTC)


def examples() -> list[dict[str, Any]]:
    """Return the chapter's examples of configurations."""
    chapter = README.partition("\n## Who is calling\n")[2].partition("\n## ")[0]
    found = re.findall(r"```yaml\n(.*?)\n```", chapter, re.DOTALL)
    return [each for each in map(yaml.safe_load, found) if "authentication" in each]


def whole(example: dict[str, Any]) -> str:
    """Return a whole configuration with ``example`` in it; its callers get a grant."""
    rows = [{"grants": [grant()], **row} for row in example.get("callers", [])]
    base = configuration(seeded(0, now=NOW.timestamp()), Path("/audit"))
    document = json.dumps({**base, **example, "callers": rows}, default=datetime.isoformat)
    return yaml.safe_dump(json.loads(document))


@pytest.mark.parametrize("example", examples(), ids=lambda each: each["authentication"][0]["name"])
def test_example_has_no_faults(example: dict[str, Any]) -> None:
    """What is shown can be used as it stands."""
    settings = load(whole(example), read_file=None, now=NOW).settings

    assert len(example["authentication"]) == len(settings.authentication)


def test_every_way_has_an_example() -> None:
    """Kubernetes comes first, and no way is left out."""
    shown = [row["method"] for each in examples() for row in each["authentication"]]

    assert "jwt" == shown[0]
    assert {"static", "jwt", "token_review", "mutual_tls"} == set(shown)
