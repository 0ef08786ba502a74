"""The use case: policy, then the session, then the tokens that this caller may have."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from service.audit.record import Entry
from service.deadline import Clock, Deadline
from service.errors import Missing, ReauthenticationRequired, TokenExpiring
from service.live import Live, Snapshot
from service.model import (
    Caller,
    CallerName,
    Field,
    ProviderTokens,
    Session,
    SessionQuery,
    SiteName,
    TokenRequest,
    Uid,
    UidSignature,
)
from service.named import Names
from service.policy import Decide, Decision, Policy, refusal
from service.providers import Catalogue, Naming, Row, provider_tokens
from service.values import value


class Sessions(Protocol):
    """Where sessions come from: Gigya, a flight under way, or the cache."""

    def kept(self, query: SessionQuery, *, max_age: int | None) -> Session | None:
        """Return the session if it is at hand and at most ``max_age`` seconds old.

        ``None`` is as old as is configured.
        """

    async def fetched(
        self, query: SessionQuery, *, max_age: int | None, deadline: Deadline
    ) -> Session:
        """Return the session from Gigya, in a call begun at most ``max_age`` seconds ago."""


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


@value(kw_only=False, eq=False)
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

    ``require_sinks`` raises ``AuditUnavailable`` where no release could be recorded now; ``decide``
    is what a policy says to a question.
    """

    def __init__(
        self,
        *,
        policy: Live[Policy],
        sites: Mapping[SiteName, Site],
        sessions: Sessions,
        clock: Clock,
        require_sinks: Callable[[], None],
        decide: Decide = Policy.decision,
    ) -> None:
        self._decided_by = decide
        self._policy = policy
        self._sites = sites
        self._names = Names({name: site.catalogue for name, site in sites.items()})
        self._sessions = sessions
        self._clock = clock
        self._require_sinks = require_sinks

    async def release(
        self,
        caller: Caller,
        request: TokenRequest,
        entry: Entry,
        deadline: Deadline,
        attended: AbstractContextManager[None],
    ) -> Release:
        """Return what ``caller`` may have of what ``request`` asks, or raise a ``ServiceError``.

        What becomes known on the way is noted in ``entry``; nothing is revealed here. Whenever it
        must wait for Gigya, it does in the block of ``attended``, which can be entered again.
        """
        rules = self._policy.snapshot
        site, row, fields = self._names.of(rules.value, caller.name, request)
        entry.provider, entry.asked = row.name or None, fields or ()
        if site in self._sites:  # never what a caller made up
            entry.site = site
        inquiry = _Inquiry(caller.name, request, rules, site, row, fields, entry)
        decision = self._decide(inquiry, rules.value)
        self._require_sinks()  # no session is opened that could not be released
        query = SessionQuery(site, row.name, request.uid, request.cid, request.verify_provider_uid)
        session = self._sessions.kept(query, max_age=request.max_age)
        if session is None:
            with attended:
                session = await self._sessions.fetched(
                    query, max_age=request.max_age, deadline=deadline
                )
        decision = self._still_allowed(inquiry, decision, session)
        try:
            return self._release(inquiry, decision, session)
        except (TokenExpiring, ReauthenticationRequired):
            if not session.exchange.cached:
                raise
        # What was kept lives too short for this request; what Gigya has now may live longer.
        with attended:
            session = await self._sessions.fetched(query, max_age=0, deadline=deadline)
        decision = self._still_allowed(inquiry, decision, session)
        return self._release(inquiry, decision, session)

    def _still_allowed(self, inquiry: "_Inquiry", decision: Decision, session: Session) -> Decision:
        """Note what came, and return what is allowed of it by the rules of then and of now."""
        entry, rules = inquiry.entry, self._policy.snapshot
        entry.exchange, entry.user = session.exchange, session.user
        entry.token_expires_at = session.token_expires_at
        if rules is inquiry.rules:
            return decision
        # The rules changed while Gigya was asked: both must allow what goes out.
        newer = self._decide(inquiry, rules.value)
        both = replace(newer, allowed=decision.allowed & newer.allowed)
        if not both.allowed:
            entry.decision, error = "deny", refusal(Missing.FIELD)
            entry.reason = error.reason
            raise error
        return both

    def _decide(self, inquiry: "_Inquiry", policy: Policy) -> Decision:
        entry, proof = inquiry.entry, inquiry.request.uid_signature
        is_proved = proof is not None and self._is_proved(inquiry, proof)
        decision = self._decided_by(
            policy, (inquiry.caller, inquiry.site, inquiry.row.name, inquiry.fields, is_proved)
        )
        entry.rule, entry.reason = decision.rule, decision.reason
        if decision.missing:
            entry.decision = "deny"
            raise refusal(decision.missing)
        entry.decision = "allow"
        return decision

    def _is_proved(self, inquiry: "_Inquiry", proof: UidSignature) -> bool:
        site, uid = self._sites.get(inquiry.site), inquiry.request.uid
        return site is not None and site.user_proofs.vouches(uid, proof, now=self._clock.wall())

    def _release(self, inquiry: "_Inquiry", decision: Decision, session: Session) -> Release:
        request, asked, now = inquiry.request, inquiry.fields, self._clock.wall()
        tokens = provider_tokens(
            inquiry.row,
            session,
            allowed=decision.allowed,
            now=now,
            naming=self._sites[inquiry.site].naming,
            min_ttl=request.min_ttl,
            asked=None if asked is None else frozenset(asked),
        )
        inquiry.entry.would_deny = decision.would_deny(tokens.released)
        is_told = request.verify_provider_uid and tokens.provider_uid is not None
        verified = session.provider_uid_verified if is_told else None
        age = max(0, int(now - session.fetched_at))
        return Release(inquiry.site, inquiry.row, tokens, verified, age, session)


@value(kw_only=False, eq=False)
class _Inquiry:
    """A request whose names are resolved; ``rules`` are those by which they are.

    What becomes known on the way is noted in ``entry``.
    """

    caller: CallerName
    request: TokenRequest
    rules: Snapshot[Policy]
    site: SiteName
    row: Row
    fields: tuple[Field, ...] | None
    entry: Entry
