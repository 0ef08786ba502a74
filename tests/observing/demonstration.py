"""Four minutes in the life of a service, for the picture of its dashboard."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tests.house import caller, grant
from tests.observing.stage import COMING, Stage, be_refused, garble, hurry, release

SECONDS: Final = 240.0
"""How long it takes; what happens when stands in ``STORY``."""
DELAYS: Final = (0.02, 0.03, 0.03, 0.04, 0.08, 0.3)
"""Seconds that Gigya takes."""


async def outage(stage: Stage) -> None:
    """Have Gigya fail for 20 seconds."""
    fault = stage.house.simulator.knobs.turn(error_code=500001)
    await asyncio.sleep(20)
    stage.house.simulator.knobs.undo(fault)


async def rotate(stage: Stage) -> None:
    """Have Gigya seal with the secret that was mounted beforehand."""
    gigya = stage.house.gigya
    gigya.world.change(gigya.api_key, partner_secrets=(COMING.decode(), gigya.partner_secret))


async def rush(stage: Stage) -> None:
    """Have one caller hurry for a while."""
    for _ in range(8):
        await hurry(stage)
        await asyncio.sleep(1)


async def open_up(stage: Stage) -> None:
    """Grant the prober too much, and take it back when that was noticed."""
    good = stage.house.settings["callers"]
    stage.configure(callers=[*good[:2], caller("prober", grant(providers=["twitter"]))])
    await asyncio.sleep(20)
    stage.configure(callers=good)


STORY: Final[tuple[tuple[float, Callable[[Stage], Awaitable[None]]], ...]] = (
    (20, garble),
    (60, outage),
    (110, rotate),
    (140, rush),
    (180, open_up),
)


async def lived(stage: Stage) -> tuple[float, float]:
    """Live through the story; return when it began and ended, in UNIX seconds."""
    began = time.time()
    tasks: list[Awaitable[Any]] = [
        _until(SECONDS, lambda: _vary(stage)),
        *(_until(SECONDS, lambda: release(stage), 0.2) for _ in range(4)),
        _until(SECONDS, lambda: be_refused(stage), 3.0),
        _until(SECONDS, stage.probe, 5.0),
        *(_at(seconds, act, stage) for seconds, act in STORY),
    ]
    await asyncio.gather(*tasks)
    return began, time.time()


async def _vary(stage: Stage) -> None:
    """Have Gigya take another time."""
    knobs = stage.house.simulator.knobs
    turned = knobs.turn(delay=random.choice(DELAYS))
    await asyncio.sleep(0.1)
    knobs.undo(turned)


async def _at(seconds: float, act: Callable[[Stage], Awaitable[None]], stage: Stage) -> None:
    await asyncio.sleep(seconds)
    await act(stage)


async def _until(seconds: float, act: Callable[[], Awaitable[None]], rest: float = 0.0) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        await act()
        await asyncio.sleep(rest * random.uniform(0.5, 1.5))
