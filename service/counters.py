"""Counters for a service that counts eight times in each request."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Count:
    """One series of a counter; counted on the event loop only, and so without a lock."""

    __slots__ = ("_ask", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._ask: Callable[[], float] | None = None

    def inc(self, by: float) -> None:
        """Count."""
        self.value += by

    def set_function(self, ask: Callable[[], float]) -> None:
        """Have the value asked for at each exposition: it is counted elsewhere."""
        self._ask = ask

    def now(self) -> float:
        """Return how many it is."""
        return self.value if self._ask is None else self._ask()


class Counter(Collector):
    """A counter whose series need no lock, which is most of what the library's cost."""

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
        self._series: dict[tuple[str, ...], Count] = {}
        if not labels:
            self.labels()
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """Return the series of these values; raises ``ValueError`` for too few or too many."""
        if len(values) != len(self._names):
            raise ValueError("as many values as there are labels")
        return self._series.setdefault(values, Count())

    def clear(self) -> None:
        """Drop all series."""
        self._series = {}

    def collect(self) -> list[CounterMetricFamily]:
        """Return what there is, as the library exposes it."""
        family = CounterMetricFamily(*self._about, labels=self._names)
        for values, count in list(self._series.items()):
            family.add_metric(values, count.now())
        return [family]
