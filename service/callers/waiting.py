"""Who waits until others say whether a credential is good: so many, and no peer all of them."""

from collections import Counter
from typing import Final

from service.callers.refusals import Unavailable, unavailable

SEATS: Final = 64
"""Seats of a room, unless it is to have fewer."""


class Seat:
    """One place in a room; left at the end of the block that it is, or when told."""

    __slots__ = ("_peer", "_taken")

    def __init__(self, taken: Counter[str], peer: str) -> None:
        self._taken = taken
        self._peer: str | None = peer
        taken[peer] += 1

    def leave(self, *_: object) -> None:
        """Give it to others; once is enough."""
        peer, self._peer = self._peer, None
        if peer is None:
            return
        self._taken[peer] -= 1
        if not self._taken[peer]:
            del self._taken[peer]

    def __enter__(self) -> None:
        return

    __exit__ = leave


class Room:
    """Where requests wait for keys and reviews, in all authentications together.

    A peer may have as many seats as are left to others: one alone half of them, the next half of
    the rest. However long an issuer hangs, no more than these seats are taken from releases.
    """

    def __init__(self, seats: int = SEATS) -> None:
        self._seats = seats
        self._taken: Counter[str] = Counter()

    def take(self, peer: str, reason: Unavailable) -> Seat:
        """Return a seat; raises ``AuthenticationUnavailable`` for ``reason`` if there is none."""
        if self._taken[peer] >= self._seats - self._taken.total():
            raise unavailable(reason)
        return Seat(self._taken, peer)
