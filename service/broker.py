"""The use case: policy, then the session, then the tokens that this caller may have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from service.audit.record import Entry
from service.deadline import Clock, Deadline
from service.errors import Missing, ReauthenticationRequired, TokenExpiring
from service.live import Live
from service.model import (
    Caller,
    Field,
    ProviderTokens,
    Session,
    SessionQuery,
    SiteName,
    TokenRequest,
    Uid,
    UidSignature,
)
from service.named import named
from service.policy import Decision, Policy, decide, refusal
from service.providers import Catalogue, Naming, Row, provider_tokens
from service.values import value


class Sessions(Protocol):
    """Where sessions come from: Gigya, a flight under way, or the cache."""

    async def session(
        self, query: SessionQuery, *, max_age: int | None, deadline: Deadline
    ) -> Session:
        """Return the session, at most ``max_age`` seconds old (``None``: as configured)."""


class UserProofs(Protocol):
    """Who can tell whether Gigya signed a UID a short while ago."""

    def vouches(self, uid: Uid, proof: UidSignature, *, now: float) -> bool:
        """Tell whether ``proof`` is Gigya's, fresh, and of this UID; ``now`` is UNIX seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the broker knows of one site."""

    catalogue: Catalogue
    naming: Naming
    user_proofs: UserProofs


@value(eq=False)
class Release:
    """All that one answer holds, still sealed."""

    site: SiteName
    row: Row
    provider_tokens: ProviderTokens
    provider_uid_verified: bool | None
    age: int
    session: Session


class Broker:
    """Decides for each caller by itself, gets the session, and hands out what was decided.

    ``require_sinks`` raises ``AuditUnavailable`` where no release could be recorded now.
    """

    def __init__(
        self,
        *,
        policy: Live[Policy],
        sites: Mapping[SiteName, Site],
        sessions: Sessions,
        clock: Clock,
        require_sinks: Callable[[], None],
        decide: Callable[..., Decision] = decide,
    ) -> None:
        self._decided = decide
        self._policy = policy
        self._sites = sites
        self._catalogues = {name: site.catalogue for name, site in sites.items()}
        self._sessions = sessions
        self._clock = clock
        self._require_sinks = require_sinks

    async def release(
        self, caller: Caller, request: TokenRequest, entry: Entry, deadline: Deadline
    ) -> Release:
        """Return what ``caller`` may have of what ``request`` asks, or raise a ``ServiceError``.

        What becomes known on the way is noted in ``entry``; nothing is revealed here.
        """
        policy = self._policy.snapshot
        asked = self._resolve(caller, request, policy.value)
        entry.provider, entry.asked = asked.row.name or None, asked.fields or ()
        if asked.site in self._sites:  # never what a caller made up
            entry.site = asked.site
        decision = self._decide(asked, policy.value, entry)
        self._require_sinks()  # no session is opened that could not be released
        inquiry = _Inquiry(
            asked=asked, entry=entry, deadline=deadline, generation=policy.generation
        )
        session, decision = await self._ask(inquiry, decision, request.max_age)
        try:
            return self._release(inquiry, decision, session)
        except (TokenExpiring, ReauthenticationRequired):
            if not session.exchange.cached:
                raise
        # What was kept lives too short for this request; what Gigya has now may live longer.
        session, decision = await self._ask(inquiry, decision, 0)
        return self._release(inquiry, decision, session)

    async def _ask(
        self, inquiry: "_Inquiry", decision: Decision, max_age: int | None
    ) -> tuple[Session, Decision]:
        asked, entry = inquiry.asked, inquiry.entry
        session = await self._sessions.session(
            asked.query, max_age=max_age, deadline=inquiry.deadline
        )
        entry.exchange = session.exchange
        entry.token_expires_at = session.token_expires_at
        if (policy := self._policy.snapshot).generation != inquiry.generation:
            # The rules changed while Gigya was asked: both must allow what goes out.
            newer = self._decide(asked, policy.value, entry)
            decision = replace(newer, allowed=decision.allowed & newer.allowed)
            if not decision.allowed:
                entry.decision, error = "deny", refusal(Missing.FIELD)
                entry.reason = error.reason
                raise error
        return session, decision

    def _resolve(self, caller: Caller, request: TokenRequest, policy: Policy) -> "_Asked":
        site = policy.site_for(caller.name, request.site)
        found = named(
            policy,
            self._catalogues,
            caller=caller.name,
            site=site,
            provider=request.provider,
            fields=request.fields,
        )
        return _Asked(caller=caller, request=request, site=site, row=found.row, fields=found.fields)

    def _decide(self, asked: "_Asked", policy: Policy, entry: Entry) -> Decision:
        decision = self._decided(
            policy,
            caller=asked.caller.name,
            site=asked.site,
            provider=asked.row.name,
            fields=asked.fields,
            has_user_proof=self._has_user_proof(asked.request, asked.site),
        )
        entry.rule, entry.reason = decision.rule, decision.reason
        entry.decision = "deny" if decision.missing else "allow"
        if decision.missing:
            raise refusal(decision.missing)
        return decision

    def _has_user_proof(self, request: TokenRequest, site: SiteName) -> bool:
        proof = request.uid_signature
        return (
            proof is not None
            and site in self._sites
            and self._sites[site].user_proofs.vouches(request.uid, proof, now=self._clock.wall())
        )

    def _release(self, inquiry: "_Inquiry", decision: Decision, session: Session) -> Release:
        asked, now = inquiry.asked, self._clock.wall()
        tokens = provider_tokens(
            asked.row,
            session,
            allowed=decision.allowed,
            now=now,
            naming=self._sites[asked.site].naming,
            min_ttl=asked.request.min_ttl,
            asked=None if asked.fields is None else frozenset(asked.fields),
        )
        inquiry.entry.would_deny = decision.would_deny(tokens.released)
        return Release(
            site=asked.site,
            row=asked.row,
            provider_tokens=tokens,
            provider_uid_verified=(
                session.provider_uid_verified
                if asked.request.verify_provider_uid and tokens.provider_uid is not None
                else None
            ),
            age=max(0, int(now - session.fetched_at)),
            session=session,
        )


@value()
class _Asked:
    """A request whose names are resolved."""

    caller: Caller
    request: TokenRequest
    site: SiteName
    row: Row
    fields: tuple[Field, ...] | None

    @property
    def query(self) -> SessionQuery:
        """What to ask Gigya."""
        return SessionQuery(
            site=self.site,
            provider=self.row.name,
            uid=self.request.uid,
            cid=self.request.cid,
            sign_ids=self.request.verify_provider_uid,
        )


@value(eq=False)
class _Inquiry:
    """What one request's questions have in common; ``generation`` is that of its first decision."""

    asked: _Asked
    entry: Entry
    deadline: Deadline
    generation: int
