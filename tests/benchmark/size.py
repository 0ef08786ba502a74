"""How much of everything a run does: the whole, and the short form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tests.benchmark.quiet import Patience

LEAST_ROUNDS: Final = 5
"""A median of fewer says little on a machine that is not quiet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Rounds, seconds of one load, seconds at each open-loop rate, requests, megabytes of audit."""

    rounds: int
    seconds: float
    rates: Mapping[int, float]
    memory: tuple[int, ...]
    megabytes: int
    patience: Patience = field(default_factory=Patience)


LONG: Final = Size(
    rounds=LEAST_ROUNDS,
    seconds=3.0,
    # At 200/s a queue that grows by a few requests a second must have the time to show.
    rates=MappingProxyType({200: 12.0, 1000: 8.0}),
    memory=(20_000, 100_000),
    megabytes=250,
)
SHORT: Final = Size(
    rounds=LEAST_ROUNDS,
    seconds=0.5,
    rates=MappingProxyType({200: 5.0, 1000: 3.0}),
    memory=(5_000, 10_000),
    megabytes=20,
)
