import math
from typing import Final

import prometheus_client
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from service import counters

LABELS: Final = ("site",)
BOUNDS: Final = (0.0001, 0.05, 1.0, 2.5, 30.0)
TOLD: Final = st.dictionaries(
    st.sampled_from(["shop", 'a "b"']),
    st.lists(st.floats(0, 1e9) | st.sampled_from([*BOUNDS, math.inf])),
)


class TestExposition:
    @given(TOLD)
    @example({"shop": [*BOUNDS]})
    def test_of_measurements_is_the_librarys(self, told: dict[str, list[float]]) -> None:
        """Whatever is measured, our histogram says of it what the library's says."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        our = counters.Histogram("s", "Time", LABELS, namespace="n", registry=ours, buckets=BOUNDS)
        their = prometheus_client.Histogram(
            "s", "Time", LABELS, namespace="n", registry=theirs, buckets=BOUNDS
        )

        for site, measured in told.items():
            for seconds in measured:
                our.labels(site).observe(seconds)
                their.labels(site).observe(seconds)

        assert generate_latest(theirs) == generate_latest(ours)

    @given(TOLD)
    def test_of_counts_is_the_librarys(self, told: dict[str, list[float]]) -> None:
        """Whatever is counted, our counter says of it what the library's says."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no type for it
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        our = counters.Counter("s", "Things", LABELS, namespace="n", registry=ours)
        their = prometheus_client.Counter("s", "Things", LABELS, namespace="n", registry=theirs)

        for site, counted in told.items():
            for number in counted:
                our.labels(site).value += number
                their.labels(site).inc(number)

        assert generate_latest(theirs) == generate_latest(ours)

    def test_without_labels(self) -> None:
        """A histogram without labels is there before anything is measured, as the library's is."""
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        counters.Histogram("s", "Time", (), namespace="n", registry=ours, buckets=BOUNDS)
        prometheus_client.Histogram("s", "Time", (), namespace="n", registry=theirs, buckets=BOUNDS)

        assert generate_latest(theirs) == generate_latest(ours)
