import asyncio
from typing import Any

import pytest

from service.api.attendance import Attended
from service.api.bodies import CallerGone
from service.model import ON_GONE


async def wait(scope: dict[str, Any]) -> None:
    with Attended(scope):
        await asyncio.sleep(60)


class TestAttended:
    async def test_ends_when_the_caller_leaves(self) -> None:
        """What waits hears it as the caller's going, and can go on to say so."""
        scope: dict[str, Any] = {"state": {}}

        async def request() -> str:
            try:
                await wait(scope)
            except CallerGone:
                await asyncio.sleep(0)
                return "recorded"
            raise AssertionError

        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        for _ in range(2):  # told twice is told once
            scope["state"][ON_GONE]()

        assert ("recorded", 0, {}) == (await task, task.cancelling(), scope["state"])

    async def test_leaves_the_end_of_the_process_alone(self) -> None:
        """Cancelled by others, be it in the same moment, it is cancelled."""
        scopes: list[dict[str, Any]] = [{}, {"state": {}}]
        for scope in scopes:
            task = asyncio.create_task(wait(scope))
            await asyncio.sleep(0)
            if scope:
                scope["state"][ON_GONE]()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def test_takes_nothing_from_what_ends_by_itself(self) -> None:
        """Whoever is there till the end notices nothing, and afterwards nobody is told."""
        scope: dict[str, Any] = {"state": {}}
        with pytest.raises(ValueError, match="its own"), Attended(scope):
            raise ValueError("its own")
        assert {} == scope["state"]
