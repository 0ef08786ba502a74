import asyncio
from contextlib import suppress
from inspect import signature
from typing import Any

import pytest

from service.audit.journal import Journal
from service.server import CLOSING
from service.wiring.lifecycle import LAST, PATIENCE, Lifecycle
from tests.virtual_time import VIRTUAL


async def nothing() -> None:
    """Be done at once."""


async def for_ever() -> None:
    await asyncio.Event().wait()


class TestReadiness:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_needs_listeners_and_keys(self) -> None:
        """Ready is who listens and has its keys, or has waited for them long enough."""
        warm = asyncio.Event()

        async def warming() -> None:
            await warm.wait()

        life = Lifecycle(warming=warming)
        assert not any(life.readiness()[name] for name in ("listening", "keys fetched or late"))
        life.start()
        life.began()
        await asyncio.sleep(1)
        assert not all(life.readiness().values())
        warm.set()
        await asyncio.sleep(1)
        assert all(life.readiness().values())
        await life.aclose()

    async def test_does_not_wait_for_keys_that_cannot_be_had(self) -> None:
        """A warm-up that fails is over too: readiness depends on this process only."""

        async def failing() -> None:
            raise OSError

        life = Lifecycle(warming=failing)
        life.start()
        life.began()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert all(life.readiness().values())
        await life.aclose()

    async def test_ends_with_draining(self) -> None:
        """Who drains is not ready, and still serves; who refuses does not."""
        life = Lifecycle(warming=nothing)
        life.start()
        life.began()
        await asyncio.sleep(1)

        life.drain()
        assert [False] == [
            is_so for name, is_so in life.readiness().items() if "new requests" in name
        ]
        assert not life.is_closing
        life.refuse()
        assert life.is_closing
        await life.aclose()


class TestBeside:
    async def test_runs_from_start_to_end(self) -> None:
        """What runs beside requests begins with the start and is cancelled at the end."""
        told = []

        async def work() -> None:
            told.append("began")
            try:
                await for_ever()
            finally:
                told.append("ended")

        life = Lifecycle(warming=nothing)
        life.run_beside(work, work)
        life.start()
        await asyncio.sleep(0)
        assert ["began"] * 2 == told
        await life.aclose()
        assert ["began"] * 2 + ["ended"] * 2 == told

    async def test_a_failure_is_told(self) -> None:
        """Work that dies of a bug does not die in silence, and takes nothing else along."""
        told: list[BaseException] = []
        bug = RuntimeError()

        async def dying() -> None:
            raise bug

        life = Lifecycle(warming=nothing, failed=told.append)
        life.run_beside(dying, for_ever)
        life.start()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [bug] == told
        await life.aclose()
        assert [bug] == told

    async def test_what_the_loop_alone_sees_is_told_too(self) -> None:
        """A callback of a library's that fails is heard of."""
        told: list[Any] = []
        life = Lifecycle(warming=nothing, unseen=lambda _, context: told.append(context))
        life.start()

        asyncio.get_running_loop().call_soon([].pop)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert ["IndexError"] == [type(context["exception"]).__name__ for context in told]
        await life.aclose()


class TestClosing:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_closers_that_hang_take_no_ones_chance(self) -> None:
        """However many hang, and however hard, the audit is closed with all the time it needs."""
        told: list[str] = []

        async def stubborn() -> None:
            with suppress(asyncio.CancelledError):
                await for_ever()
            await asyncio.sleep(1)

        async def other() -> None:
            told.append("other")

        async def audit() -> None:
            await asyncio.sleep(LAST - 0.1)
            told.append("audit")

        life = Lifecycle(warming=nothing)
        life.close_last(audit)
        life.close(for_ever, stubborn, for_ever, other)
        life.start()

        async with asyncio.timeout(CLOSING):
            await life.aclose()

        assert ["other", "audit"] == told
        await asyncio.sleep(1)

    def test_the_times_fit(self) -> None:
        """All of it is over within the time that the server gives, and the audit within its own."""
        assert PATIENCE + LAST < CLOSING
        assert signature(Journal.close).parameters["seconds"].default < LAST

    async def test_every_closer_has_its_chance(self) -> None:
        """They run after the work, the last one last, whatever the others do."""
        told: list[str] = []

        async def work() -> None:
            try:
                await for_ever()
            finally:
                told.append("work")

        async def failing() -> None:
            told.append("failing")
            raise OSError

        async def last() -> None:
            told.append("last")

        life = Lifecycle(warming=nothing)
        life.run_beside(work)
        life.close_last(last)
        life.close(failing)
        life.start()
        await asyncio.sleep(0)

        await life.aclose()

        assert ["work", "failing", "last"] == told

    async def test_without_a_start(self) -> None:
        """What never began can be closed."""
        told: list[str] = []

        async def close() -> None:
            told.append("closed")

        life = Lifecycle(warming=nothing)
        life.close(close)
        before = asyncio.get_running_loop().get_exception_handler()
        await life.aclose()

        assert ["closed"] == told
        assert before is asyncio.get_running_loop().get_exception_handler()
