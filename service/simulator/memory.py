"""What a Gigya remembers between calls: nonces, OAuth tokens, who is being served, how often."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.simulator.codes import Refusal


class Once:
    """Tokens that may be used once (nonce, ``jti``), each kept for as long as it could return.

    They are let go in the order of arrival: some a little late, none before its end.
    """

    def __init__(self) -> None:
        self._used: set[tuple[str, str]] = set()
        self._ends: deque[tuple[float, tuple[str, str]]] = deque()

    def use(self, owner: str, token: str, *, now: float, until: float) -> None:
        """Spend ``token``; a second time is 403004."""
        while self._ends and self._ends[0][0] < now:
            self._used.discard(self._ends.popleft()[1])
        if (owner, token) in self._used:
            raise Refusal(403004, "The nonce was already used")
        self._used.add((owner, token))
        self._ends.append((until, (owner, token)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What an OAuth 2 access token stands for; ``uid`` where it is bound to one user."""

    api_key: str
    uid: str | None = None
    expires_at: float | None = None


class AccessTokens:
    """The OAuth 2 access tokens given out."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}

    def give(self, token: str, grant: Grant) -> None:
        """Note that ``token`` stands for ``grant``."""
        self._grants[token] = grant

    def owner(self, token: str | None) -> str | None:
        """Return the API key that ``token`` was given for, if it was given."""
        grant = self._grants.get(token or "")
        return grant.api_key if grant else None

    def redeem(self, token: str, now: float) -> Grant:
        """Return what ``token`` stands for; unknown, expired or revoked is 403025."""
        grant = self._grants.get(token)
        if grant is None or (grant.expires_at is not None and grant.expires_at <= now):
            raise Refusal(403025, "The access token is invalid or has expired")
        return grant

    def revoke_all(self) -> None:
        """Forget every token, as when the site's secret was changed."""
        self._grants.clear()


@dataclass(slots=True)
class Meter:
    """Calls in the present second, for each API key."""

    second: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def count(self, api_key: str, *, now: float, most: int | None) -> None:
        """Count one call; above ``most`` in one second it is 403048."""
        if self.second != int(now):
            self.second, self.counts = int(now), Counter()
        self.counts[api_key] += 1
        if most is not None and self.counts[api_key] > most:
            raise Refusal(403048, "API rate limit exceeded")


class InFlight:
    """How many calls are being served, by API key and UID."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str | None, str | None]] = Counter()
        self.most = 0

    @contextmanager
    def serving(self, api_key: str | None, uid: str | None) -> Iterator[Callable[[], int]]:
        """Count a call in, and out again however it ends; yields the present count."""
        key = (api_key, uid)
        self.counts[key] += 1
        self.most = max(self.most, self.counts[key])
        try:
            yield lambda: self.counts[key]
        finally:
            self.counts[key] -= 1
            if not self.counts[key]:
                del self.counts[key]
