"""The rule of a release: which sinks must have its record before a byte leaves."""

from asyncio import Future
from typing import Literal, Protocol

Accept = Literal["any", "all"]


class Taker(Protocol):
    """A sink as the gate sees it."""

    def take_back(self, withdrawal: bytes) -> None:
        """Write the withdrawal of a release whose record it has."""


class Pledge:
    """One release at the gate: its verdict comes as soon as the rule is decided.

    ``verdict`` becomes True when one of the sinks (``any``) or each of them (``all``) has
    accepted, False when that cannot happen any more.
    """

    __slots__ = (
        "_accepted",
        "_holders",
        "_needed",
        "_open",
        "_withdrawal",
        "is_expired",
        "is_withdrawn",
        "verdict",
    )

    def __init__(self, verdict: Future[bool], sinks: int, accept: Accept) -> None:
        self.verdict = verdict
        self._needed = sinks if accept == "all" else 1
        self._open = sinks
        self._accepted = 0
        self._holders: list[Taker] = []
        self._withdrawal = b""
        self.is_withdrawn = False
        """Whether the release was given up; a sink that has not written it need not."""
        self.is_expired = False

    def accept(self) -> None:
        """Count a sink that has the record, as durable as it promises."""
        self._open -= 1
        self._accepted += 1
        if self._accepted >= self._needed and not self.verdict.done():
            self.verdict.set_result(True)

    def refuse(self) -> None:
        """Count a sink that failed or was late."""
        self._open -= 1
        if self._accepted + self._open < self._needed and not self.verdict.done():
            self.verdict.set_result(False)

    def expire(self) -> None:
        """Decide against the release, if nothing was decided: it has no more time."""
        if not self.verdict.done():
            self.is_expired = True
            self.verdict.set_result(False)

    def landed(self, taker: Taker) -> None:
        """Remember a sink on whose medium the record stands, in time or not."""
        if self.is_withdrawn:
            taker.take_back(self._withdrawal)
        else:
            self._holders.append(taker)

    def withdraw(self, withdrawal: bytes) -> None:
        """Take the release back wherever its record stands, now or later."""
        self._withdrawal, self.is_withdrawn = withdrawal, True
        for taker in self._holders:
            taker.take_back(withdrawal)
        self._holders.clear()
