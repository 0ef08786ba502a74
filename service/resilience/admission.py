"""Bounded concurrency: so many calls at once, so few for one user, so many waiting, no more."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from service.deadline import Deadline
from service.errors import Overloaded
from service.model import Uid

RETRY_AFTER: Final = 1.0
LONGEST_WAIT: Final = 0.5
"""The part of what is left to a call that it may wait: one that waited longer could not be made."""
SHED: Final = "This service has more calls to Gigya waiting than it accepts. Ask again a bit later."


Place = tuple[Uid, "asyncio.Future[bool]"]
"""Whose call waits, and whether it got its slot."""


class Admission:
    """Slots for calls to one site.

    ``concurrency`` calls run at once, ``per_uid`` of them for one UID (Gigya answers 409030 above
    5); ``queue`` more may wait for half of the time that they have. The rest is shed at once.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        per_uid: int,
        queue: int,
        observe: Callable[[], None] = lambda: None,
    ) -> None:
        self._concurrency = concurrency
        self._per_uid = per_uid
        self._queue = queue
        self._observe = observe
        self._waiting: deque[Place] = deque()
        self._of_uid: dict[Uid, int] = {}
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return len(self._waiting)

    def takes(self, uid: Uid) -> bool:
        """Take a slot for one call if there is one for this user; whether there was.

        ``give_back`` ends it.
        """
        taken = self._of_uid.get(uid, 0)
        if self.in_flight >= self._concurrency or taken >= self._per_uid:
            return False
        self.in_flight += 1
        self._of_uid[uid] = taken + 1
        return True

    async def wait(self, uid: Uid, deadline: Deadline) -> None:
        """Wait for a slot where ``takes`` took none, and take it; raises ``Overloaded``."""
        if len(self._waiting) >= self._queue:
            self._observe()
            raise Overloaded(SHED, retry_after=RETRY_AFTER)
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        place = (uid, turn)
        self._waiting.append(place)
        # Not asyncio.wait(): under overload everybody waits here, and it costs three times as much.
        limit = loop.call_later(deadline.remaining() * LONGEST_WAIT, self._expire, place)
        try:
            has_slot = await turn
        except asyncio.CancelledError:
            self._leave(place)
            raise
        finally:
            limit.cancel()
        if not has_slot:
            self._observe()
            raise Overloaded(SHED, retry_after=RETRY_AFTER)

    def give_back(self, uid: Uid) -> None:
        """Give a slot back, to whoever waits for it."""
        self.in_flight -= 1
        left = self._of_uid[uid] - 1
        if left:
            self._of_uid[uid] = left
        else:
            del self._of_uid[uid]
        if self._waiting:
            self._admit_next()

    def _expire(self, place: Place) -> None:
        _, turn = place
        if not turn.done():
            self._waiting.remove(place)
            turn.set_result(False)

    def _leave(self, place: Place) -> None:
        uid, turn = place
        if turn.cancelled():
            self._waiting.remove(place)
        elif turn.result():  # it was given a slot in the same moment
            self.give_back(uid)

    def _admit_next(self) -> None:
        for place in self._waiting:
            uid, turn = place
            if not turn.done() and self.takes(uid):
                self._waiting.remove(place)
                turn.set_result(True)
                return
