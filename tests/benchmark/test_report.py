"""What is told of the rounds, and what the command refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmark.__main__ import DATA, main, options
from tests.benchmark.figures import LOST, added, forms
from tests.benchmark.goals import GOALS, missed
from tests.benchmark.plot import plot
from tests.benchmark.report import LOUD, table


def data(**parts: Any) -> dict[str, Any]:
    """Return a small run: a product of 400 us, a textbook of 9000."""
    used_by = {"product": 400.0, "textbook": 9000.0, "nginx": 20.0}
    return {
        "date": "2026-11-22",
        "machine": {"cpu": "a CPU", "cores": 2, "python": "CPython", "load": 0.1},
        "versions": {"uvicorn": "1"},
        "forms": [
            {"round": number, "form": form, "in_flight": 64, "cpu_us": used * number}
            for number in (1, 2, 3)
            for form, used in used_by.items()
        ],
        "left_out": {"go": "go is not installed"},
        **parts,
    }


def opened(**more: Any) -> list[dict[str, Any]]:
    """Return three rounds at 1,000/s in which the product adds 1, 2 and 3 ms."""
    good = {"rate": 1000, "due": 10, "answered": 10, "failed": 0, "unanswered": 0, "achieved": 10.0}
    rows = []
    for number in (1, 2, 3):
        base = {"round": number, **good}
        rows += [
            {**base, "form": "direct", "p50_ms": 50.0, "p99_ms": 52.0},
            {**base, "form": "product", "p50_ms": 50.0 + number, "p99_ms": 55.0, **more},
        ]
    return rows


class TestDrawn:
    @pytest.mark.parametrize("file", ["rounds.json", "short.json"])
    @pytest.mark.parametrize(("suffix", "draw"), [(".md", table), (".svg", plot)])
    def test_is_what_the_rounds_give(self, file: str, suffix: str, draw: Any) -> None:
        """The committed table and plot are drawn from the committed rounds."""
        committed = DATA / file
        drawn = draw(json.loads(committed.read_bytes()))
        assert drawn == committed.with_suffix(suffix).read_text("utf-8"), (
            f"python -m tests.benchmark --draw --data {committed}"
        )

    def test_names_every_form(self) -> None:
        """Table and plot have what was measured; the table also what was left out, and why."""
        text, picture = table(data()), plot(data())
        assert "| textbook / product | 22.5 | 22.5-22.5 | ≥ 20 | ≥ 40 | must holds |" in text
        assert "left out: go is not installed" in text
        assert all(label in picture for label in ("18,000", "800", "40"))

    def test_begins_with_what_is_missed(self) -> None:
        """The sentence before the figures has every must that does not hold."""
        rows = opened()
        assert "No must that was measured is missed." in table(data())
        assert "**Missed: added p50 at 1,000/s, ms (2.00, ≤ 1.5 asked).**" in table(
            data(open_loop=rows)
        )

    def test_says_who_else_was_there(self) -> None:
        """What others took of the cores stands beside the figures, and how often it was much."""
        rows = [
            {**row, "others": 0.02, "others_beside": 0.3, "tries": 2} for row in data()["forms"]
        ]
        assert (
            "median 30%, at most 30%; of 9 rows 9 were measured once more, and 9 kept in which "
            f"others took more than 10%. **{LOUD}**" in table(data(forms=rows))
        )
        assert LOUD not in table(data(forms=[{**row, "others_beside": 0.0} for row in rows]))

    def test_of_a_part_of_the_whole_is_what_there_is(self) -> None:
        """Without the product there is a report; only its ratios are not measured."""
        rows = [row for row in data()["forms"] if row["form"] != "product"]
        assert "| textbook / product | not measured |" in table(data(forms=rows))
        assert "| nginx proxy_pass | 40.0 |" in table(data(forms=rows))

    def test_has_what_failed(self) -> None:
        """A row that failed is no figure, and is told with its reason."""
        row = {"round": 2, "form": "product", "in_flight": 512, "failure": "product: 500 503"}
        assert "Failed: in_flight, round 2: product: 500 503." in table(data(in_flight=[row]))


class TestFigures:
    def test_are_taken_round_by_round(self) -> None:
        """What is added is the median of what each round adds to its own direct call."""
        found = added(data(open_loop=opened()), "p50_ms")
        assert found is not None
        assert (2.0, 1.0, 3.0, 3) == (found.median, found.least, found.most, found.rounds)

    @pytest.mark.parametrize(
        "lost",
        [{"failed": 1, "answered": 9}, {"unanswered": 1, "answered": 9}, {"failure": "crashed"}],
        ids=["failed", "unanswered", "crashed"],
    )
    def test_a_round_that_loses_requests_cannot_hold(self, lost: dict[str, Any]) -> None:
        """However fast the rest was: leaving the slowest out is no way to be fast."""
        run = data(open_loop=opened(**lost))
        found = added(run, "p99_ms")
        assert found is not None
        assert found.median == LOST
        assert {"added p50 at 1,000/s, ms", "added p99 at 1,000/s, ms"} == {
            goal.name for goal, _ in missed(run)
        }
        assert "| 1,000/s: product | +lost |" in table(run)

    def test_a_round_too_short_to_see_is_not_counted(self) -> None:
        """CPU is told in steps of 10 ms: nothing is divided by none of them."""
        rows = [{**row, "cpu_us": 0.0} if row["round"] == 1 else row for row in data()["forms"]]
        found = forms(data(forms=rows), "textbook", "product")
        assert found is not None
        assert (22.5, 2) == (found.median, found.rounds)

    def test_a_gate_asks_for_less_than_the_must(self) -> None:
        """What a busy machine is held to is no more than what a quiet one is."""
        gated = [goal for goal in GOALS if goal.gate is not None]
        assert gated
        assert all(goal.holds(goal.must, goal.gate) for goal in gated if goal.gate is not None)


class TestCommand:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--rounds", "2"], "--rounds: 5 are the least of which a median is told."),
            (["--draw", "--data", "missing.json"], "--draw: there is no missing.json."),
        ],
        ids=["few rounds", "nothing to draw"],
    )
    def test_refuses_with_a_sentence(
        self, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What cannot be done is told at once, and exits 2."""
        assert main(arguments) == 2
        assert f"{told}\n" == capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "file"),
        [
            ([], "rounds.json"),
            (["--short"], "short.json"),
            (["--forms", "nginx"], "partial.json"),
            (["--probes"], "partial.json"),
            (["--short", "--seconds", "1"], "partial.json"),
        ],
        ids=["whole", "short", "one form", "no probe", "short and shorter"],
    )
    def test_a_part_leaves_what_is_published(self, arguments: list[str], file: str) -> None:
        """Only a whole run goes where the published rounds are."""
        assert DATA / file == options(arguments).data

    @pytest.mark.parametrize(("rows", "status"), [([], 0), (opened(), 1)], ids=["held", "missed"])
    def test_exits_1_where_a_must_is_missed(
        self, tmp_path: Path, rows: list[dict[str, Any]], status: int
    ) -> None:
        """A script can tell whether the musts hold."""
        file = tmp_path / "rounds.json"
        file.write_text(json.dumps(data(open_loop=rows)))
        assert status == main(["--draw", "--data", str(file)])
