"""A site of the configuration to what calls its Gigya."""

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from service.broker import Site as BrokerSite
from service.catalogue import Catalogue
from service.gigya.authentication import (
    Bearer,
    Credentials,
    OAuth2,
    PartnerSecret,
    Signed,
    UserKey,
    UserKeySigned,
)
from service.gigya.cipher import Padding
from service.gigya.client import Client
from service.gigya.client import Observers as ClientObservers
from service.gigya.keys import WHITE_SPACE, HmacKey, KeyRing, PartnerKey, RsaKey
from service.gigya.sealing import Mode, Scope, Sealing
from service.gigya.session_info import OTHER, SessionInfo
from service.gigya.session_info import Observers as SessionObservers
from service.gigya.signature import BaseString, proves_user
from service.gigya.sites import DATA_CENTERS, origin, simulator_origin
from service.gigya.slots import Slots
from service.gigya.terms import Terms, sendable
from service.live import Live
from service.model import Uid, UidSignature
from service.outbound import Outbound
from service.providers import Naming
from service.proxy_credentials import BadProxyCredentials, ProxyCredentials
from service.resilience.admission import Admission
from service.resilience.breaker import Breaker
from service.resilience.breaker import Limits as BreakerLimits
from service.resilience.retries import Backoff, Budget, Retries
from service.secret import Secret
from service.sessions import SiteSource
from service.settings import credentials as rows
from service.settings.schema import Settings
from service.settings.sites import Site
from service.settings.upstream import Upstream
from service.watch import Change, Outcome, Source, Watched, each_of
from service.wiring.observers import SiteObserver
from service.wiring.traced import Traces
from service.wiring.trust import trust
from service.wiring.world import Peer, World


@dataclass(frozen=True, slots=True, kw_only=True)
class WiredSite:
    """What one site needs at work; ``aclose`` ends what goes on beside its requests."""

    broker: BrokerSite
    source: SiteSource
    session_info: SessionInfo
    watched: Sequence[Watched[Any]]
    aclose: Callable[[], Awaitable[None]]


def wire_site(
    name: str,
    settings: Settings,
    catalogue: Catalogue,
    *,
    world: World,
    observed: SiteObserver,
    changed: Callable[[Change], None],
    traces: Traces,
) -> WiredSite:
    """Return the site called ``name``; raises ``FileFault`` where its files cannot be used."""
    site, upstream = settings.sites[name], settings.upstream
    terms = terms_of(site)

    def replaced(change: Change) -> None:
        if change.outcome is Outcome.REPLACED:
            source.breaker.renew()
        changed(change)

    rings = Watched.open(_ring(name, site, world), replaced)
    slots = Watched.open(_slots(name, site, world), replaced)
    observed.slots(len(site.partner_secret_files))
    observed.sends((*sendable(terms.sealing), OTHER))
    observed.keys(rings.name, lambda: len(rings.live.value))
    observed.keys(slots.name, lambda: 1 if slots.live.value.previous is None else 2)
    trusts = trust(f"site:{name}", _ca_file(site, upstream), world=world, changed=changed)
    proved = _proxy(name, site, upstream, world, changed)
    peer = _peer(
        site,
        upstream,
        trusts[0].live if trusts else None,
        proved[0].live if proved else None,
    )
    door = Outbound(world.dial(peer), cap=upstream.response_cap, connect=upstream.connect)
    outbound = traces.outbound(door, name)
    client = _client(site, outbound, slots.live, upstream, world, observed)
    session_info = SessionInfo(
        client,
        rings.live,
        terms,
        clock=world.clock,
        nonce=world.nonce,
        observers=SessionObservers(ignored=observed.ignored, opened=observed.opened),
        unseal=traces.unseal(),
    )

    source = _protected(session_info, upstream, rings.live, slots.live, world, observed)

    async def aclose() -> None:
        await client.aclose()
        await outbound.aclose()

    return WiredSite(
        broker=BrokerSite(
            catalogue=catalogue,
            naming=Naming(site.naming),
            user_proofs=UserProofs(rings.live, window=site.user_proof_window),
        ),
        source=source,
        session_info=session_info,
        watched=(rings, slots, *trusts, *proved),
        aclose=aclose,
    )


@dataclass(frozen=True, slots=True)
class UserProofs:
    """Knows Gigya's signature of a UID by the site's partner secrets; ``window`` is seconds."""

    rings: Live[KeyRing]
    window: float

    def vouches(self, uid: Uid, proof: UidSignature, *, now: float) -> bool:
        """Whether ``proof`` is Gigya's, fresh, and of this UID."""
        return proves_user(proof, uid, self.rings.value, now=now, window=self.window)


def terms_of(site: Site) -> Terms:
    """Return how the site asks for session info and reads it."""
    return Terms(
        sealing=Sealing(
            mode=Mode(site.encryption.mode),
            scope=Scope(site.encryption.scope),
            padding=Padding(site.encryption.padding),
        ),
        relative_expiries=site.expiries.relative,
        zone=_zone(site.expiries.time_zone),
        base_string=BaseString(site.provider_uid_signature.base_string),
        window=site.provider_uid_signature.window,
    )


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)  # which needs no data of the system's


def _ring(name: str, site: Site, world: World) -> Source[KeyRing]:
    padding = Padding(site.encryption.padding)

    def parse(contents: Sequence[bytes]) -> KeyRing:
        return KeyRing(each_of(contents, lambda text: PartnerKey.from_base64(_text(text))), padding)

    return Source(
        name=f"partner-secrets:{name}",
        paths=[Path(file) for file in site.partner_secret_files],
        parse=parse,
        told=(ValueError,),
        read=world.read,
    )


def _slots(name: str, site: Site, world: World) -> Source[Slots]:
    ways = [way for way in (site.authentication.current, site.authentication.previous) if way]

    def parse(contents: Sequence[bytes]) -> Slots:
        left = iter(ways)

        def make(octets: bytes) -> Credentials:
            way = next(left)
            return WAYS[type(way)](way, octets)

        current, *previous = each_of(contents, make)
        ages = [way.max_age for way in ways if isinstance(way, rows.OAuth2)]
        return Slots(
            current=current,
            previous=previous[0] if previous else None,
            token_max_age=min(ages, default=3600.0),
        )

    return Source(
        name=f"credentials:{name}",
        paths=[Path(_file(way)) for way in ways],
        parse=parse,
        told=(ValueError,),
        read=world.read,
    )


def _file(way: rows.Credentials) -> str:
    return way.key_file if isinstance(way, rows.Bearer) else way.secret_file


def _text(octets: bytes) -> str:
    return octets.decode("ascii", "replace")


def _secret(octets: bytes) -> Secret[str]:
    HmacKey.from_base64(_text(octets))  # it is sent as it is, but must be what Gigya gives out
    return Secret(_text(octets).strip(WHITE_SPACE))


WAYS: Final[Mapping[type, Callable[[Any, bytes], Credentials]]] = {
    rows.Bearer: lambda way, pem: Bearer(user_key=way.user_key, key=RsaKey.from_pem(pem)),
    rows.UserKey: lambda way, text: UserKey(user_key=way.user_key, secret=_secret(text)),
    rows.UserKeySigned: lambda way, text: UserKeySigned(
        user_key=way.user_key, key=HmacKey.from_base64(_text(text))
    ),
    rows.Signed: lambda _, text: Signed(key=PartnerKey.from_base64(_text(text))),
    rows.PartnerSecret: lambda _, text: PartnerSecret(secret=_secret(text)),
    rows.OAuth2: lambda way, text: OAuth2(user_key=way.user_key, secret=_secret(text)),
}
"""Row of the configuration -> credentials, from the octets of its file."""


def _ca_file(site: Site, upstream: Upstream) -> str | None:
    return upstream.ca_file if site.simulator is None else site.simulator.ca_file


def _proxy(
    name: str, site: Site, upstream: Upstream, world: World, changed: Callable[[Change], None]
) -> list[Watched[ProxyCredentials]]:
    """Return the one file that proves us to the proxy of a site of Gigya's, or nothing."""

    def parse(contents: Sequence[bytes]) -> ProxyCredentials:
        return ProxyCredentials.from_file(contents[0])

    file = upstream.proxy_credentials_file
    if file is None or site.simulator is not None:
        return []
    source = Source(
        name=f"proxy-credentials:{name}",
        paths=[Path(file)],
        parse=parse,
        told=(BadProxyCredentials,),
        read=world.read,
    )
    return [Watched.open(source, changed)]


def _peer(
    site: Site,
    upstream: Upstream,
    trusted: Live[ssl.SSLContext] | None,
    proved: Live[ProxyCredentials] | None,
) -> Peer:
    return Peer(
        trust=trusted,
        proxy_url=upstream.proxy_url if site.simulator is None else None,
        proxy_credentials=proved,
        connections=upstream.concurrency,
    )


def _origin(site: Site) -> str:
    if site.simulator is not None:
        return simulator_origin(site.simulator.url)
    return origin(DATA_CENTERS[site.data_center or ""])


def _client(
    site: Site,
    outbound: Outbound,
    slots: Live[Slots],
    upstream: Upstream,
    world: World,
    observed: SiteObserver,
) -> Client:
    return Client(
        outbound,
        slots,
        origin=_origin(site),
        api_key=site.api_key,
        pauses=Retries(
            Backoff(attempts=upstream.attempts),
            Budget(share=upstream.retry_budget),
            random=world.fraction,
            observe=observed.retried,
        ),
        clock=world.clock,
        nonce=world.nonce,
        observers=ClientObservers(
            attempted=observed.attempted,
            authenticated=observed.authenticated,
            cured=observed.cured,
            pinned=observed.pinned,
        ),
    )


def _protected(
    source: SessionInfo,
    upstream: Upstream,
    rings: Live[KeyRing],
    slots: Live[Slots],
    world: World,
    observed: SiteObserver,
) -> SiteSource:
    admission = Admission(
        concurrency=upstream.concurrency,
        per_uid=upstream.per_uid,
        queue=upstream.queue,
        observe=observed.shed,
    )
    breaker = Breaker(
        BreakerLimits(
            failures=upstream.breaker.failures,
            window=upstream.breaker.window,
            cool_down=upstream.breaker.cool_down,
        ),
        monotonic=world.clock.monotonic,
        observe=observed.breaker,
    )
    observed.watch(admission, breaker)
    return SiteSource(
        source=source,
        breaker=breaker,
        admission=admission,
        generations=lambda: (rings.generation, slots.generation),
    )
