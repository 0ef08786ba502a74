"""Counters and histograms for a service that counts eight times in each request, measures twice.

Their series need no lock, which is most of what the library's cost: all is counted and measured on
the event loop. Another thread may read them.
"""

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from math import inf
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

S = TypeVar("S")


class Count:
    """One series of a counter; ``value`` is added to."""

    __slots__ = ("_ask", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._ask: Callable[[], float] | None = None

    def set_function(self, ask: Callable[[], float]) -> None:
        """Have the value asked for at each exposition: it is counted elsewhere."""
        self._ask = ask

    def now(self) -> float:
        """Return how many it is."""
        return self.value if self._ask is None else self._ask()


class Measurements:
    """One series of a histogram.

    ``counts`` has how many were up to each bound and above the one before, then how many were above
    the last; ``total`` is the sum of all.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, measured: float) -> None:
        """Take a measurement."""
        self.counts[bisect_left(self._bounds, measured)] += 1
        self.total += measured


class Family(Collector, Generic[S]):
    """The series of one metric, by the values of its labels."""

    def __init__(
        self,
        name: str,
        tells: str,
        labels: tuple[str, ...],
        *,
        namespace: str,
        registry: CollectorRegistry,
    ) -> None:
        self._about = (f"{namespace}_{name}", tells)
        self._names = labels
        self._series: dict[tuple[str, ...], S] = {}
        if not labels:
            self.labels()
        registry.register(self)

    @abstractmethod
    def begin(self) -> S:
        """Return a new series."""

    def labels(self, *values: str) -> S:
        """Return the series of these values; raises ``ValueError`` for too few or too many."""
        if len(values) != len(self._names):
            raise ValueError("as many values as there are labels")
        return self._series.setdefault(values, self.begin())

    def clear(self) -> None:
        """Drop all series."""
        self._series = {}


class Counter(Family[Count]):
    """A counter as the library exposes it."""

    def begin(self) -> Count:
        """Return a new series."""
        return Count()

    def collect(self) -> list[CounterMetricFamily]:
        """Return what there is."""
        family = CounterMetricFamily(*self._about, labels=self._names)
        for values, count in list(self._series.items()):
            family.add_metric(values, count.now())
        return [family]


class Histogram(Family[Measurements]):
    """A histogram as the library exposes it; ``buckets`` are its bounds, from the least."""

    def __init__(
        self,
        name: str,
        tells: str,
        labels: tuple[str, ...],
        *,
        namespace: str,
        registry: CollectorRegistry,
        buckets: tuple[float, ...],
    ) -> None:
        self._bounds = buckets
        super().__init__(name, tells, labels, namespace=namespace, registry=registry)

    def begin(self) -> Measurements:
        """Return a new series."""
        return Measurements(self._bounds)

    def collect(self) -> list[HistogramMetricFamily]:
        """Return what there is."""
        family = HistogramMetricFamily(*self._about, labels=self._names)
        bounds = [_told(bound) for bound in (*self._bounds, inf)]
        for values, measurements in list(self._series.items()):
            buckets = list(zip(bounds, accumulate(measurements.counts), strict=True))
            family.add_metric(values, buckets, measurements.total)
        return [family]


def _told(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]  # the library has no type
