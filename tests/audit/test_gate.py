import asyncio
from itertools import product

import pytest

from service.audit.gate import Accept, Pledge, rule


class Shelf:
    """A sink that remembers what it was asked to take back."""

    def __init__(self) -> None:
        self.taken_back: list[bytes] = []

    def take_back(self, withdrawal: bytes) -> None:
        self.taken_back.append(withdrawal)


async def pledge(sinks: int, accept: Accept) -> Pledge:
    verdict = asyncio.get_running_loop().create_future()
    return Pledge(verdict, *rule(accept, sinks))


class TestPledge:
    @pytest.mark.parametrize("accept", ["any", "all"])
    @pytest.mark.parametrize("answers", [a for n in (1, 2, 3) for a in product((1, 0), repeat=n)])
    async def test_rule(self, accept: Accept, answers: tuple[int, ...]) -> None:
        """A release passes when any, or all, of the sinks have accepted its record."""
        release = await pledge(len(answers), accept)
        for has_accepted in answers:
            release.landed(Shelf(), is_accepted=True) if has_accepted else release.refuse()
        decides = any if accept == "any" else all
        assert decides(answers) is release.verdict.result()

    async def test_any_does_not_wait(self) -> None:
        """Under any, the first sink to accept decides."""
        release = await pledge(2, "any")
        release.landed(Shelf(), is_accepted=True)
        assert release.verdict.done()

    async def test_all_does_not_wait_after_a_refusal(self) -> None:
        """Under all, the first sink to refuse decides."""
        release = await pledge(2, "all")
        release.refuse()
        assert release.verdict.result() is False

    async def test_no_sinks(self) -> None:
        """Without a sink nothing has been accepted, so nothing is decided in its favour."""
        release = await pledge(0, "any")
        assert not release.verdict.done()

    async def test_withdrawal_reaches_who_has_the_record(self) -> None:
        """A withdrawal goes to the sinks that have the record, whenever they came to have it."""
        release, early, late, never = await pledge(3, "all"), Shelf(), Shelf(), Shelf()
        release.landed(early, is_accepted=True)
        release.withdraw(b"w")
        release.landed(late, is_accepted=False)
        taken = [early.taken_back, late.taken_back, never.taken_back]
        assert [[b"w"], [b"w"], []] == taken

    async def test_expires(self) -> None:
        """A release whose request has no more time is refused, unless it was decided before."""
        late, passed = await pledge(1, "any"), await pledge(1, "any")
        passed.landed(Shelf(), is_accepted=True)
        late.expire()
        passed.expire()
        assert (False, True) == (late.verdict.result(), passed.verdict.result())

    async def test_verdict_of_a_caller_that_left(self) -> None:
        """A verdict that nobody waits for any more is not set."""
        release = await pledge(1, "any")
        release.verdict.cancel()
        release.landed(Shelf(), is_accepted=True)
        assert release.verdict.cancelled()
