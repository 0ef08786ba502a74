import asyncio
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope

from service.api.bodies import CallerGone, body_at_hand, read_body
from service.api.headers import HEADERS, by_name
from service.api.requests import LARGEST_BODY
from service.deadline import Deadline
from service.errors import RequestTimeout, RequestTooLarge
from service.model import AT_ONCE
from tests.house import body
from tests.virtual_time import VIRTUAL


def scope(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", HEADERS: by_name(headers)}


def holding(whole: bytes | None) -> Scope:
    """Return the scope of a listener that has the whole body, or ``None``."""
    return {**scope(), AT_ONCE: SimpleNamespace(whole_body=lambda: whole)}


async def unhurried(scope: Scope, receive: Receive, *, seconds: float) -> bytes:
    """Read a body, as an endpoint does, for a request that has all the time in the world."""
    here, deadline = body_at_hand(scope), Deadline(math.inf, lambda: 0.0)
    if here is not None:
        return here
    return await read_body(scope, receive, limit=seconds, deadline=deadline)


class Says:
    """A caller that sends these messages and then nothing; knows how often it was asked."""

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self.messages = list(messages)
        self.asked = 0

    async def __call__(self) -> Message:
        self.asked += 1
        if self.messages:
            return self.messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError


class TestReadBody:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_joins_the_parts(self) -> None:
        """A body may come in any number of parts, empty ones among them."""
        caller = Says([body(b"one", more=True), body(b"", more=True), body(b"two")])

        assert b"onetwo" == await unhurried(scope(), caller, seconds=1)

    async def test_takes_exactly_the_cap(self) -> None:
        """A body of the largest size is taken, one octet more is not."""
        largest = b"x" * LARGEST_BODY

        assert largest == await unhurried(scope(), Says([body(largest)]), seconds=1)
        with pytest.raises(RequestTooLarge):
            await unhurried(scope(), Says([body(largest + b"x")]), seconds=1)

    async def test_stops_where_the_cap_is_passed(self) -> None:
        """What comes after too much is not waited for."""
        caller = Says([body(b"x" * LARGEST_BODY, more=True), body(b"x", more=True)])

        with pytest.raises(RequestTooLarge):
            await unhurried(scope(), caller, seconds=1)

        assert 2 == caller.asked

    @pytest.mark.parametrize("length", [b"16385", b"9" * 20, b"9" * 5000], ids=len)
    async def test_believes_an_announced_length(self, length: bytes) -> None:
        """A length over the cap is refused at once, however long the number is."""
        caller = Says([body(b"short")])

        with pytest.raises(RequestTooLarge):
            await unhurried(scope((b"content-length", length)), caller, seconds=1)

        assert 0 == caller.asked

    @pytest.mark.parametrize("length", [b"5", b"0005", b"", b"-1", b"5, 5", b"\xb2"])
    async def test_leaves_other_lengths_to_the_server(self, length: bytes) -> None:
        """Anything else in that header is not this module's business."""
        caller = Says([body(b"short")])

        assert b"short" == await unhurried(scope((b"content-length", length)), caller, seconds=1)

    @pytest.mark.parametrize("sent", [[], [body(b"half", more=True)]], ids=["nothing", "half"])
    async def test_waits_so_long_and_no_longer(self, sent: list[Message]) -> None:
        """A body that is not complete in time is refused; the detail says how long that is."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        with pytest.raises(RequestTimeout, match=r"within 2\.5 seconds") as refused:
            await unhurried(scope(), Says(sent), seconds=2.5)

        assert 2.5 == loop.time() - began
        assert refused.value.__cause__ is None

    @pytest.mark.parametrize(("limit", "left"), [(2.0, 9.0), (9.0, 2.0)])
    async def test_waits_no_longer_than_the_request_may(self, limit: float, left: float) -> None:
        """Of its own limit and what is left of the deadline the shorter counts."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = Deadline(began + left, loop.time)

        with pytest.raises(RequestTimeout, match="within 2 seconds"):
            await read_body(scope(), Says(), limit=limit, deadline=deadline)

        assert 2.0 == loop.time() - began

    async def test_receives_what_is_not_given(self) -> None:
        """A listener that has not all of it, or more to tell, says so; then time runs."""

        async def says() -> Message:
            await asyncio.sleep(0)
            return body(b"all")

        assert b"all" == await unhurried(holding(None), says, seconds=1)
        with pytest.raises(RequestTimeout):
            await unhurried(holding(None), says, seconds=0)

    async def test_receives_nothing_of_what_is_given_whole(self) -> None:
        """A body that the listener hands out at once has the same cap."""
        caller, largest = Says(), b"x" * LARGEST_BODY

        assert largest == await unhurried(holding(largest), caller, seconds=0)
        with pytest.raises(RequestTooLarge):
            await unhurried(holding(largest + b"x"), caller, seconds=0)

        assert 0 == caller.asked

    async def test_tells_when_the_caller_has_gone(self) -> None:
        """A connection that closes before the body is complete leaves nobody to answer."""
        with pytest.raises(CallerGone):
            await unhurried(
                scope(), Says([body(b"half", more=True), {"type": "http.disconnect"}]), seconds=1
            )


class TestAnyPartition:
    @given(st.lists(st.binary(max_size=9_000), min_size=1, max_size=5))
    def test_the_cap_is_of_the_sum(self, parts: list[bytes]) -> None:
        """However a body is cut, it is taken whole up to the cap and refused above it."""
        messages = [body(part, more=at + 1 < len(parts)) for at, part in enumerate(parts)]
        whole = b"".join(parts)

        async def read() -> bytes | None:
            try:
                return await unhurried(scope(), Says(messages), seconds=5)
            except RequestTooLarge:
                return None

        assert (whole if len(whole) <= LARGEST_BODY else None) == asyncio.run(read())
