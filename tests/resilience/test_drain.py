"""How the whole service ends; ``test_rotation`` ends it under load."""

import asyncio
import json
from pathlib import Path

from tests.resilience.place import HEALTHY, Place, is_whole, placed

LONG = 60


async def ready(place: Place) -> int:
    """Return the status of readiness."""
    return (await place.manage("/readyz")).status_code


async def ask(place: Place) -> tuple[int, str]:
    """Ask over a new connection; return the status and what is said of the connection."""
    site, uid, provider = HEALTHY[0]
    async with place.client() as client:
        body = {"site": site, "uid": uid, "provider": provider}
        answer = await client.post("/v1/provider-tokens", json=body)
    return answer.status_code, answer.headers.get("connection", "")


class TestEnd:
    async def test_serves_on_while_readiness_fails(self, tmp_path: Path) -> None:
        """Told to end, it is not ready, and serves; told twice, it ends at once."""
        shutdown = {"delay": LONG, "drain": LONG}
        async with placed(tmp_path, shutdown=shutdown) as place:
            go = asyncio.Event()
            assert (200, (200, "")) == (await ready(place), await ask(place))
            place.process.terminate()
            while await ready(place) != 503:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.01)
            assert (200, "close") == await ask(place)

            place.simulator.knobs.turn(hold=go, uid=HEALTHY[0][1])
            calls = place.simulator.calls.total
            hanging = asyncio.create_task(ask(place))
            await place.simulator.calls.arrive(calls + 1)
            place.process.terminate()
            status = await place.process.wait()
            go.set()
            await asyncio.gather(hanging, return_exceptions=True)
            outcomes = [
                json.loads(line).get("outcome") for line in place.audit.read_text().splitlines()
            ]

        assert (1, True) == (status, is_whole(place))
        assert ["released", "released", "cancelled"] == [o for o in outcomes if o is not None]
