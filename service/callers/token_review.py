"""Callers whose service-account token a Kubernetes API server vouches for (TokenReview v1)."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from service.callers.claims import Owner
from service.callers.credentials import Bearer, Credentials, Proof
from service.callers.fetching import Fetch, ReadToken
from service.callers.flights import Flights, landed
from service.callers.jwt import LocalRules, check_signature, proof_of
from service.callers.key_sets import KeySet
from service.callers.memory import Memory
from service.callers.observed import Event, Observe, unobserved
from service.callers.refusals import DETAILS, Refusal, Unavailable
from service.callers.tokens import Token
from service.deadline import Clock, Deadline
from service.errors import AuthenticationUnavailable, Unauthenticated
from service.strict_json import NotStrictJson, loads

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
USER_PREFIX: Final = "system:serviceaccount:"
ANSWERED: Final = frozenset({200, 201})
FORBIDDEN: Final = frozenset({401, 403})
MOST_AT_ONCE: Final = 64


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


Answer = Owner | Refusal | Unavailable


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
        keys: KeySet | None = None,
        observe: Observe = unobserved,
    ) -> None:
        self.name = name
        self._local, self._reviewer, self._keys = local, reviewer, keys
        self._fetch, self._own_token = fetch, own_token
        self._clock, self._observe = clock, observe
        self._flights: Flights[bytes, Answer] = Flights()
        # apart, so that a flood of bad tokens cannot push out the good ones
        self._good: Memory[bytes, Owner] = Memory(entries=reviewer.entries, clock=clock)
        self._bad: Memory[bytes, Refusal] = Memory(entries=reviewer.entries, clock=clock)

    async def authenticate(self, credentials: Credentials, deadline: Deadline) -> Proof | None:
        """Prove the service account of a token of this issuer.

        Raises ``Unauthenticated``, or ``AuthenticationUnavailable`` while nobody can be asked.
        """
        bearer = credentials.bearer
        token = None if bearer is None else self._local.issued(bearer)
        if bearer is None or token is None:
            return None
        claimed = self._local.judge(token, self._clock.wall())
        answer = self._remembered(bearer) or await self._answer(bearer, token, claimed, deadline)
        if isinstance(answer, Refusal):
            raise Unauthenticated(answer)
        if isinstance(answer, Unavailable):
            raise AuthenticationUnavailable(DETAILS[answer], reason=answer, retry_after=1.0)
        return proof_of(self.name, answer, token)

    def _remembered(self, bearer: Bearer) -> Owner | Refusal | None:
        answer = self._good.get(bearer.digest) or self._bad.get(bearer.digest)
        if answer is not None:
            self._observe(self.name, Event.REVIEW_REMEMBERED, "")
        return answer

    async def _answer(
        self, bearer: Bearer, token: Token, claimed: Owner, deadline: Deadline
    ) -> Answer:
        if self._keys is not None:
            await check_signature(bearer, token, self._keys, deadline)
        flight = self._flights.under_way(bearer.digest)
        if flight is None:
            if len(self._flights) >= MOST_AT_ONCE:
                return Unavailable.REVIEW_OVERLOADED
            flight = self._flights.start(
                bearer.digest, lambda: self._review(bearer, token, claimed)
            )
        try:
            return await landed(flight, deadline)
        except TimeoutError:
            return Unavailable.REVIEW_UNAVAILABLE

    async def _review(self, bearer: Bearer, token: Token, claimed: Owner) -> Answer:
        until = self._clock.monotonic() + self._reviewer.cache
        answer = await self._ask(bearer, claimed)
        if isinstance(answer, Unavailable):
            self._observe(self.name, Event.REVIEW_FAILED, answer)
        elif isinstance(answer, Refusal):
            self._bad.put(bearer.digest, answer, until=until)
            self._observe(self.name, Event.REVIEW_ANSWERED, answer)
        else:
            wall_until = token.claims["exp"]
            self._good.put(bearer.digest, answer, until=until, wall_until=wall_until)
            self._observe(self.name, Event.REVIEW_ANSWERED, "")
        return answer

    async def _ask(self, bearer: Bearer, claimed: Owner) -> Answer:
        try:
            own = self._own_token()
        except OSError:
            return Unavailable.OWN_TOKEN_UNREADABLE
        deadline = Deadline.after(self._reviewer.timeout, self._clock)
        url = self._reviewer.api_server.rstrip("/") + PATH
        headers = {
            "accept": "application/json",
            "authorization": f"Bearer {own}",
            "content-type": "application/json",
        }
        body = _question(bearer.reveal(), self._reviewer.audience)
        try:
            status, _, answer = await self._fetch(url, headers, body, deadline)
        except OSError:
            return Unavailable.REVIEW_UNAVAILABLE
        return _read(status, answer, self._reviewer.audience, claimed)


def _question(token: str, audience: str) -> bytes:
    return orjson.dumps(
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
    )


def _read(status: int, body: bytes, audience: str, claimed: Owner) -> Answer:
    if status not in ANSWERED:
        is_ours = status in FORBIDDEN
        return Unavailable.REVIEW_FORBIDDEN if is_ours else Unavailable.REVIEW_UNAVAILABLE
    try:
        review = loads(body)
    except NotStrictJson:
        return Unavailable.REVIEW_INVALID
    is_review = isinstance(review, dict) and review.get("kind") == "TokenReview"
    found = review.get("status") if is_review else None
    if not isinstance(found, dict):
        return Unavailable.REVIEW_INVALID
    return _judge(found, audience, claimed)


def _judge(status: dict[str, Any], audience: str, claimed: Owner) -> Answer:
    if status.get("authenticated") is not True:
        return Refusal.REVIEW_REFUSED
    audiences, user = status.get("audiences"), status.get("user")
    if not isinstance(audiences, list) or audience not in audiences:
        return Refusal.REVIEW_AUDIENCE
    known = user if isinstance(user, dict) else {}
    expected = USER_PREFIX + claimed.subject.replace("/", ":")
    if known.get("username") != expected or known.get("uid") != claimed.uid:
        return Refusal.REVIEW_USER
    return claimed
