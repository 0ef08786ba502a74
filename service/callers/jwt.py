"""Callers that prove themselves with a token signed by an issuer (RFC 7519, RFC 8725)."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from service.callers.claims import Owner, ReadOwner, Rules, refusal
from service.callers.credentials import Bearer, Credentials, Judgement, Proof
from service.callers.key_sets import KnownKeys
from service.callers.keys import ALGORITHMS, VerificationKey
from service.callers.memory import Memory
from service.callers.observed import Event, Observe, unobserved
from service.callers.refusals import Refusal
from service.callers.tokens import Token
from service.deadline import Clock, Deadline
from service.errors import Unauthenticated
from service.model import Identity

REMEMBERED: Final = 60.0
"""Seconds for which a verified token is not verified again."""

TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt", "jose"})
"""``typ`` of access and ID tokens and SVIDs, in lower case; a logout token, say, is neither."""


class LocalRules:
    """What one issuer's tokens must be, judged without asking anybody."""

    def __init__(
        self, *, issuer: str, rules: Rules, algorithms: Collection[str], owner: ReadOwner
    ) -> None:
        if not algorithms or not set(algorithms) <= set(ALGORITHMS):
            raise ValueError("name at least one algorithm, and only asymmetric ones")
        self._issuer, self._rules, self._owner = issuer, rules, owner
        self._algorithms = frozenset(algorithms)

    def issued(self, bearer: Bearer) -> Token | None:
        """Return the token, unverified, if it says that this issuer made it."""
        token = bearer.token
        if isinstance(token, Refusal) or token.claims.get("iss") != self._issuer:
            return None
        return token

    def judge(self, token: Token, now: float) -> Owner:
        """Return whose the token says it is; raises ``Unauthenticated`` unless all rules hold."""
        reason = self._header(token.header) or refusal(token.claims, self._rules, now)
        owner = reason or self._owner(token.claims)
        if isinstance(owner, Refusal):
            raise Unauthenticated(owner)
        return owner

    def _header(self, header: Mapping[str, Any]) -> Refusal | None:
        if "crit" in header or "b64" in header:
            return Refusal.HEADER_CRITICAL
        alg, typ, kid = header.get("alg"), header.get("typ", "JWT"), header.get("kid")
        if not isinstance(alg, str) or alg not in self._algorithms:
            return Refusal.ALGORITHM_REFUSED
        if not isinstance(typ, str) or typ.lower() not in TYPES:
            return Refusal.TYPE_UNEXPECTED
        return None if isinstance(kid, str) and kid else Refusal.KEY_ID_MISSING


async def check_signature(
    bearer: Bearer, token: Token, keys: KnownKeys, deadline: Deadline, *, peer: str
) -> VerificationKey:
    """Verify a judged token; raises ``Unauthenticated`` or ``AuthenticationUnavailable``."""
    alg = token.header["alg"]
    key = await keys.find(token.header["kid"], deadline, peer)
    if not key.fits(alg):
        raise Unauthenticated(Refusal.KEY_UNFIT)
    if not key.verifies(bearer.reveal(), alg):
        raise Unauthenticated(Refusal.SIGNATURE_WRONG)
    return key


class Jwt:
    """Verifies one issuer's tokens with that issuer's keys."""

    def __init__(
        self,
        *,
        name: str,
        local: LocalRules,
        keys: KnownKeys,
        clock: Clock,
        entries: int = 4096,
        observe: Observe = unobserved,
    ) -> None:
        self.name = name
        self._local, self._keys, self._clock, self._observe = local, keys, clock, observe
        self._verified: Memory[tuple[bytes, int | None], Proof] = Memory(
            entries=entries, clock=clock
        )

    def authenticate(self, credentials: Credentials, deadline: Deadline) -> Judgement | None:
        """Prove the owner of a token of this issuer, at once if it is remembered.

        Raises ``Unauthenticated``, or ``AuthenticationUnavailable`` while the keys cannot be had.
        """
        bearer = credentials.bearer
        if bearer is None:
            return None
        generation = self._keys.generation
        proof = self._verified.get((bearer.digest, generation)) if generation else None
        if proof is not None:
            self._observe(self.name, Event.TOKEN_REMEMBERED, "")
            return proof
        token = self._local.issued(bearer)
        if token is None:
            return None
        return self._verify(bearer, token, deadline, peer=credentials.peer)

    async def _verify(
        self, bearer: Bearer, token: Token, deadline: Deadline, *, peer: str
    ) -> Proof:
        owner = self._local.judge(token, self._clock.wall())
        await check_signature(bearer, token, self._keys, deadline, peer=peer)
        proof = proof_of(self.name, owner, token)
        self._verified.put(
            (bearer.digest, self._keys.generation),
            proof,
            until=self._clock.monotonic() + REMEMBERED,
            wall_until=token.claims["exp"],
        )
        self._observe(self.name, Event.TOKEN_VERIFIED, "")
        return proof


def proof_of(name: str, owner: Owner, token: Token) -> Proof:
    """Return what a verified ``token`` of ``owner`` proves by the authentication ``name``."""
    return Proof(
        identity=Identity(via=name, subject=owner.subject),
        namespace=owner.namespace,
        pod=owner.pod,
        expires_at=datetime.fromtimestamp(token.claims["exp"], UTC),
    )
