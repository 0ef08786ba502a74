"""From raw rounds to figures: medians with their spread, ratios taken round by round."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import sub, truediv
from typing import Any, Final

Data = Mapping[str, Any]
Row = Mapping[str, Any]
Where = Mapping[str, Any]

LOST: Final = float("inf")
"""The latency of a round in which requests failed or were not answered: it cannot hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A median with its spread over the rounds."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Figure | None":
        """Return the figure of ``values``; ``None`` where there are none."""
        all_ = sorted(values)
        if not all_:
            return None
        return cls(median=statistics.median(all_), least=all_[0], most=all_[-1], rounds=len(all_))

    @property
    def told(self) -> str:
        """The median as it is written."""
        return number(self.median)

    @property
    def spread(self) -> str:
        """The spread as it is written; nothing of a single round."""
        return "" if self.rounds == 1 else f"{number(self.least)}-{number(self.most)}"


def number(value: float) -> str:
    """Return three digits of it or so."""
    if math.isinf(value):
        return "lost"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 20 else 2
    return f"{value:,.{digits}f}"


def told(found: Figure | None) -> str:
    """Return the median as it is written, where there is one."""
    return "" if found is None else found.told


def by_round(data: Data, probe: str, what: str, where: Where) -> dict[int, float]:
    """Return ``what`` of the rows that fit, by round."""
    return {
        row.get("round", 1): row[what]
        for row in data.get(probe, ())
        if row.get(what) is not None and all(row.get(k) == v for k, v in where.items())
    }


def figure(data: Data, probe: str, what: str, **where: Any) -> Figure | None:
    """Return the figure of ``what`` over the rows that fit."""
    return Figure.of(by_round(data, probe, what, where).values())


def by_form(data: Data) -> dict[str, Figure]:
    """Return CPU microseconds a request of each form."""
    names = dict.fromkeys(row["form"] for row in data["forms"])
    found = {name: figure(data, "forms", "cpu_us", form=name) for name in names}
    return {name: each for name, each in found.items() if each is not None}


def together(
    a: Mapping[int, float], b: Mapping[int, float], join: Callable[[float, float], float]
) -> Figure | None:
    """Return the figure of what ``join`` makes of each round that both have.

    Rounds are interleaved: what a machine does to one it does to the other.
    """
    return Figure.of(join(a[number], b[number]) for number in a if number in b)


def ratio(data: Data, probe: str, what: str, a: Where, b: Where) -> Figure | None:
    """Return what ``a`` is in units of ``b``; a round too short to see ``b`` does not count."""
    units = {number: value for number, value in by_round(data, probe, what, b).items() if value}
    return together(by_round(data, probe, what, a), units, truediv)


def forms(data: Data, a: str, b: str, what: str = "cpu_us") -> Figure | None:
    """Return what form ``a`` is in units of form ``b``."""
    return ratio(data, "forms", what, {"form": a}, {"form": b})


def added(data: Data, what: str, form: str = "product", rate: int = 1000) -> Figure | None:
    """Return the milliseconds that ``form`` adds to the direct call."""
    lost = {row.get("round", 1) for row in opened(data, form, rate) if _lost(row)}
    took = by_round(data, "open_loop", what, {"form": form, "rate": rate})
    direct = by_round(data, "open_loop", what, {"form": "direct", "rate": rate})
    return together({**took, **dict.fromkeys(lost, LOST)}, direct, sub)


def opened(data: Data, form: str, rate: int) -> list[Row]:
    """Return the open-loop rows of a form at a rate."""
    return [row for row in data.get("open_loop", ()) if (row["form"], row["rate"]) == (form, rate)]


def _lost(row: Row) -> bool:
    return "failure" in row or bool(row["failed"] or row["due"] > row["answered"])


def grown(data: Data, first: int, last: int) -> Figure | None:
    """Return by how many MB memory grew between so many requests and so many."""
    before, after = (
        by_round(data, "memory", "megabytes", {"requests": number}) for number in (first, last)
    )
    return together(after, before, sub)
