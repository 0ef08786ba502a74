"""Panels as SVG: lines over time, single values, and their legends; as much as a README needs."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Final

COLUMN: Final = 50
"""Pixels of one of the dashboard's 24 columns."""
UNIT: Final = 22
"""Pixels of one unit of height."""
COLOURS: Final = (
    *("#1a7f5a", "#2f6fde", "#d9822b", "#b3336b", "#6b4fbb", "#0f8b9d"),
    *("#8a6d1d", "#d64545", "#5c7080", "#3d9970", "#a854a8", "#4d5d8a"),
)
WIDE: Final = 320
"""Pixels beyond which a legend has two columns."""
NAMES: Final = 6
"""Legends that are written; of more, how many there are."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One series."""

    name: str
    points: Sequence[Point]

    @property
    def last(self) -> float:
        """What it was at the end."""
        return self.points[-1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel where it stands, in Grafana's units."""

    title: str
    unit: str
    kind: str
    place: Mapping[str, int]
    lines: Sequence[Line] = field(default_factory=tuple)


def picture(panels: Iterable[Panel], *, title: str, story: str, begin: float, end: float) -> str:
    """Return the whole dashboard under its ``title``; times are UNIX seconds."""
    drawn = list(panels)
    height = max(p.place["y"] + p.place["h"] for p in drawn) * UNIT + 54
    body = "".join(_panel(panel, begin, end) for panel in drawn)
    width = 24 * COLUMN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui,sans-serif" font-size="11">'
        f'<rect width="{width}" height="{height}" fill="#eef1f4"/>'
        f"{_text(8, 22, title, size=16, colour='#24303c')}"
        f"{_text(8, 40, story, size=12, colour='#5c7080')}"
        f'<g transform="translate(0 50)">{body}</g></svg>\n'
    )


def _panel(panel: Panel, begin: float, end: float) -> str:
    place = panel.place
    x, y = place["x"] * COLUMN, place["y"] * UNIT
    width, height = place["w"] * COLUMN, place["h"] * UNIT
    if panel.kind == "row":
        return _text(x + 8, y + 16, panel.title, size=13, colour="#24303c")
    draw = {"stat": _stat}.get(panel.kind, _graph)
    inner = "".join(draw(panel, width - 8, height - 8, begin, end))
    return (
        f'<g transform="translate({x + 4} {y + 4})"><rect width="{width - 8}" '
        f'height="{height - 8}" rx="4" fill="#fff" stroke="#d5dbe1"/>'
        f"{_text(8, 16, panel.title, size=12, colour='#24303c')}{inner}</g>"
    )


def _stat(panel: Panel, width: int, height: int, _: float, __: float) -> Iterator[str]:
    told = [(line.name, shown(line.last, panel.unit)) for line in panel.lines] or [("", "-")]
    for at, (name, value) in enumerate(told[:2]):
        middle = height / 2 + 6 + (at - (len(told[:2]) - 1) / 2) * 44
        yield _text(width / 2, middle, value, size=24, colour="#1a7f5a", anchor="middle")
        yield _text(width / 2, middle + 16, name[:40], colour="#5c7080", anchor="middle")


def _graph(panel: Panel, width: int, height: int, begin: float, end: float) -> Iterator[str]:
    lines = sorted(panel.lines, key=lambda line: -max(v for _, v in line.points))
    across = 2 if width > WIDE else 1
    rows = math.ceil(min(len(lines), NAMES + 1) / across)
    left, top, bottom = 52, 28, height - 14 - rows * 14
    most = max((v for line in lines for _, v in line.points), default=0.0) or 1.0
    for step in range(3):
        value, y = most * step / 2, bottom - (bottom - top) * step / 2
        yield f'<path d="M{left} {y:.0f}H{width - 8}" stroke="#eceff2"/>'
        yield _text(left - 4, y + 4, shown(value, panel.unit), colour="#7b8794", anchor="end")
    if not lines:
        yield _text(width / 2, (top + bottom) / 2, "nothing", colour="#9aa5b1", anchor="middle")
    right, up = (width - 8 - left) / (end - begin), (bottom - top) / most
    for line, colour in zip(lines, _colours(), strict=False):
        path = _path([(left + (t - begin) * right, bottom - v * up) for t, v in line.points])
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
    yield from _legend(lines, width, bottom + 16, across)


def _legend(lines: Sequence[Line], width: int, top: float, across: int) -> Iterator[str]:
    names = [(line.name, colour) for line, colour in zip(lines, _colours(), strict=False)]
    if len(names) > NAMES + 1:
        names = [*names[:NAMES], (f"and {len(names) - NAMES} more", "#9aa5b1")]
    for at, (name, colour) in enumerate(names):
        x, y = 10 + (at % across) * (width / across - 8), top + (at // across) * 14
        yield f'<rect x="{x:.0f}" y="{y - 7:.0f}" width="10" height="3" fill="{colour}"/>'
        yield _text(x + 14, y, name[: int(width / across / 6.2)], colour="#3e4c59")


def _path(points: Sequence[Point]) -> str:
    """Return a path with a gap wherever points are missing."""
    steps = [after[0] - before[0] for before, after in pairwise(points)]
    gap = 2.5 * min(steps, default=1.0)
    parts, last = [], -math.inf
    for x, y in points:
        parts.append(f"{'M' if x - last > gap else 'L'}{x:.0f} {y:.1f}")
        last = x
    return "".join(parts)


def shown(value: float, unit: str) -> str:
    """Return a value as Grafana shows it, about."""
    if math.isinf(value):
        return "inf"
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    if unit == "s":
        return _seconds(value)
    if unit == "bytes":
        return f"{value / 2**20:.3g} MB"
    text = f"{value / 1000:.3g}k" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text}/s" if unit == "reqps" else text


def _seconds(value: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return f"{value * 1e6:.3g} µs" if value else "0 s"


def _colours() -> Iterator[str]:
    while True:
        yield from COLOURS


def _text(
    x: float,
    y: float,
    text: str,
    *,
    colour: str,
    size: int = 10,
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
