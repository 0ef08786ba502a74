"""The service over real sockets, with whatever a row of ``failures`` puts between it and Gigya."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service.deadline import Clock
from service.simulator import tls
from service.simulator.running import serving
from service.wiring.world import dial
from tests.house import NOW, House, Visitor
from tests.resilience.failure_proxy import FailureProxy, full_port, refused_port
from tests.resilience.failures import Failure, Port, Way

CONNECT = 0.15
"""Seconds that a connection may take here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A service that runs, and what is behind it."""

    house: House
    visitor: Visitor
    proxy: FailureProxy

    def metric(self, series: str) -> float:
        """Return one value of the metrics."""
        lines = self.house.metrics.exposition().decode().splitlines()
        [line] = [line for line in lines if line.startswith(f"credential_proxy_{series} ")]
        return float(line.rpartition(" ")[2])


def running_clock() -> Clock:
    """Return a clock that runs, from the day on which the house's world was made."""
    began = time.monotonic()
    return Clock(wall=lambda: NOW + time.monotonic() - began, monotonic=time.monotonic)


@asynccontextmanager
async def staged(failure: Failure, directory: Path) -> AsyncIterator[Stage]:
    """Set the stage for ``failure``; a breaker opens at the first failure."""
    house = House(directory, clock=running_clock(), dial=dial, fraction=lambda: 0.0)
    house.settings["upstream"] = {
        "deadline": failure.deadline,
        "connect": CONNECT,
        "breaker": {"failures": 1},
    }
    house.settings["audit"]["sinks"][0]["deadline"] = failure.deadline / 2
    failure.arrange(house)
    if failure.knob is not None:
        house.simulator.knobs.turn(failure.knob)
    authority = tls.Authority()
    house.files["/secrets/ca"] = authority.pem
    context = None if failure.way is Way.PLAIN else failure.certify(authority).context()
    async with (
        serving(house.simulator, context=context) as gigya,
        FailureProxy(gigya.port, failure.act).open() as proxy,
        refused_port() as refused,
        full_port() as full,
    ):
        port = {Port.GIGYA: proxy.port, Port.REFUSED: refused, Port.FULL: full}[failure.port]
        _lead(house, failure.way, port)
        async with house.open() as visitor:
            yield Stage(house=house, visitor=visitor, proxy=proxy)


def _lead(house: House, way: Way, port: int) -> None:
    site, upstream = house.settings["sites"]["shop"], house.settings["upstream"]
    if way is Way.PROXY:
        upstream |= {"proxy_url": f"http://127.0.0.1:{port}", "ca_file": "/secrets/ca"}
        return
    del site["data_center"]
    ca_file = "/secrets/ca" if way is Way.TLS else None
    name = "localhost" if way is Way.TLS else "127.0.0.1"
    scheme = "https" if way is Way.TLS else "http"
    site["simulator"] = {"url": f"{scheme}://{name}:{port}", "ca_file": ca_file}
