"""The use case: policy, then the session, then the tokens that this caller may have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

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
from service.providers import Catalogue, Naming, Row, provider_tokens, require_life
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
    """All that one answer holds, still sealed, as it is ``at`` (UNIX seconds)."""

    site: SiteName
    row: Row
    provider_tokens: ProviderTokens
    provider_uid_verified: bool | None
    at: float
    session: Session


NOTHING: Final = Decision()
"""Before anything is decided, nothing is allowed."""


@dataclass(slots=True, eq=False)
class Inquiry:
    """What a caller asks for: its names as ``rules`` resolve them, and their ``decision``.

    What becomes known on the way is noted in ``entry``. ``fields`` are ``None`` where all that is
    granted is asked for. ``max_age`` is how many seconds ago Gigya may have been asked, ``None``
    for as many as are configured.
    """

    caller: CallerName
    request: TokenRequest
    entry: Entry
    rules: Snapshot[Policy]
    site: SiteName
    row: Row
    fields: tuple[Field, ...] | None
    query: SessionQuery
    max_age: int | None
    decision: Decision = NOTHING


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

    def inquiry(self, caller: Caller, request: TokenRequest, entry: Entry) -> Inquiry:
        """Return what ``caller`` asks for with ``request``, with what is decided of it.

        Raises a ``ServiceError`` where it may have nothing. What it may have is ``at_hand``, or
        else has to be ``fetched``.
        """
        rules = self._policy.snapshot
        site, row, fields = self._names.of(rules.value, caller.name, request)
        entry.provider, entry.asked = row.name or None, fields or ()
        if site in self._sites:  # never what a caller made up
            entry.site = site
        query = SessionQuery(site, row.name, request.uid, request.cid, request.verify_provider_uid)
        inquiry = Inquiry(
            caller.name, request, entry, rules, site, row, fields, query, request.max_age
        )
        inquiry.decision = self._decide(inquiry, rules.value)
        self._require_sinks()  # no session is opened that could not be released
        return inquiry

    def at_hand(self, inquiry: Inquiry) -> Release | None:
        """Return what may be had of a session that is kept, ``None`` where Gigya must be asked.

        Nothing is revealed here. Raises a ``ServiceError``.
        """
        session = self._sessions.kept(inquiry.query, max_age=inquiry.max_age)
        if session is None:
            return None
        try:
            return self._release(inquiry, session)
        except (TokenExpiring, ReauthenticationRequired):
            # What was kept lives too short for this request; what Gigya has now may live longer.
            inquiry.max_age = 0  # for ``fetched``
            return None

    async def fetched(self, inquiry: Inquiry, deadline: Deadline) -> Release:
        """Return what may be had of the session that Gigya has.

        Nothing is revealed here. Raises a ``ServiceError``.
        """
        session = await self._sessions.fetched(
            inquiry.query, max_age=inquiry.max_age, deadline=deadline
        )
        return self._release(inquiry, session)

    def _decide(self, inquiry: Inquiry, policy: Policy) -> Decision:
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

    def _is_proved(self, inquiry: Inquiry, proof: UidSignature) -> bool:
        site, uid = self._sites.get(inquiry.site), inquiry.request.uid
        return site is not None and site.user_proofs.vouches(uid, proof, now=self._clock.wall())

    def _release(self, inquiry: Inquiry, session: Session) -> Release:
        """Note which session came, and return what may be had of it now."""
        request, entry, now = inquiry.request, inquiry.entry, self._clock.wall()
        entry.exchange, entry.user = session.exchange, session.user
        entry.token_expires_at = session.token_expires_at
        decision, rules = inquiry.decision, self._policy.snapshot
        if rules is not inquiry.rules:  # they changed while Gigya was asked
            decision = self._still_allowed(inquiry, rules.value)
        tokens = provider_tokens(
            inquiry.row,
            session,
            allowed=decision.allowed,
            naming=self._sites[inquiry.site].naming,
            asked=inquiry.fields,
        )
        require_life(tokens, now=now, min_ttl=request.min_ttl)
        entry.would_deny = decision.would_deny(tokens.released)
        is_told = request.verify_provider_uid and tokens.provider_uid is not None
        verified = session.provider_uid_verified if is_told else None
        return Release(inquiry.site, inquiry.row, tokens, verified, now, session)

    def _still_allowed(self, inquiry: Inquiry, policy: Policy) -> Decision:
        """Return what is allowed by the rules of then and by ``policy``: both must allow it."""
        before, newer = inquiry.decision, self._decide(inquiry, policy)
        both = replace(newer, allowed=before.allowed & newer.allowed)
        if not both.allowed:
            entry = inquiry.entry
            entry.decision, error = "deny", refusal(Missing.FIELD)
            entry.reason = error.reason
            raise error
        return both
