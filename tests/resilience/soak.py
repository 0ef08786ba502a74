"""Everything at once, for as long as you like: load, failures, rotations, then the end under load.

``python -m tests.resilience.soak --seconds 1800`` prints what it saw as JSON, and exits 1 if that
is not well. Healthy users must be served without exception; sick ones must get an answer that the
contract knows. After a warm-up the process may not grow: memory, tasks; and when it has been idle
for so long that it has let its connections go, it has the descriptors of its start. At the end
SIGTERM comes under load: what was accepted is answered, the status is 0, the audit's chain whole.
"""

import argparse
import asyncio
import dataclasses
import itertools
import json
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from service.simulator.knobs import Body, Knob, Seal, Wire
from tests.resilience.place import HEALTHY, Place, Size, is_whole, placed
from tests.resilience.rotations import ROTATIONS

WORKERS: Final = 6
MOST_GROWTH: Final = 3 << 20
"""Octets that the process may grow after its warm-up."""
LAZY: Final = 1
"""Descriptors that a library opens when it is first used, and keeps: ``/dev/null``."""
MOST_TOLD: Final = 500
DEADLINE: Final = 2.0
REST: Final = 65.0
"""Idle seconds after which no connection to Gigya is left: one is kept for 30, and looked at then.
"""

SICK: Final[Mapping[str, Knob]] = {
    "user-yahoo": Knob(wire=Wire.RESET),
    "user-xing": Knob(body=Body.HTML, http_status=503),
    "user-microsoft": Knob(error_code=500001),
    "user-renren": Knob(body=Body.GZIP_BOMB),
    "user-mixi": Knob(wire=Wire.TRUNCATE),
    "user-vkontakte": Knob(seal=Seal.WRONG_KEY),
    "user-line": Knob(error_code=403048),
    "user-amazon": Knob(wire=Wire.SILENCE),
    "user-apple": Knob(error_code=403009),
    "user-nobody": Knob(),
}
"""UIDs whose calls fail at Gigya, each in its own way."""
KNOWN: Final = frozenset({200, 400, 404, 409, 502, 503, 504})
"""Statuses that a sick user's request may end with."""


@dataclass
class Seen:
    """What came of the requests, and what should not have been."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    rotations: Counter[str] = field(default_factory=Counter)
    now: str = ""

    def complain(self, what: str) -> None:
        """Note what should not have been, and what was going on."""
        self.wrong.append(f"{what} ({self.now})")


class Load:
    """Callers that ask without pause, each again when it is answered."""

    def __init__(self, place: Place, seen: Seen) -> None:
        self._place = place
        self._seen = seen
        self._turns = [0] * WORKERS
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False
        self.is_ending = False
        """Whether the service has been told to end: it may refuse us from now on."""

    def begin(self) -> None:
        """Start asking."""
        self._is_over = False
        self._turns = [0] * WORKERS
        self._tasks = [asyncio.create_task(self._work(number)) for number in range(WORKERS)]

    async def end(self) -> None:
        """Ask no more, and wait for the last answers."""
        self._is_over = True
        await self.left()

    async def left(self) -> None:
        """Wait until everybody has gone, if need be because nobody listens any more."""
        await asyncio.gather(*self._tasks)

    async def settled(self) -> None:
        """Wait until each worker that asks Gigya has begun its round after now, and ended it."""
        turns, before = self._turns, self._turns[2:]
        while any(  # noqa: ASYNC110  # a turn tells nobody
            now <= then + len(HEALTHY) for now, then in zip(turns[2:], before, strict=True)
        ):
            await asyncio.sleep(0.01)

    async def _work(self, number: int) -> None:
        order = itertools.cycle(_order(number))
        max_age = 60 if number == 1 else 0  # one takes what is in the cache
        async with self._place.client() as client:
            while not self._is_over:
                site, uid, provider = next(order)
                if await self._ask(client, site, uid, provider, max_age=max_age):
                    break
                self._turns[number] += 1
        self._turns[number] += 1 << 30  # nobody waits for who has gone

    async def _ask(
        self, client: httpx.AsyncClient, site: str, uid: str, provider: str, *, max_age: int
    ) -> bool:
        """Ask once; return whether there is nobody to ask any more."""
        body = {"site": site, "uid": uid, "provider": provider, "max_age": max_age}
        try:
            answer = await client.post("/v1/provider-tokens", json=body)
        except httpx.ConnectError:
            if not self.is_ending:
                self._seen.complain("refused a connection")
            return True
        except (httpx.HTTPError, ssl.SSLError) as error:
            self._seen.complain(f"{uid}: {type(error).__name__}")
            return False
        if self.is_ending and answer.status_code == 503:
            return False  # of a replica that is going: ask another one
        is_well = answer.status_code == 200 if uid not in SICK else answer.status_code in KNOWN
        if not is_well:
            self._seen.complain(f"{site} {uid}: {answer.status_code} {answer.json()['detail']}")
        self._seen.answers[f"{answer.status_code} {answer.json().get('code', 'released')}"] += 1
        return False


def _order(number: int) -> Iterator[tuple[str, str, str]]:
    """Yield what one worker asks for in turn: sick ones are worker 0's, so that none else waits."""
    if number == 0:
        yield from (("shop", uid, _provider(uid)) for uid in SICK)
    yield from HEALTHY[number % len(HEALTHY) :] + HEALTHY[: number % len(HEALTHY)]


def _provider(uid: str) -> str:
    return "twitter" if uid == "user-nobody" else uid.removeprefix("user-")


async def soak(directory: Path, seconds: float, *, rest: float = 0.0) -> dict[str, Any]:
    """Do all of it, and return what was seen; sizes are taken after ``rest`` idle seconds."""
    seen = Seen()
    settings = {
        "upstream": {"deadline": DEADLINE, "connect": DEADLINE / 2},
        "cache": {"enabled": True, "ttl": 1, "margin": 1},
        "shutdown": {"delay": 0.5, "drain": 10},
    }
    async with placed(directory, **settings) as place:
        for uid, knob in SICK.items():
            place.simulator.knobs.turn(dataclasses.replace(knob, uid=uid))
        load, at_first = Load(place, seen), await place.size()
        until = time.monotonic() + seconds / 2
        await _busy(place, load, seen, until)
        # Connections made by an older CA file stay idle for a while: what they hold is no growth.
        await asyncio.sleep(rest)
        before = await place.size()
        await _busy(place, load, seen, time.monotonic() + seconds / 2)
        await asyncio.sleep(rest)
        after = await place.size()
        status = await _ended_under_load(place, load, seen)
    report = _report(seen, before, after)
    report |= {
        "descriptors": (at_first.descriptors, before.descriptors, after.descriptors),
        "exit_status": status,
        "releases_on_record": _releases(place),
        "audit_is_whole": is_whole(place),
    }
    ends_well = (status, report["releases_on_record"], report["audit_is_whole"]) == (
        0,
        seen.answers["200 released"],
        True,
    ) and (not rest or after.descriptors <= at_first.descriptors + LAZY)
    return report | {"is_well": report["is_well"] and ends_well}


async def _busy(place: Place, load: Load, seen: Seen, until: float) -> None:
    """Rotate under load until then; at the end wait until all is idle."""
    load.begin()
    for name, rotate in itertools.cycle(ROTATIONS.items()):
        seen.now = name
        await rotate(place, load.settled)
        seen.rotations[name] += 1
        if time.monotonic() >= until and len(seen.rotations) == len(ROTATIONS):
            break
    await load.end()
    await _idle(place)


async def _idle(place: Place) -> None:
    """Wait until nothing is under way, and no connection of a caller is open."""
    idle = [
        f"credential_proxy_{gauge} 0.0"
        for gauge in ("requests_in_flight", "flights_under_way", 'connections{listener="api"}')
    ]
    lines: list[str] = []
    while not all(line in lines for line in idle):
        await asyncio.sleep(0.01)
        lines = (await place.manage("/metrics")).text.splitlines()


async def _ended_under_load(place: Place, load: Load, seen: Seen) -> int:
    load.begin()
    await load.settled()
    load.is_ending, seen.now = True, "the end"
    place.process.terminate()
    await load.left()
    return await place.process.wait()


def _releases(place: Place) -> int:
    """Count the releases in the audit: one for each token that a caller was given."""
    return sum(file.read_bytes().count(b'"outcome":"released"') for file in place.audit_files())


def _report(seen: Seen, before: Size, after: Size) -> dict[str, Any]:
    growth = after.octets - before.octets
    return {
        "requests": seen.answers.total(),
        "answers": dict(sorted(seen.answers.items())),
        "rotations": dict(seen.rotations),
        "wrong": seen.wrong[:MOST_TOLD],
        "megabytes_after_warm_up": round(before.octets / (1 << 20), 1),
        "grown_by_megabytes": round(growth / (1 << 20), 2),
        "megabytes_untrimmed": [round(s.untrimmed / (1 << 20), 1) for s in (before, after)],
        "tasks": (before.tasks, after.tasks),
        "is_well": (not seen.wrong and growth <= MOST_GROWTH and after.tasks <= before.tasks),
    }


def main(arguments: list[str]) -> int:
    """Run the command line; 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        report = asyncio.run(soak(Path(directory), options.seconds, rest=REST))
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0 if report["is_well"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
