"""Callers whose service-account token a Kubernetes API server vouches for (TokenReview v1)."""

import asyncio
from dataclasses import dataclass
from typing import Final

from service.callers.claims import Owner
from service.callers.credentials import Bearer, Credentials, Judgement, Proof
from service.callers.fetching import Answer as FetchAnswer
from service.callers.fetching import Fetch, ReadToken
from service.callers.flights import Flights, landed
from service.callers.jwt import LocalRules, check_signature, proof_of
from service.callers.key_sets import KnownKeys
from service.callers.memory import Memory
from service.callers.observed import Event, Observe, unobserved
from service.callers.refusals import Refusal, Unavailable, unavailable
from service.callers.reviews import Doubt, doubt, question
from service.callers.tokens import Token
from service.callers.waiting import Room
from service.deadline import Clock, Deadline
from service.errors import Unauthenticated

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """The API server that is asked: its URL, our audience, and the seconds that apply.

    ``cache``: for which an answer, good or bad, is used again · ``timeout``: of one question.
    """

    api_server: str
    audience: str
    cache: float = 10
    timeout: float = 3
    entries: int = 4096


Answer = Proof | Refusal | Unavailable


class TokenReview:
    """Checks a token locally, then asks the API server, which also knows what was deleted."""

    def __init__(
        self,
        *,
        name: str,
        local: LocalRules,
        reviewer: Reviewer,
        fetch: Fetch,
        own_token: ReadToken,
        clock: Clock,
        keys: KnownKeys | None = None,
        observe: Observe = unobserved,
        room: Room | None = None,
    ) -> None:
        self.name = name
        self._room = room or Room()
        self._local, self._reviewer, self._keys = local, reviewer, keys
        self._fetch, self._own_token = fetch, own_token
        self._clock, self._observe = clock, observe
        self._flights: Flights[bytes, Answer] = Flights()
        # apart, so that a flood of bad tokens cannot push out the good ones
        self._good: Memory[bytes, Proof] = Memory(entries=reviewer.entries, clock=clock)
        self._bad: Memory[bytes, Refusal] = Memory(entries=reviewer.entries, clock=clock)

    def authenticate(self, credentials: Credentials, deadline: Deadline) -> Judgement | None:
        """Prove the service account of a token of this issuer, at once if it is remembered.

        Raises ``Unauthenticated``, or ``AuthenticationUnavailable`` while nobody can be asked.
        """
        bearer = credentials.bearer
        if bearer is None:
            return None
        answer = self._remembered(bearer)
        if answer is not None:
            return _proof_in(answer)
        token = self._local.issued(bearer)
        if token is None:
            return None
        return self._judge(bearer, token, deadline, peer=credentials.peer)

    def _remembered(self, bearer: Bearer) -> Proof | Refusal | None:
        answer = self._good.get(bearer.digest) or self._bad.get(bearer.digest)
        if answer is not None:
            self._observe(self.name, Event.REVIEW_REMEMBERED, "")
        return answer

    async def _judge(self, bearer: Bearer, token: Token, deadline: Deadline, *, peer: str) -> Proof:
        owner = self._local.judge(token, self._clock.wall())
        if self._keys is not None:
            await check_signature(bearer, token, self._keys, deadline, peer=peer)
        seat = self._room.take(peer, Unavailable.REVIEW_OVERLOADED)
        if (flight := self._flights.under_way(bearer.digest)) is not None:
            with seat:
                return _proof_in(await _answer(flight, deadline))
        flight = self._flights.start(bearer.digest, lambda: self._review(bearer, token, owner))
        # whoever asks may leave before the answer, and the question goes on
        flight.add_done_callback(seat.leave)
        return _proof_in(await _answer(flight, deadline))

    async def _review(self, bearer: Bearer, token: Token, owner: Owner) -> Answer:
        until = self._clock.monotonic() + self._reviewer.cache
        reason = await self._ask(bearer, owner)
        event = Event.REVIEW_FAILED if isinstance(reason, Unavailable) else Event.REVIEW_ANSWERED
        self._observe(self.name, event, reason or "")
        if isinstance(reason, Unavailable):
            return reason
        if isinstance(reason, Refusal):
            self._bad.put(bearer.digest, reason, until=until)
            return reason
        proof = proof_of(self.name, owner, token)
        self._good.put(bearer.digest, proof, until=until, wall_until=token.claims["exp"])
        return proof

    async def _ask(self, bearer: Bearer, owner: Owner) -> Doubt:
        try:
            own = self._own_token()
        except OSError:
            return Unavailable.OWN_TOKEN_UNREADABLE
        try:
            async with asyncio.timeout(self._reviewer.timeout):
                status, _, answer = await self._post(bearer, own)
        except OSError:
            return Unavailable.REVIEW_UNAVAILABLE
        return doubt(status, answer, self._reviewer.audience, owner)

    async def _post(self, bearer: Bearer, own: str) -> FetchAnswer:
        headers = {
            "accept": "application/json",
            "authorization": f"Bearer {own}",
            "content-type": "application/json",
        }
        return await self._fetch(
            self._reviewer.api_server.rstrip("/") + PATH,
            headers,
            question(bearer.reveal(), self._reviewer.audience),
            Deadline.after(self._reviewer.timeout, self._clock),
        )


def _proof_in(answer: Answer) -> Proof:
    """Return the proof, if that is the answer, or raise what stands in its place."""
    if isinstance(answer, Refusal):
        raise Unauthenticated(answer)
    if isinstance(answer, Unavailable):
        raise unavailable(answer)
    return answer


async def _answer(flight: asyncio.Task[Answer], deadline: Deadline) -> Answer:
    try:
        return await landed(flight, deadline)
    except TimeoutError:
        return Unavailable.REVIEW_UNAVAILABLE
