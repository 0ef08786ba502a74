"""Callers that prove themselves with a token that was made for them and is known by digest."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from service.callers.credentials import Credentials, Proof
from service.callers.refusals import Refusal
from service.deadline import Clock, Deadline
from service.errors import Unauthenticated
from service.model import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One token: whose it is, its SHA-256 (32 octets), and when it ends."""

    subject: str
    sha256: bytes = field(repr=False)
    expires: datetime


class Static:
    """Knows bearer tokens by their digest."""

    def __init__(self, *, name: str, rows: Iterable[Row], clock: Clock) -> None:
        self.name = name
        self._rows = tuple(rows)
        self._clock = clock

    def authenticate(self, credentials: Credentials, deadline: Deadline) -> Proof | None:
        """Prove the row whose digest matches; raises ``Unauthenticated`` once it has expired."""
        del deadline
        if credentials.bearer is None:
            return None
        credentials.bearer.require_token68()
        row = self._match(credentials.bearer.digest)
        if row is None:
            return None
        if self._clock.wall() >= row.expires.timestamp():
            raise Unauthenticated(Refusal.EXPIRED)
        identity = Identity(via=self.name, subject=row.subject)
        return Proof(identity=identity, expires_at=row.expires.astimezone(UTC))

    def _match(self, digest: bytes) -> Row | None:
        found = None
        for row in self._rows:  # all of them, so that time tells nothing about which
            if hmac.compare_digest(row.sha256, digest):
                found = row
        return found
