"""The plot: one bar a form on a logarithmic scale, a whisker for the spread."""

import math
from collections.abc import Callable
from typing import Final

from tests.benchmark.figures import Data, Figure, by_form
from tests.benchmark.table import ALL

WIDTH: Final = 790
LEFT: Final = 360
RIGHT: Final = 90
ROW: Final = 30
OURS: Final = "#2f6f4f"
THEIRS: Final = "#8a93a3"


def plot(data: Data) -> str:
    """Return the plot as SVG."""
    figures = sorted(by_form(data).items(), key=lambda pair: -pair[1].median)
    height = ROW * len(figures) + 70
    low = 10 ** math.floor(math.log10(min(figure.least for _, figure in figures)))
    high = 10 ** math.ceil(math.log10(max(figure.most for _, figure in figures)))
    span = math.log10(high / low)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(value / low) / span

    rounds = figures[0][1].rounds
    title = f"CPU of the server per request in us, logarithmic (median and spread, {rounds} rounds)"
    shape = f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {shape}>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-weight="600">{title}</text>',
    ]
    tick = low
    while tick <= high:
        parts.append(
            f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="38" y2="{height - 24}" '
            f'stroke="#e3e6ea"/><text x="{x(tick):.1f}" y="{height - 8}" fill="#5b6470" '
            f'text-anchor="middle">{tick:,}</text>'
        )
        tick *= 10
    for number, (name, figure) in enumerate(figures):
        parts.append(_bar(name, figure, 44 + ROW * number, x))
    return "\n".join([*parts, "</svg>", ""])


def _bar(name: str, figure: Figure, y: float, x: Callable[[float], float]) -> str:
    colour = OURS if name.startswith("product") else THEIRS
    middle = y + ROW / 2 - 3
    return (
        f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end">{ALL[name].label}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{x(figure.median) - LEFT:.1f}" height="{ROW - 8}" '
        f'fill="{colour}"/>'
        f'<line x1="{x(figure.least):.1f}" x2="{x(figure.most):.1f}" y1="{middle}" y2="{middle}" '
        f'stroke="#1c2127" stroke-width="1.5"/>'
        f'<text x="{x(figure.most) + 6:.1f}" y="{middle + 4}">{figure.median:,.0f}</text>'
    )
