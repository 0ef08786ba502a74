"""The coarse gate: a change that makes each request much dearer does not pass.

Ratios of CPU in one interleaved run, for times mean nothing on a machine that others use; margins
are wide, because a busy machine slows large programs more than small ones.
"""

from pathlib import Path
from typing import Final

import pytest

from tests.benchmark.figures import Figure
from tests.benchmark.material import Material
from tests.benchmark.report import plot, table
from tests.benchmark.rounds import compared

pytestmark = pytest.mark.needs_tools

ROUNDS: Final = 5
SECONDS: Final = 1.0
TEXTBOOK: Final = 5.0
"""The textbook form costs at least so many times what the product does; measured: see README."""
LIMIT: Final = 0.05
"""A bare pass-through costs at least this part of the product; measured: see README."""


def ratios(rows: list[dict[str, float]], form: str) -> Figure:
    """Return what ``form`` costs in units of the product, round by round."""
    used = {(row["round"], row["form"]): row["cpu_us"] for row in rows}
    rounds = range(1, ROUNDS + 1)
    return Figure.of(used[n, form] / used[n, "product"] for n in rounds)  # type: ignore[index]  # names


class TestGate:
    def test_the_product_is_far_from_the_textbook_and_near_the_limit(self, tmp_path: Path) -> None:
        """With all features on, the product stays within wide margins of the forms around it."""
        material = Material(directory=tmp_path)
        material.write()
        names = ("product", "textbook", "passthrough")
        rows, left_out = compared(names, material, rounds=ROUNDS, seconds=SECONDS)
        assert {} == left_out
        assert ratios(rows, "textbook").median >= TEXTBOOK
        assert ratios(rows, "passthrough").median >= LIMIT

    def test_what_is_drawn_comes_from_the_rounds(self, tmp_path: Path) -> None:
        """The table and the plot name every form that was measured, and say what was left out."""
        del tmp_path
        rounds = [
            {"round": number, "form": form, "cpu_us": used * number}
            for number in (1, 2, 3)
            for form, used in (("product", 400.0), ("textbook", 9000.0), ("nginx", 20.0))
        ]
        data = {
            "date": "2026-11-22",
            "machine": {"cpu": "a CPU", "cores": 2, "python": "CPython"},
            "versions": {"uvicorn": "1"},
            "forms": rounds,
            "left_out": {"go": "go is not installed"},
        }
        text, picture = table(data), plot(data)
        assert "| textbook / product | 22.50 | ≥ 20 | ≥ 40 | must holds |" in text
        assert "left out: go is not installed" in text
        assert all(label in picture for label in ("18,000", "800", "40"))
