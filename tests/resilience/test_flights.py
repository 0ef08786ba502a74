import asyncio
import random
from typing import Any

import pytest

from service.deadline import Deadline
from service.errors import NoSession, UpstreamTimeout
from service.resilience.flights import ABANDONED, BEGUN, JOINED, Flights
from tests.virtual_time import VIRTUAL, virtual_clock


class Calls:
    """A source that answers after some seconds, and counts."""

    def __init__(self, *, seconds: float = 1.0, error: Exception | None = None) -> None:
        self.begun = 0
        self.ended = 0
        self._seconds = seconds
        self._error = error

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.ended += 1
        if self._error is not None:
            raise self._error
        return number


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


def made(observed: list[str] | None = None) -> Flights[str, int]:
    return Flights(
        monotonic=asyncio.get_running_loop().time,
        observe=(observed if observed is not None else []).append,
    )


def within(seconds: float) -> Deadline:
    return Deadline.after(seconds, virtual_clock())


class TestFlights:
    async def test_share_one_call(self) -> None:
        """A thousand requests for one thing make one call."""
        observed: list[str] = []
        flights, calls = made(observed), Calls()

        answers = await asyncio.gather(
            *(flights.result("a", calls, deadline=within(5)) for _ in range(1000))
        )

        assert ({1}, 1) == (set(answers), calls.begun)
        assert (1, 999, 0) == tuple(map(observed.count, (BEGUN, JOINED, ABANDONED)))

    async def test_keep_different_things_apart(self) -> None:
        """Requests for different things do not share."""
        flights, calls = made(), Calls()

        await asyncio.gather(*(flights.result(k, calls, deadline=within(5)) for k in "abc"))

        assert 3 == calls.begun

    async def test_end_with_their_call(self) -> None:
        """What has landed is not joined: there is no cache here."""
        flights, calls = made(), Calls()

        first = await flights.result("a", calls, deadline=within(5))
        second = await flights.result("a", calls, deadline=within(5))

        assert ((1, 2), 0) == ((first, second), len(flights))

    async def test_can_be_joined_until_they_have_landed(self) -> None:
        """Who comes in the moment between a call's end and its landing is answered, too."""
        observed: list[str] = []
        flights = made(observed)

        async def call() -> int:
            return 1

        first = asyncio.create_task(flights.result("a", call, deadline=within(5)))
        await asyncio.sleep(0)  # now the call is next, and after it
        second = asyncio.create_task(flights.result("a", call, deadline=within(5)))

        assert (1, 1) == (await first, await second)
        assert [BEGUN, JOINED] == observed

    async def test_give_each_its_own_error(self) -> None:
        """A failure is shared, but the exception that carries it is not."""
        flights = made()
        calls = Calls(error=NoSession("none", retry_after=3))

        errors = await asyncio.gather(
            *(flights.result("a", calls, deadline=within(5)) for _ in range(3)),
            return_exceptions=True,
        )

        assert 1 == calls.begun
        assert [("none", 3)] * 3 == [
            (e.detail, e.retry_after) for e in errors if isinstance(e, NoSession)
        ]
        assert 3 == len({id(error) for error in errors})

    async def test_pass_on_what_is_a_fault_of_ours(self) -> None:
        """An error that nobody planned reaches the requests as it is."""
        flights = made()

        with pytest.raises(ZeroDivisionError):
            await flights.result("a", Calls(error=ZeroDivisionError()), deadline=within(5))

    async def test_each_request_keeps_its_deadline(self) -> None:
        """Whoever runs out of time leaves; the others get their answer."""
        flights, calls = made(), Calls(seconds=2)
        hurried = asyncio.create_task(flights.result("a", calls, deadline=within(1)))
        patient = asyncio.create_task(flights.result("a", calls, deadline=within(5)))

        with pytest.raises(UpstreamTimeout):
            await hurried
        assert 1 == await patient

    async def test_nobody_left_ends_the_call(self) -> None:
        """When the last one leaves, the call is cancelled and cannot be joined."""
        observed: list[str] = []
        flights, calls = made(observed), Calls(seconds=10)

        with pytest.raises(UpstreamTimeout):
            await flights.result("a", calls, deadline=within(1))
        assert (0, ABANDONED) == (len(flights), observed[-1])
        await asyncio.sleep(0)

        assert 1 == calls.ended

    async def test_zero_joins_none_begun_before(self) -> None:
        """Whoever wants it fresh gets a call that began after the request."""
        flights, calls = made(), Calls()
        before = asyncio.create_task(flights.result("a", calls, deadline=within(5)))
        await asyncio.sleep(0.5)

        assert 2 == await flights.result("a", calls, deadline=within(5), oldest=0)
        assert 1 == await before
        assert 0 == len(flights)

    @pytest.mark.parametrize(("oldest", "joins"), [(0.4, False), (0.5, True), (None, True)])
    async def test_old_calls_are_joined_up_to_an_age(
        self, oldest: float | None, *, joins: bool
    ) -> None:
        """A call that began longer ago than an answer may be old is not joined."""
        flights, calls = made(), Calls()
        before = asyncio.create_task(flights.result("a", calls, deadline=within(5)))
        await asyncio.sleep(0.5)

        answer = await flights.result("a", calls, deadline=within(5), oldest=oldest)

        assert (1 if joins else 2) == answer
        await before

    async def test_cancelling_harms_nobody_else(self) -> None:
        """500 rounds of cancelling some at random, the first among them: the rest are answered."""
        chance = random.Random(5)
        flights, calls = made(), Calls()
        before = asyncio.all_tasks()
        for _ in range(500):
            tasks = [
                asyncio.create_task(flights.result("a", calls, deadline=within(5)))
                for _ in range(6)
            ]
            await asyncio.sleep(chance.choice((0, 0.2, 0.999)))
            gone = {0, *chance.sample(range(6), chance.randrange(5))}
            for index in gone:
                tasks[index].cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)

            assert gone == {
                i for i, answer in enumerate(answers) if isinstance(answer, asyncio.CancelledError)
            }
            assert 1 == len({answer for i, answer in enumerate(answers) if i not in gone})
            assert 0 == len(flights)

        assert calls.begun == calls.ended
        assert before == asyncio.all_tasks()
