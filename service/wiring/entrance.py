"""Who is calling: floods first, then what the request presents, then the caller's name."""

from collections.abc import Callable, Sequence

from starlette.types import Scope

from service.api.recording import ENTRY
from service.audit.record import Entry
from service.callers.credentials import Presented
from service.callers.table import Method, identify
from service.deadline import Deadline
from service.errors import AuthenticationUnavailable, RateLimited, Unauthenticated
from service.floods import Floods
from service.live import Live
from service.metrics import NOBODY
from service.model import PEER_CERTIFICATE, Caller
from service.policy import Policy

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
        self._admit(entry)
        try:
            caller = await identify(self._methods, _presented(scope), self._policy.value, deadline)
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

    def _admit(self, entry: Entry) -> None:
        try:
            self._floods.admit(entry.peer)
        except RateLimited:
            entry.is_counted = True
            raise


def _presented(scope: Scope) -> Presented:
    given = tuple(value for name, value in scope["headers"] if name == b"authorization")
    return Presented(authorization=given, certificate=scope.get(PEER_CERTIFICATE))
