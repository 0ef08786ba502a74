"""Calls to one site's Gigya: attempts, what each trouble allows next, and one outcome.

Source: facts.md §5 and §8. Every method called through this must only read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from service.deadline import Clock, Deadline
from service.gigya.access_token import METHOD as GET_TOKEN
from service.gigya.access_token import Issued, issued
from service.gigya.attempts import FORM, read
from service.gigya.authentication import Authenticated, Call, OAuth2, authenticate, token_request
from service.gigya.clock_offset import offset_of
from service.gigya.cures import Cure, Cures, Run
from service.gigya.replies import Reply, Verdict
from service.gigya.sites import endpoint
from service.gigya.slots import Rotation, Slots
from service.gigya.troubles import Result, Trouble, Troubled, of_outbound
from service.live import Live
from service.model import Exchange
from service.outbound import Answer, Outbound, OutboundError, TimedOut

T = TypeVar("T")

COMMON: Final = {"format": "json", "httpStatusCodes": "false"}
"""Sent with each call: a body to judge by, whatever the status."""

PATIENCE: Final[Mapping[int, float]] = {100001: 0.5, 403024: 0.5, 403048: 1.0, 409030: 0.1}
"""Seconds before a code may be asked about again, before any jitter: honoured, not hammered."""

_PROVES: Final = frozenset({Result.OK, Result.NO_SESSION, Result.REAUTHENTICATE})
"""Results that only a caller whom Gigya has authenticated can get."""


class Pauses(Protocol):
    """Who says whether and when a transient trouble may be tried again (``resilience.retries``)."""

    def begin(self) -> None:
        """Count a first call."""

    async def pause(self, attempt: int, deadline: Deadline, *, at_least: float = 0.0) -> bool:
        """Wait before try ``attempt + 1`` and return True, or return False at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observers:
    """Who watches: attempts with their seconds, slots that proved good, cures tried, new pins."""

    attempted: Callable[[Result, float], None] = lambda _, __: None
    authenticated: Callable[[str], None] = lambda _: None
    cured: Callable[[Cure], None] = lambda _: None
    pinned: Callable[[str], None] = lambda _: None


class Client:
    """Gigya as one site sees it. ``nonce`` gives a text that was never given before."""

    def __init__(
        self,
        outbound: Outbound,
        slots: Live[Slots],
        *,
        origin: str,
        api_key: str,
        pauses: Pauses,
        clock: Clock,
        nonce: Callable[[], str],
        observers: Observers | None = None,
    ) -> None:
        self._outbound = outbound
        self._origin = origin
        self._api_key = api_key
        self._pauses = pauses
        self._clock = clock
        self._nonce = nonce
        self._observers = observers or Observers()
        self._rotation = Rotation(slots, self._ask_token, clock=clock)
        self._heard: tuple[Mapping[str, str], float] = ({}, 0.0)
        self._cures = Cures(self._rotation, clock=clock, observe=self._observers.cured)

    @property
    def clock_offset(self) -> float:
        """Seconds by which Gigya's clock is ahead of ours, as far as it had to be learnt."""
        return self._cures.offset.seconds

    @property
    def date_offset(self) -> float | None:
        """Seconds by which the last answer's ``Date`` was ahead of our clock, if it had one."""
        headers, heard_at = self._heard
        return offset_of(headers.get("date"), heard_at)

    @property
    def working_slot(self) -> str:
        """The name of the credentials that the next call begins with."""
        return self._rotation.working.name

    async def call(
        self, method: str, params: Mapping[str, str], deadline: Deadline
    ) -> tuple[Reply, Exchange]:
        """Return a reply whose code is 0, and what the call took.

        Raises a ``ServiceError`` with its ``exchange`` for everything else.
        """
        began = self._clock.monotonic()
        slot, generation, is_trial = self._rotation.begin()
        run = Run(slot, generation, is_trial)
        self._pauses.begin()
        while True:
            run.attempts += 1
            try:
                reply = await self._attempt(method, params, run, deadline)
            except Troubled as error:
                trouble = error.trouble
            else:
                self._note_proof(run)
                return reply, self._exchange(run, reply, began)
            if trouble.result in _PROVES:
                self._note_proof(run)
            if not await self._may_repeat(trouble, run, deadline):
                raise trouble.as_error(self._exchange(run, trouble.reply, began))

    async def aclose(self) -> None:
        """End what goes on beside the calls."""
        await self._rotation.aclose()

    async def _attempt(
        self, method: str, params: Mapping[str, str], run: Run, deadline: Deadline
    ) -> Reply:
        if deadline.is_past:
            raise Troubled(of_outbound(TimedOut(sent=False)))
        run.offset = self._cures.offset.seconds
        slot, url = run.slot, endpoint(self._origin, method)
        run.token = await slot.token.get(deadline) if slot.token is not None else None
        run.asked_at = self._clock.wall()
        now, nonce = run.asked_at + run.offset, self._nonce()
        call = Call({**COMMON, **params}, url, self._api_key, now, nonce, run.token)
        return await self._posted(url, authenticate(slot.credentials, call), deadline, read)

    async def _ask_token(self, credentials: OAuth2, deadline: Deadline) -> Issued:
        form = token_request(credentials, {"format": "json"}, api_key=self._api_key)
        return await self._posted(endpoint(self._origin, GET_TOKEN), form, deadline, issued)

    async def _posted(
        self,
        url: str,
        authenticated: Authenticated,
        deadline: Deadline,
        understand: Callable[[Answer], T],
    ) -> T:
        began = self._clock.monotonic()
        try:
            answer = await self._outbound.send(
                "POST",
                url,
                headers=authenticated.headers,
                content_type=FORM,
                body=authenticated.form.encode(),
                deadline=deadline,
            )
            self._heard = (answer.headers, self._clock.wall())
            understood = understand(answer)
        except OutboundError as error:
            trouble = of_outbound(error)
        except Troubled as error:
            trouble = error.trouble
        else:
            self._observers.attempted(Result.OK, self._clock.monotonic() - began)
            return understood
        self._observers.attempted(trouble.result, self._clock.monotonic() - began)
        raise Troubled(trouble)

    def _note_proof(self, run: Run) -> None:
        # Only a call that has tried both tells which is better: others began before it was known.
        has_chosen = run.is_trial or Cure.OTHER_SLOT in run.cures
        if self._rotation.pin(run.slot, has_chosen=has_chosen):
            self._observers.pinned(run.slot.name)
        self._cures.proved()
        self._observers.authenticated(run.slot.name)

    async def _may_repeat(self, trouble: Trouble, run: Run, deadline: Deadline) -> bool:
        is_of_trial = run.is_trial and trouble.result not in _PROVES
        if is_of_trial:
            self._cures.end_trial(run)
        if trouble.verdict is not Verdict.BACK_OFF:
            return is_of_trial or self._cures.cure(trouble, run)
        code = trouble.reply.error_code if trouble.reply is not None else 0
        at_least = max(trouble.retry_after or 0.0, PATIENCE.get(code, 0.0))
        run.tries += 1
        return await self._pauses.pause(run.tries - 1, deadline, at_least=at_least)

    def _exchange(self, run: Run, reply: Reply | None, began: float) -> Exchange:
        code, call_id = (None, None) if reply is None else (reply.error_code, reply.call_id)
        milliseconds = (self._clock.monotonic() - began) * 1000
        return Exchange(code, call_id, run.attempts, milliseconds, asked_at=run.asked_at)
