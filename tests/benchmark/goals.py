"""The ratios that must hold, and what the coarse gate insists upon: every bound in one place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.benchmark.figures import Data, Figure, added, figure, forms, grown, ratio

Value = Callable[[Data], Figure | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One figure: what it is, what it must be, what it had better be.

    ``gate`` is what .ci/run insists upon, with other work on the machine.
    """

    name: str
    value: Value
    must: float
    aim: float | None = None
    gate: float | None = None
    at_least: bool = False

    def holds(self, value: float, bound: float) -> bool:
        """Whether ``value`` is on the good side of ``bound``."""
        return value >= bound if self.at_least else value <= bound

    @property
    def sign(self) -> str:
        """How a bound is written."""
        return "≥" if self.at_least else "≤"


def _many_at_once(data: Data) -> Figure | None:
    many, some = ({"form": "product", "in_flight": number} for number in (512, 64))
    return ratio(data, "in_flight", "cpu_us", many, some)


def after_burst(data: Data, form: str) -> Figure | None:
    """Return CPU at concurrency 1 after a burst, in units of what it was before."""
    after, before = ({"form": form, "when": when} for when in ("after", "before"))
    return ratio(data, "burst", "cpu_us", after, before)


GOALS: Final = (
    Goal(
        name="textbook / product",
        value=partial(forms, a="textbook", b="product"),
        must=20,
        aim=40,
        gate=10,
        at_least=True,
    ),
    Goal(
        name="bare pass-through / product",
        value=partial(forms, a="passthrough", b="product"),
        must=0.25,
        aim=0.7,
        gate=0.17,
        at_least=True,
    ),
    Goal(
        name="Go / product",
        value=partial(forms, a="go", b="product"),
        must=0.4,
        aim=1.0,
        at_least=True,
    ),
    Goal(name="512 in flight / 64", value=_many_at_once, must=1.5, aim=1.2),
    Goal(name="added p50 at 1,000/s, ms", value=partial(added, what="p50_ms"), must=1.5, aim=0.6),
    Goal(name="added p99 at 1,000/s, ms", value=partial(added, what="p99_ms"), must=10, aim=4),
    Goal(
        name="memory after 20,000 requests, MB",
        value=partial(figure, probe="memory", what="megabytes", requests=20_000),
        must=90,
        aim=65,
    ),
    Goal(
        name="growth to 100,000 requests, MB",
        value=partial(grown, first=20_000, last=100_000),
        must=3,
        aim=1,
    ),
    Goal(
        name="concurrency 1, after a burst / before",
        value=partial(after_burst, form="product"),
        must=1.2,
        aim=1.05,
    ),
    Goal(
        name="cache hit / call to Gigya",
        value=partial(forms, a="product-cache", b="product"),
        must=0.5,
        aim=0.3,
    ),
    Goal(
        name="requests/s at 64 in flight, durability disk / os",
        value=partial(forms, a="product-disk", b="product", what="a_second"),
        must=0.5,
        at_least=True,
    ),
    Goal(
        name="goodput at twice capacity / peak",
        value=partial(figure, probe="goodput", what="ratio_by_time"),
        must=0.9,
        at_least=True,
    ),
)


def missed(data: Data) -> Iterator[tuple[Goal, Figure]]:
    """Yield each goal whose must was measured and does not hold."""
    for goal in GOALS:
        value = goal.value(data)
        if value is not None and not goal.holds(value.median, goal.must):
            yield goal, value
