import asyncio

import pytest

from service.simulator.codes import Refusal
from service.simulator.memory import Once
from tests.simulator.asking import Asking


class TestOnce:
    def test_per_owner(self) -> None:
        """A nonce is spent for its owner alone."""
        once = Once()
        once.use("a", "n", now=0, until=10)
        once.use("b", "n", now=0, until=10)
        with pytest.raises(Refusal, match="403004"):
            once.use("a", "n", now=10, until=20)

    def test_forgets(self) -> None:
        """It is kept for as long as its timestamp would be good, and no longer."""
        once = Once()
        once.use("a", "n", now=0, until=10)
        once.use("a", "n", now=11, until=20)
        with pytest.raises(Refusal):
            once.use("a", "n", now=12, until=20)


class TestArrive:
    async def test_came_already(self, asking: Asking) -> None:
        """Waiting for calls that have come is no waiting."""
        await asking.ask()
        await asking.gigya.calls.arrive(1)
        assert 1 == asking.gigya.calls.total

    async def test_not_yet(self, asking: Asking) -> None:
        """Waiting goes on until so many have come."""
        waiting = asyncio.create_task(asking.gigya.calls.arrive(2))
        await asking.ask()
        is_early = waiting.done()
        await asking.ask()
        await waiting
        assert not is_early
