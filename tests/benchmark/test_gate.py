"""The coarse gate: a change that makes each request much dearer does not pass.

Ratios of CPU in one interleaved run, for times mean nothing on a machine that others use; the
bounds (``goals.GOALS``) are wide: a busy machine slows large programs more than small ones, and the
textbook form has two speeds, 7 ms with all of its 64 connections and 3 ms once load that never
pauses has left it a dozen.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.benchmark.figures import by_form
from tests.benchmark.goals import GOALS, Goal
from tests.benchmark.material import Material
from tests.benchmark.processes import lacking, module
from tests.benchmark.quiet import Patience, described, noise
from tests.benchmark.rounds import compared
from tests.benchmark.size import LEAST_ROUNDS
from tests.benchmark.table import ALL, Form

pytestmark = pytest.mark.needs_tools

FORMS: Final = ("product", "textbook", "passthrough")
SECONDS: Final = 1.5
PATIENCE: Final = 60.0


class TestGate:
    def test_the_product_is_far_from_the_textbook_and_near_the_limit(self, tmp_path: Path) -> None:
        """With all features on, the product stays within wide bounds of the forms around it."""
        assert lacking() is None
        material = Material(directory=tmp_path)
        material.write()
        rows, left_out = compared(
            [ALL[name] for name in FORMS],
            material,
            rounds=LEAST_ROUNDS,
            seconds=SECONDS,
            patience=Patience(PATIENCE),
        )
        assert {} == left_out
        data = {"forms": rows}
        used = {name: f"{each.median:.0f} us" for name, each in by_form(data).items()}
        worst = described(max(rows, key=noise))
        gated = [goal for goal in GOALS if goal.gate is not None]
        assert {"textbook / product", "bare pass-through / product"} == {g.name for g in gated}
        failed = [told for goal in gated if (told := _failure(goal, data))]
        assert [] == failed, f"{'; '.join(failed)}. CPU a request: {used}; at worst {worst}."

    def test_a_form_that_fails_is_left_out(self, tmp_path: Path) -> None:
        """The others are measured all the same, and the end of its log is told."""
        material = Material(directory=tmp_path)
        material.write()
        broken = Form(name="broken", label="", command=lambda *_: module("no_such_module"))
        upset = replace(ALL["passthrough"], name="upset", requests="upset.json")
        wrong = "BREW /v1/provider-tokens HTTP/1.1\r\nHost: localhost\r\n\r\n"
        (tmp_path / "upset.json").write_text(json.dumps([wrong]))
        rows, left_out = compared(
            [broken, upset, ALL["passthrough"]],
            material,
            rounds=1,
            seconds=0.2,
            patience=Patience(),
        )
        assert ["passthrough"] == [row["form"] for row in rows]
        assert {"broken", "upset"} == set(left_out)
        assert "No module named" in left_out["broken"]
        assert "failed: " in left_out["upset"]


def _failure(goal: Goal, data: dict[str, list[dict[str, float]]]) -> str:
    """Return in words how far a goal is missed; nothing where its gate holds."""
    value = goal.value(data)
    assert value is not None
    assert goal.gate is not None
    if goal.holds(value.median, goal.gate):
        return ""
    spread = f"{value.least:.3f} to {value.most:.3f}"
    return f"{goal.name} is {value.median:.3f} ({spread}), {goal.sign} {goal.gate:g} is asked"
