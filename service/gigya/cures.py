"""What can make the very next attempt succeed: the clock, a nonce, a token, the other slot."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from service.deadline import Clock
from service.gigya.clock_offset import RESOLUTION, ClockOffset
from service.gigya.slots import Rotation, Slot
from service.gigya.troubles import Result, Trouble
from service.secret import Secret

REST: Final = 10.0
"""Seconds in which a cure that did not help is not tried again by anyone at the site.

Cures are outside the retry budget, because each mends the site for all; this bounds those that
mend nothing.
"""


class Cure(StrEnum):
    """Each is tried once a call; a closed set, good as a label."""

    RESYNC = "resync"
    RENONCE = "renonce"
    RENEW_TOKEN = "renew_token"  # noqa: S105  # a cure's name
    OTHER_SLOT = "other_slot"


CURES: Final[Mapping[Result, Cure]] = {
    Result.CLOCK: Cure.RESYNC,
    Result.NONCE: Cure.RENONCE,
    Result.TOKEN: Cure.RENEW_TOKEN,
    Result.CREDENTIALS_REJECTED: Cure.OTHER_SLOT,
}


@dataclass(slots=True, eq=False)
class Run:
    """One call under way: with what its last attempt was made, and what has been tried.

    ``attempts`` counts all of them, ``tries`` those that the back-off knows; ``is_trial`` while
    ``slot`` is one that only might work again; ``generation`` is that of the credentials that
    ``cures`` speaks of.
    """

    slot: Slot
    generation: int
    is_trial: bool = False
    offset: float = 0.0
    asked_at: float | None = None
    token: Secret[str] | None = None
    attempts: int = 0
    tries: int = 1
    cures: frozenset[Cure] = frozenset()
    has_gone_round: bool = False
    """Whether both slots were refused, and the first was tried again."""


class Cures:
    """The cures of one site, with what they learnt."""

    def __init__(
        self, rotation: Rotation, *, clock: Clock, observe: Callable[[Cure], None]
    ) -> None:
        self.offset = ClockOffset()
        self._rotation = rotation
        self._clock = clock
        self._observe = observe
        self._rests: dict[Cure, tuple[float, int]] = {}
        self._proved_at = -math.inf
        self._apply: Mapping[Cure, Callable[[Trouble, Run], bool]] = {
            Cure.RESYNC: self._resync,
            Cure.RENONCE: lambda _, __: True,  # each attempt has a nonce of its own
            Cure.RENEW_TOKEN: _renew_token,
            Cure.OTHER_SLOT: self._other_slot,
        }

    def cure(self, trouble: Trouble, run: Run) -> bool:
        """Change what ``trouble`` is about; return whether another attempt is worth it."""
        cure = CURES.get(trouble.result)
        if cure is Cure.RENEW_TOKEN and not self._is_open(cure, run):
            _renew_token(trouble, run)  # for the next call: what was refused is not held on to
            cure = Cure.OTHER_SLOT  # a fresh token refused like the old one: the credentials
        if cure is None or not self._is_open(cure, run):
            if cure is Cure.OTHER_SLOT:
                self._rotation.avoid(run.slot)
            return False
        run.cures |= {cure}
        if is_cured := self._apply[cure](trouble, run):
            self._observe(cure)
        return is_cured

    def end_trial(self, run: Run) -> None:
        """Go on with what is known to work: a trial never fails a call."""
        run.is_trial, run.slot = False, self._rotation.working

    def proved(self) -> None:
        """Note that Gigya has taken us: whoever met both slots at bad times speaks for nobody."""
        self._proved_at = self._clock.monotonic()
        if self._rests:
            self._rests.pop(Cure.OTHER_SLOT, None)
            self._rests.pop(Cure.RENEW_TOKEN, None)

    def _is_open(self, cure: Cure, run: Run) -> bool:
        now, generation = self._clock.monotonic(), self._rotation.generation
        if run.generation != generation:  # both slots are others than those that were refused
            run.generation = generation
            run.cures -= {Cure.OTHER_SLOT}
        if cure in run.cures:
            if cure is Cure.OTHER_SLOT and self._goes_round(run, now):
                return True
            self._rests[cure] = (now + REST, generation)
            return False
        until, of_generation = self._rests.get(cure, (now, generation))
        if now >= until or of_generation != generation:
            return True
        # While it rests, calls take turns at beginning with either slot: one may work by now.
        return cure is Cure.OTHER_SLOT and run.slot is not self._rotation.working

    def _goes_round(self, run: Run, now: float) -> bool:
        """Let a call that met both slots at bad times try the first once more.

        Where Gigya has taken us a moment ago, it has switched from one to the other meanwhile.
        """
        if run.has_gone_round or now - self._proved_at >= REST:
            return False
        run.has_gone_round = True
        return True

    def _resync(self, trouble: Trouble, run: Run) -> bool:
        self.offset.learn(trouble.date, self._clock.wall())
        # Another call may have learnt it while this one was under way.
        return abs(self.offset.seconds - run.offset) >= RESOLUTION

    def _other_slot(self, _: Trouble, run: Run) -> bool:
        other = self._rotation.other(run.slot)
        run.slot = other or run.slot
        return other is not None


def _renew_token(_: Trouble, run: Run) -> bool:
    if run.slot.token is None or run.token is None:
        return False
    run.slot.token.reject(run.token)
    return True
