"""Who is calling: floods first, then what the request presents, then the caller's name."""

from collections.abc import Callable, Sequence
from typing import Final

from starlette.types import Scope

from service.api.headers import AUTHORIZATION, HEADERS
from service.api.recording import ENTRY
from service.audit.journal import Journal
from service.audit.record import Entry
from service.callers.credentials import read
from service.callers.table import Method, identify
from service.deadline import Deadline
from service.errors import AuthenticationUnavailable, RateLimited, Unauthenticated
from service.floods import Floods, peer_of
from service.handshake import NOBODY_CAME
from service.limits import Bucket, Rate
from service.live import Live
from service.metrics import NOBODY
from service.model import PEER_CERTIFICATE, PEER_DISTRUSTED, Caller, CallerName
from service.policy import Policy
from service.reception import Refusal

GOOD, BAD, UNKNOWN = "ok", "refused", "unavailable"


class Entrance:
    """Identifies the caller of a request of the API port."""

    def __init__(
        self,
        methods: Sequence[Method],
        *,
        policy: Live[Policy],
        floods: Floods,
        judged: Callable[[str, str], None],
    ) -> None:
        self._methods = methods
        self._policy = policy
        self._floods = floods
        self._judged = judged

    async def identify(self, scope: Scope, deadline: Deadline) -> Caller:
        """Return the caller; raises ``Unauthenticated``, ``RateLimited`` and their like."""
        entry: Entry = scope[ENTRY]
        try:
            self._floods.admit(entry.peer)
            credentials = read(
                scope[HEADERS].get(AUTHORIZATION, ()),
                scope.get(PEER_CERTIFICATE),
                is_distrusted=scope.get(PEER_DISTRUSTED, False),
                peer=peer_of(entry.peer),
            )
            caller = await identify(self._methods, credentials, self._policy.value, deadline)
        except RateLimited:
            entry.is_counted = True
            raise
        except Unauthenticated as error:
            entry.identity = error.identity
            entry.is_counted = not self._floods.failed(entry.peer)
            self._judged(error.identity.via if error.identity else NOBODY, BAD)
            raise
        except AuthenticationUnavailable:
            self._judged(NOBODY, UNKNOWN)
            raise
        self._judged(caller.identity.via, GOOD)
        return caller


JUDGED: Final = frozenset({Unauthenticated.code, RateLimited.code})
"""Outcomes that ``Entrance`` has counted."""


OVER_LIMITS: Final = Rate(rate=5.0, burst=20.0)
"""Records of their own, for each caller, of its requests that are over its limits."""


class Threshold:
    """What comes of nobody that is known: recorded one by one, and only counted in a flood.

    ``floods`` are not those of ``Entrance``: whoever shares an address with a bad certificate or
    a scanner is not kept out for it.
    """

    def __init__(
        self, journal: Journal, *, floods: Floods, observe: Callable[[Refusal], None]
    ) -> None:
        self._journal = journal
        self._floods = floods
        self._observe = observe
        self._buckets: dict[CallerName, Bucket] = {}

    def is_flood(self, entry: Entry) -> bool:
        """Count what was refused early; whether it is one too many for a record of its own.

        Of a caller over its limits ``OVER_LIMITS`` are recorded; the others have no caller.
        """
        if entry.caller is not None:
            bucket = self._buckets.setdefault(entry.caller.name, Bucket())
            return bucket.take(OVER_LIMITS, entry.started) > 0.0
        return entry.outcome not in JUDGED and not self._floods.failed(entry.peer)

    def refused(self, refusal: Refusal) -> None:
        """Observe a connection that never became a request; record it if its TLS was refused."""
        self._observe(refusal)
        # Where nothing was shown, there is nothing to record: it is counted as every other.
        if refusal.kind == "tls-refused" and refusal.reason not in NOBODY_CAME:
            is_counted = not self._floods.failed(refusal.peer)
            self._journal.tls_refused(refusal.peer, refusal.reason, is_counted=is_counted)
