"""A session from Gigya: what is asked, whether the answer is ours, and what it holds, opened.

Source: socialize.getSessionInfo; facts.md §1, §2 and §4.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from service.deadline import Clock, Deadline
from service.errors import ServiceError, Undecryptable, UpstreamInvalid, UpstreamRejected
from service.gigya.cipher import Unopened
from service.gigya.expiries import UnreadableExpiry, expiry_in
from service.gigya.keys import KeyRing, Vouching
from service.gigya.replies import Reply, failure
from service.gigya.sealing import CameBackPlain, Sealing, unsealed
from service.gigya.signature import ProviderUidSignature
from service.gigya.terms import METHOD, Fields, Terms, provider_uid_signature, vouching, wire_params
from service.live import Live
from service.model import Exchange, Session, SessionQuery
from service.secret import Secret

OTHER: Final = "other"
"""How a parameter is counted that Gigya says it ignored and that we never sent."""


class Opening(StrEnum):
    """What became of sealed fields; a closed set."""

    OPENED = "opened"
    UNOPENED = "unopened"
    PLAIN_REFUSED = "plain_refused"


class Calls(Protocol):
    """Who calls Gigya (``client.Client``)."""

    @property
    def clock_offset(self) -> float:
        """Seconds by which Gigya's clock is ahead of ours."""

    async def call(
        self, method: str, params: Mapping[str, str], deadline: Deadline
    ) -> tuple[Reply, Exchange]:
        """Return a reply whose code is 0, and what the call took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observers:
    """Who watches: each parameter that Gigya ignored, each opening with its key's slot."""

    ignored: Callable[[str], None] = lambda _: None
    opened: Callable[[Opening, int | None], None] = lambda _, __: None


Unseal = Callable[
    [Reply, Sealing, KeyRing, Vouching | None], tuple[Mapping[str, Secret[str]], int | None]
]


class SessionInfo:
    """The sessions of one site. ``nonce`` gives a text that was never given before."""

    def __init__(
        self,
        calls: Calls,
        keys: Live[KeyRing],
        terms: Terms,
        *,
        clock: Clock,
        nonce: Callable[[], str],
        observers: Observers | None = None,
        unseal: Unseal = unsealed,
    ) -> None:
        self._unseal = unseal
        self._calls = calls
        self._keys = keys
        self._terms = terms
        self._clock = clock
        self._nonce = nonce
        self._observers = observers or Observers()

    async def session(self, query: SessionQuery, deadline: Deadline) -> Session:
        """Return the session, decrypted; raises a ``ServiceError`` with its ``exchange``."""
        ring, context = self._keys.value, self._nonce()
        params = wire_params(query, self._terms.sealing, ring, context=context)
        reply, exchange = await self._calls.call(METHOD, params, deadline)
        for name in reply.ignored:
            self._observers.ignored(name if name in params else OTHER)
        # A reply does not name its request: an echo of another's context is another's session.
        if reply.context and reply.context != context:
            raise _foreign(exchange)
        fields, exchange = self._opened(reply, query, ring, exchange)
        if "authToken" not in fields:
            raise failure(reply, exchange)
        _check_texts(fields, exchange)
        return self._session(query, fields, ring, exchange)

    def _opened(
        self, reply: Reply, query: SessionQuery, ring: KeyRing, exchange: Exchange
    ) -> tuple[Fields, Exchange]:
        problem: ServiceError
        is_vouched: Vouching | None = None
        if "providerUIDSig" in reply.fields:
            is_vouched = vouching(reply.fields, self._signature(reply.fields, query))
        try:
            fields, slot = self._unseal(reply, self._terms.sealing, ring, is_vouched)
        except CameBackPlain:
            opening, problem = Opening.PLAIN_REFUSED, self._plain(exchange)
        except Unopened:
            opening, problem = Opening.UNOPENED, _unopened(exchange)
        else:
            if slot is None:
                return fields, exchange
            self._observers.opened(Opening.OPENED, slot)
            return fields, exchange.opened_by(slot)
        self._observers.opened(opening, None)
        raise problem

    def _plain(self, exchange: Exchange) -> ServiceError:
        return UpstreamRejected(
            f"Gigya was asked to encrypt ({self._terms.sealing.switch}=true) and did not. "
            "The site's encryption.mode decides whether that is accepted.",
            reason="came-back-plain",
            exchange=exchange,
        )

    def _session(
        self, query: SessionQuery, fields: Fields, ring: KeyRing, exchange: Exchange
    ) -> Session:
        token_expires_at, session_expires_at = self._expiries(fields, exchange)
        return Session(
            self._clock.wall() if exchange.asked_at is None else exchange.asked_at,
            exchange,
            fields["authToken"],
            fields.get("tokenSecret"),
            token_expires_at,
            fields.get("sessionHandle"),
            session_expires_at,
            fields.get("providerUID"),
            self._is_verified(query, fields, ring) if query.sign_ids else None,
            Secret(query.uid),
        )

    def _expiries(self, fields: Fields, exchange: Exchange) -> list[datetime | None]:
        terms, now = self._terms, self._clock.wall()
        try:
            return [
                expiry_in(fields, name, relative=terms.relative_expiries, zone=terms.zone, now=now)
                for name in ("tokenExpiration", "sessionExpiration")
            ]
        except UnreadableExpiry:
            detail = "An expiry in Gigya's reply is in a form that is not known."
            problem = UpstreamInvalid(detail, reason="unreadable-expiry", exchange=exchange)
        raise problem

    def _is_verified(self, query: SessionQuery, fields: Fields, ring: KeyRing) -> bool:
        signature = self._signature(fields, query)
        if signature is None or "providerUID" not in fields:
            return False
        now = self._clock.wall() + self._calls.clock_offset
        return signature.proves(fields["providerUID"], ring, now=now, window=self._terms.window)

    def _signature(self, fields: Fields, query: SessionQuery) -> ProviderUidSignature | None:
        return provider_uid_signature(fields, query.provider, self._terms.base_string)


def _check_texts(fields: Fields, exchange: Exchange) -> None:
    # A caller puts a token into a header: a line break in it would be another header.
    if _CONTROL.search(
        # No text is a variable of this function, whose frame hangs on the error.
        "".join([fields[name].reveal() for name in RELEASED_TEXTS if name in fields])
    ):
        raise UpstreamInvalid(
            "A value in Gigya's reply holds control characters.",
            reason="control-characters",
            exchange=exchange,
        )


RELEASED_TEXTS: Final = ("authToken", "tokenSecret", "sessionHandle", "providerUID")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def _foreign(exchange: Exchange) -> ServiceError:
    return UpstreamInvalid(
        "Gigya answered another request than this one.",
        reason="foreign-context",
        exchange=exchange,
    )


def _unopened(exchange: Exchange) -> ServiceError:
    return Undecryptable(
        "No partner secret of the site opens what Gigya sealed.", exchange=exchange
    )
