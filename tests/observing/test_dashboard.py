import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.observing import dashboard, drawing, picture
from tests.observing.drawing import Line, Panel, shown
from tests.observing.shipped import DASHBOARD, panels

BEGIN: Final = 1_800_000_000.0
END: Final = BEGIN + 240
SVG: Final = "{http://www.w3.org/2000/svg}"


def place(**changes: int) -> Mapping[str, int]:
    """Return where a panel stands."""
    return {"x": 0, "y": 0, "w": 12, "h": 8} | changes


def words(text: str) -> str:
    """Return every word of a picture; it must be whole XML."""
    found = ET.fromstring(text).iter(f"{SVG}text")  # noqa: S314  # our own
    return "\n".join(each.text or "" for each in found)


class Asked:
    """A Prometheus that has one answer, and remembers the questions."""

    def __init__(self, *series: dict[str, Any]) -> None:
        self.series = list(series)
        self.asked: list[str] = []

    async def query_range(self, expression: str, **_: float) -> list[dict[str, Any]]:
        """Return the answer."""
        self.asked.append(expression)
        return self.series


class TestDashboard:
    def test_is_made_from_the_readable_one(self) -> None:
        """What Grafana imports is panels.yaml's; python -m tests.observing.dashboard."""
        assert dashboard.text() == DASHBOARD.read_text("utf-8")

    def test_asks_for_what_is_chosen(self) -> None:
        """Every query of every panel heeds the namespace that was chosen."""
        expressions = [
            (panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]
        ]

        assert [] == [title for title, expr in expressions if 'namespace=~"$namespace"' not in expr]


class TestDrawing:
    def test_draws_lines_values_and_rows(self) -> None:
        """Titles, legends and last values are in the picture, and nothing breaks it."""
        line = Line("crm & co <1>", [(BEGIN + n, float(n)) for n in range(0, 240, 3)])
        drawn = drawing.picture(
            [
                Panel(title="Traffic", unit="", kind="row", place=place(h=1)),
                Panel(
                    title="a graph", unit="reqps", kind="timeseries", place=place(), lines=[line]
                ),
                Panel(title="a value", unit="s", kind="stat", place=place(x=12), lines=[line]),
                Panel(title="empty", unit="s", kind="timeseries", place=place(y=8)),
                Panel(title="no value", unit="s", kind="stat", place=place(y=8, x=12)),
            ],
            title="whole",
            story="what happened",
            begin=BEGIN,
            end=END,
        )

        told = words(drawn)
        for word in ("whole", "what happened", "Traffic", "a graph", "crm & co <1>", "3.95 min"):
            assert word in told
        assert "nothing" in told

    def test_a_crowd_is_cut_short(self) -> None:
        """Of many lines a few are named, and how many more there are."""
        lines = [Line(f"line {n}", [(BEGIN, n), (END, n)]) for n in range(20)]
        panel = Panel(title="x", unit="", kind="timeseries", place=place(), lines=lines)

        told = words(drawing.picture([panel], title="", story="", begin=BEGIN, end=END))

        assert "and 14 more" in told

    def test_a_gap_is_a_gap(self) -> None:
        """Where there was nothing no line is drawn."""
        assert 2 == drawing._path([(0, 0), (1, 0), (2, 0), (9, 0), (10, 0)]).count("M")

    @pytest.mark.parametrize(
        ("value", "unit", "expected"),
        [
            (0.5, "percentunit", "50 %"),
            (float("inf"), "s", "inf"),
            (90_000, "s", "1.04 d"),
            (0.002, "s", "2 ms"),
            (0.000002, "s", "2 µs"),
            (0, "s", "0 s"),
            (1234, "none", "1.23k"),
            (12, "reqps", "12/s"),
            (64 * 2**20, "bytes", "64 MB"),
        ],
    )
    def test_shows_values_as_people_read_them(self, value: float, unit: str, expected: str) -> None:
        """Units are written out, and three digits are enough."""
        assert expected == shown(value, unit)


class TestPicture:
    async def test_asks_each_panels_own_query(self) -> None:
        """What is drawn is what the panel asks, with everything chosen, under its own legend."""
        value = {"metric": {"result": "ok"}, "values": [[BEGIN, "1"], [BEGIN + 3, "NaN"]]}
        prometheus: Any = Asked(value)
        made = [await picture._asked(each, prometheus, BEGIN, END) for each in panels()]

        assert sum(len(panel["targets"]) for panel in panels()) == len(prometheus.asked)
        assert [] == [expression for expression in prometheus.asked if "$" in expression]
        [panel] = [panel for panel in made if panel.title == "Requests by result"]
        assert [Line("ok", [(BEGIN, 1.0)])] == list(panel.lines)

    async def test_a_value_that_is_long_gone_is_none(self) -> None:
        """A single value is that of the end, or there is none."""
        prometheus: Any = Asked({"metric": {}, "values": [[BEGIN, "1"]]})
        [stat, *_] = [panel for panel in panels() if panel["type"] == "stat"]

        assert [] == list((await picture._asked(stat, prometheus, BEGIN, END)).lines)
