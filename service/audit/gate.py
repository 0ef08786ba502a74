"""The rule of a release: which sinks must have its record before a byte leaves."""

from asyncio import Future
from typing import Literal, Protocol

Accept = Literal["any", "all"]


def rule(accept: Accept, sinks: int) -> tuple[int, int]:
    """Return how many of the ``sinks`` must accept a release, and how many it can spare."""
    needed = sinks if accept == "all" else 1
    return needed, sinks - needed


class Taker(Protocol):
    """A sink as the gate sees it."""

    def take_back(self, withdrawal: bytes) -> None:
        """Write the withdrawal of a release whose record it has."""


class Pledge:
    """One release at the gate: its verdict comes as soon as the rule is decided.

    ``verdict`` becomes True when as many sinks have accepted as it ``needs``, False when more have
    failed than it ``can_spare``: see ``rule``.
    """

    __slots__ = ("_can_spare", "_holders", "_needs", "is_expired", "verdict", "withdrawal")

    def __init__(self, verdict: Future[bool], needs: int, can_spare: int) -> None:
        self.verdict = verdict
        self._needs = needs
        self._can_spare = can_spare
        self._holders: list[Taker] = []
        self.withdrawal: bytes | None = None
        """What takes it back, once it is given up; a sink that has not written it then need not."""
        self.is_expired = False

    def landed(self, taker: Taker, *, is_accepted: bool) -> None:
        """Remember a sink on whose medium the record stands, and count it if it has accepted it.

        It has if the record came in time, and stands as durably as it promises.
        """
        if self.withdrawal is None:
            self._holders.append(taker)
        else:
            taker.take_back(self.withdrawal)
        if is_accepted:
            self._needs -= 1
            if self._needs == 0 and not self.verdict.done():
                self.verdict.set_result(True)

    def refuse(self) -> None:
        """Count a sink that failed or was late."""
        self._can_spare -= 1
        if self._can_spare < 0 and not self.verdict.done():
            self.verdict.set_result(False)

    def expire(self) -> None:
        """Decide against the release, if nothing was decided: it has no more time."""
        if not self.verdict.done():
            self.is_expired = True
            self.verdict.set_result(False)

    def withdraw(self, withdrawal: bytes) -> None:
        """Take the release back wherever its record stands, now or later."""
        self.withdrawal = withdrawal
        for taker in self._holders:
            taker.take_back(withdrawal)
        self._holders.clear()
