"""One site's way to Gigya, whole, with the simulator behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from service.deadline import Clock, Deadline
from service.engine import Transport
from service.gigya.authentication import Bearer, Credentials
from service.gigya.client import Client
from service.gigya.client import Observers as ClientObservers
from service.gigya.cures import Cure
from service.gigya.keys import KeyRing, PartnerKey, RsaKey
from service.gigya.sealing import Sealing
from service.gigya.session_info import Observers as SessionObservers
from service.gigya.session_info import Opening, SessionInfo
from service.gigya.slots import Slots
from service.gigya.terms import METHOD, Terms
from service.gigya.troubles import Result
from service.live import Live
from service.model import ProviderName, Session, SessionQuery, SiteName, Uid
from service.outbound import Outbound
from service.resilience.retries import Backoff, Budget, Retries
from service.simulator.app import Simulator
from service.simulator.calls import Call
from service.simulator.seeds import EVERYTHING, Seeded, seeded
from tests.virtual_time import EPOCH, virtual_clock

ORIGIN = "https://socialize.us1.gigya.com"


@dataclass(kw_only=True, eq=False)
class Rig:
    """Everything, and what was observed; time is that of the running loop."""

    credentials: Credentials | None = None
    previous: Credentials | None = None
    terms: Terms = field(default_factory=Terms)
    keys: tuple[PartnerKey, ...] | None = None
    share: float = 0.1
    token_max_age: float = 3600.0
    transport: Transport | None = None
    origin: str = ORIGIN
    ahead: float = 0.0
    """Seconds by which the simulator's clock is ahead of ours."""

    seeded: Seeded = field(default_factory=lambda: seeded(now=EPOCH))
    clock: Clock = field(default_factory=virtual_clock)
    results: list[Result] = field(default_factory=list)
    cures: list[Cure] = field(default_factory=list)
    pins: list[str] = field(default_factory=list)
    slots_seen: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    openings: list[tuple[Opening, int | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        simulator_clock = self.clock.wall
        self.simulator = Simulator(self.seeded.world, clock=lambda: simulator_clock() + self.ahead)
        self.knobs = self.simulator.knobs
        self.slots = Live(
            Slots(
                current=self.credentials or self.bearer(),
                previous=self.previous,
                token_max_age=self.token_max_age,
            )
        )
        keys = self.keys if self.keys is not None else (self.partner_key,)
        self.ring = Live(KeyRing(keys, self.terms.sealing.padding))
        self.reach(self.transport or httpx.ASGITransport(app=self.simulator), self.origin)

    def reach(self, transport: Transport, origin: str) -> None:
        """Go to Gigya by another way."""
        self.transport, self.origin = transport, origin
        self.client = self._client(transport)
        nonces = count()
        self.session_info = SessionInfo(
            self.client,
            self.ring,
            self.terms,
            clock=self.clock,
            nonce=lambda: f"context-{next(nonces)}",
            observers=SessionObservers(
                ignored=self.ignored.append,
                opened=lambda opening, slot: self.openings.append((opening, slot)),
            ),
        )

    @property
    def partner_key(self) -> PartnerKey:
        """The site's partner secret."""
        return PartnerKey.from_base64(self.seeded.partner_secret)

    @property
    def calls(self) -> list[Call]:
        """What arrived, oldest first."""
        return list(self.simulator.calls.kept)

    @property
    def last(self) -> Mapping[str, str]:
        """The parameters of the newest call."""
        return self.simulator.calls.last.parameters

    def bearer(self) -> Bearer:
        """Return the credentials that the simulator takes."""
        key = RsaKey.from_pem(self.seeded.private_key_pem)
        return Bearer(user_key=self.seeded.user_key, key=key)

    def deadline(self, seconds: float = 10.0) -> Deadline:
        """Return a deadline so many seconds from now."""
        return Deadline.after(seconds, self.clock)

    def query(self, provider: str = "twitter", uid: str = EVERYTHING, **more: Any) -> SessionQuery:
        """Return a query."""
        return SessionQuery(
            site=SiteName("shop"), provider=ProviderName(provider), uid=Uid(uid), **more
        )

    async def session(
        self, provider: str = "twitter", uid: str = EVERYTHING, **more: Any
    ) -> Session:
        """Ask for a session, with plenty of time."""
        return await self.session_info.session(self.query(provider, uid, **more), self.deadline())

    async def call(self, seconds: float = 10.0, **params: str) -> Any:
        """Call Gigya's method by itself, for the user who has everything."""
        params = {"UID": EVERYTHING, "provider": "twitter", **params}
        return await self.client.call(METHOD, params, self.deadline(seconds))

    def _client(self, transport: Transport) -> Client:
        nonces = count()
        return Client(
            Outbound(transport),
            self.slots,
            origin=self.origin,
            api_key=self.seeded.api_key,
            pauses=Retries(Backoff(), Budget(share=self.share), random=lambda: 0.5),
            clock=self.clock,
            nonce=lambda: f"nonce-{next(nonces)}",
            observers=ClientObservers(
                attempted=lambda result, _: self.results.append(result),
                authenticated=self.slots_seen.append,
                cured=self.cures.append,
                pinned=self.pins.append,
            ),
        )


def sealing(**more: Any) -> Terms:
    """Return terms with another way of sealing."""
    return Terms(sealing=Sealing(**more))
