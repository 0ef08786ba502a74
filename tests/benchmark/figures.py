"""From raw rounds to medians, spreads and the ratios that must hold."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

Data = Mapping[str, Any]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A median with its spread over the rounds."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Figure":
        """Return the figure of ``values``, at least one."""
        all_ = sorted(values)
        return cls(median=statistics.median(all_), least=all_[0], most=all_[-1], rounds=len(all_))


def by_form(data: Data) -> dict[str, Figure]:
    """Return CPU microseconds a request of each form."""
    rows: Sequence[Row] = data["forms"]
    names = dict.fromkeys(row["form"] for row in rows)
    return {name: Figure.of(row["cpu_us"] for row in rows if row["form"] == name) for name in names}


def median(rows: Iterable[Row], what: str, **where: Any) -> float | None:
    """Return the median of ``what`` over the rows that fit; ``None`` where there are none."""
    values = [row[what] for row in rows if all(row.get(k) == v for k, v in where.items())]
    return statistics.median(values) if values else None


def divided(a: float | None, b: float | None) -> float | None:
    """Return a quotient, where both are known."""
    return a / b if a is not None and b else None


def _forms(a: str, b: str) -> Callable[[Data], float | None]:
    """Return a ratio of two forms: the median of the rounds' ratios, for rounds are interleaved."""

    def ratio(data: Data) -> float | None:
        used = {(row["round"], row["form"]): row["cpu_us"] for row in data["forms"]}
        rounds = {number for number, _ in used}
        ratios = [
            used[number, a] / used[number, b]
            for number in rounds
            if (number, a) in used and (number, b) in used
        ]
        return statistics.median(ratios) if ratios else None

    return ratio


def _many_at_once(data: Data) -> float | None:
    rows = data.get("in_flight", ())
    return divided(median(rows, "cpu_us", in_flight=512), median(rows, "cpu_us", in_flight=64))


def added(data: Data, what: str, form: str = "product", rate: int = 1000) -> float | None:
    """Return the milliseconds that ``form`` adds to the direct call."""
    rows = data.get("open_loop", ())
    with_it, direct = (median(rows, what, form=name, rate=rate) for name in (form, "direct"))
    return None if with_it is None or direct is None else with_it - direct


def _memory(data: Data) -> float | None:
    rows = data.get("memory", ())
    return rows[1]["megabytes"] if len(rows) > 1 else None


def _growth(data: Data) -> float | None:
    rows = data.get("memory", ())
    return rows[2]["megabytes"] - rows[1]["megabytes"] if len(rows) > 2 else None


def _after_burst(data: Data) -> float | None:
    rows = data.get("burst", ())
    return divided(median(rows, "cpu_us", when="after"), median(rows, "cpu_us", when="before"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One ratio: what it is, what it must be, what it had better be."""

    name: str
    value: Callable[[Data], float | None]
    must: float
    aim: float
    at_least: bool = False

    def holds(self, value: float, bound: float) -> bool:
        """Whether ``value`` is on the good side of ``bound``."""
        return value >= bound if self.at_least else value <= bound


GOALS: Final = (
    Goal(
        name="textbook / product",
        value=_forms("textbook", "product"),
        must=20,
        aim=40,
        at_least=True,
    ),
    Goal(
        name="bare pass-through / product",
        value=_forms("passthrough", "product"),
        must=0.25,
        aim=0.7,
        at_least=True,
    ),
    Goal(name="Go / product", value=_forms("go", "product"), must=0.4, aim=1.0, at_least=True),
    Goal(name="512 in flight / 64", value=_many_at_once, must=1.5, aim=1.2),
    Goal(name="added p50 at 1,000/s, ms", value=partial(added, what="p50_ms"), must=1.5, aim=0.6),
    Goal(name="added p99 at 1,000/s, ms", value=partial(added, what="p99_ms"), must=10, aim=4),
    Goal(name="memory after 20,000 requests, MB", value=_memory, must=90, aim=65),
    Goal(name="growth to 100,000 requests, MB", value=_growth, must=3, aim=1),
    Goal(name="concurrency 1, after a burst / before", value=_after_burst, must=1.2, aim=1.05),
    Goal(
        name="cache hit / call to Gigya",
        value=_forms("product-cache", "product"),
        must=0.5,
        aim=0.3,
    ),
)
