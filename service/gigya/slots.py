"""Current and previous credentials of one site, and which of them Gigya takes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from service.deadline import Clock, Deadline
from service.gigya.access_token import AccessToken, Issued
from service.gigya.authentication import Credentials, OAuth2
from service.live import Live

CURRENT: Final = "current"
PREVIOUS: Final = "previous"

TRIAL: Final = 60.0
"""Seconds between two calls that begin with the current slot though the previous one is pinned.

They show when the previous credentials may go: ``upstream_authenticated`` then tells the current.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slots:
    """What a site authenticates with: ``previous`` is tried where Gigya rejects ``current``.

    ``token_max_age``: seconds that an OAuth 2 access token is kept at most.
    """

    current: Credentials
    previous: Credentials | None = None
    token_max_age: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slot:
    """One set of credentials at work; ``token`` where it is OAuth 2."""

    name: str
    credentials: Credentials
    token: AccessToken | None


Ask = Callable[[OAuth2, Deadline], Awaitable[Issued]]


class Rotation:
    """The slots of one site; what works is pinned until the credentials are replaced."""

    def __init__(self, live: Live[Slots], ask: Ask, *, clock: Clock) -> None:
        self._live = live
        self._ask = ask
        self._clock = clock
        self._generation = 0
        self._slots: tuple[Slot, ...] = ()
        self._pinned = 0
        self._serving = 0
        self._trial_at = 0.0

    @property
    def generation(self) -> int:
        """A number that grows when the credentials are replaced."""
        return self._live.generation

    @property
    def working(self) -> Slot:
        """The slot that worked last; the current one where none has yet."""
        snapshot = self._live.snapshot
        if snapshot.generation != self._generation:
            self._generation, self._pinned, self._serving = snapshot.generation, 0, 0
            self._slots = self._opened(snapshot.value)
        return self._slots[self._pinned]

    def begin(self) -> tuple[Slot, int, bool]:
        """Return the slot that a call begins with, its generation, and whether it is only tried."""
        working = self.working
        if self._pinned == 0 or (now := self._clock.monotonic()) < self._trial_at:
            return working, self._generation, False
        self._trial_at = now + TRIAL
        return self._slots[0], self._generation, True

    def other(self, slot: Slot) -> Slot | None:
        """Return the slot to try where ``slot`` is rejected; None if there is no other."""
        working = self.working
        if slot not in self._slots:
            return working  # the credentials were replaced while the call was under way
        return next((each for each in self._slots if each is not slot), None)

    def pin(self, slot: Slot, *, has_chosen: bool) -> bool:
        """Begin with ``slot``, which serves, from now on; return whether that is news.

        A call that has not chosen between the slots speaks only for the one that works already;
        a slot that was replaced meanwhile changes nothing.
        """
        if slot is not self.working:
            if not has_chosen:
                return False
            if slot in self._slots:
                self._pinned = self._slots.index(slot)
                self._trial_at = self._clock.monotonic() + TRIAL
        was, self._serving = self._serving, self._pinned
        return was != self._pinned

    def avoid(self, slot: Slot) -> None:
        """Begin with the other slot from now on, if calls begin with ``slot``, which is refused."""
        if slot is self.working and len(self._slots) > 1:
            self._pinned = 1 - self._pinned
            self._trial_at = self._clock.monotonic() + TRIAL

    async def aclose(self) -> None:
        """End what asks for an access token."""
        for slot in self._slots:
            if slot.token is not None:
                await slot.token.aclose()

    def _opened(self, slots: Slots) -> tuple[Slot, ...]:
        named = ((CURRENT, slots.current), (PREVIOUS, slots.previous))
        return tuple(
            Slot(name=name, credentials=each, token=self._token(each, slots.token_max_age))
            for name, each in named
            if each is not None
        )

    def _token(self, credentials: Credentials, max_age: float) -> AccessToken | None:
        if not isinstance(credentials, OAuth2):
            return None
        ask = self._ask
        return AccessToken(
            lambda deadline: ask(credentials, deadline), clock=self._clock, max_age=max_age
        )
