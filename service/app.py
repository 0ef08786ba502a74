"""The composition root: settings and a world in, an application out."""

import asyncio
import math
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from starlette.types import ASGIApp

from service.api.answers import Endpoint
from service.api.health import management
from service.api.openapi import document
from service.api.recording import Opens, Recording
from service.api.routes import Api, Identify
from service.audit.exported import number
from service.audit.journal import Journal
from service.broker import Broker
from service.callers.key_sets import KeySet
from service.catalogue import BASE, describe_catalogue, describe_site
from service.deadline import Deadline
from service.floods import Floods
from service.limits import Rate
from service.live import Live
from service.logs import Log
from service.metrics import CONTENT_TYPE, Metrics
from service.model import Caller, Field, ProviderName, SiteName
from service.policy import Policy, describe_grant
from service.reception import Refusal, TurnAway
from service.resilience.cache import EVENTS as CACHE_EVENTS
from service.resilience.cache import Bounds, Cache
from service.resilience.flights import EVENTS as FLIGHT_EVENTS
from service.resilience.flights import Flights
from service.rulebook import catalogues_of
from service.sessions import Caching, Key, Place, Sessions, octets_of
from service.settings.schema import Settings
from service.settings.upstream import Allowance
from service.tls import TlsFault, leaf_not_after
from service.tls import parse as tls_context
from service.tracing import Tracer
from service.watch import Change, FileFault, Source, Watched, Watcher
from service.wiring.audit import journal, keyring
from service.wiring.callers import EVENTS, wire_callers
from service.wiring.callers import Wired as WiredCallers
from service.wiring.entrance import Entrance, Threshold
from service.wiring.following import Followers
from service.wiring.lifecycle import Lifecycle
from service.wiring.observers import (
    AuditObserver,
    CallerObserver,
    RequestObserver,
    SiteObserver,
)
from service.wiring.reloading import Rules, configuration
from service.wiring.shedding import Shedding
from service.wiring.sites import WiredSite, wire_site
from service.wiring.traced import Traces
from service.wiring.world import World

DISTRIBUTION: Final = "gigya-credential-proxy"
WARM_UP: Final = 5.0
"""Seconds that readiness waits for issuers' first keys, and no longer."""
SWEEP_INTERVAL: Final = 5.0
"""Seconds between two looks for sessions in the cache that are over."""
LAG_INTERVAL: Final = 1.0
"""Seconds between two looks at the event loop's lag."""

Changed = Callable[[Change], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What a server runs: both applications, the API's TLS, and the life of what is behind them."""

    api: ASGIApp
    management: ASGIApp
    tls: Live[ssl.SSLContext] | None
    lifecycle: Lifecycle
    journal: Journal
    metrics: Metrics
    reload: Callable[[], None]
    refused: Callable[[Refusal], None]
    turn_away: TurnAway

    async def start(self) -> None:
        """Open the audit and begin what runs beside requests."""
        await self.journal.start()
        self.lifecycle.start()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What everything else is made with."""

    settings: Settings
    world: World
    log: Log
    metrics: Metrics
    tracer: Tracer | None = None


def build(parts: Parts, *, config_file: Path) -> Application:
    """Return the application, not started; to be called inside its event loop.

    Raises ``FileFault`` where a file cannot be used.
    """
    settings, world, metrics = parts.settings, parts.world, parts.metrics
    rules, cache = Rules(settings, world=world), _cache(parts)
    fingerprint = Live(settings.fingerprint())
    followers = Followers(
        rules,
        cache,
        fingerprint,
        metrics=metrics,
        log=parts.log,
        wall=world.clock.wall,
        build=version(DISTRIBUTION),
    )
    config = configuration(config_file, settings, world=world, changed=followers.changed)
    followers.begin(config.live)
    keys = keyring(settings.audit, world=world, changed=followers.changed)
    failed, nobodys = _floods(parts), _floods(parts)
    book = journal(
        settings.audit,
        keys,
        world=world,
        observer=AuditObserver(metrics, parts.log, sinks=[s.name for s in settings.audit.sinks]),
        build=version(DISTRIBUTION),
        config_hash=fingerprint,
        flooding=lambda: (*failed.drain(), *nobodys.drain()),
    )
    seen = CallerObserver(
        metrics,
        parts.log,
        ways={way.name: EVENTS[type(way)] for way in settings.authentication},
        tls=settings.listeners.api.tls is not None,
        monotonic=world.clock.monotonic,
    )
    callers = wire_callers(settings, world=world, observe=seen.happened, changed=followers.changed)
    traces = Traces(parts.tracer)
    sites = _sites(parts, followers.changed, traces)
    tls = _tls(parts, followers.changed)
    watched: list[Watched[Any]] = [config, keys]
    watched += [*callers.watched, *_watched(sites), *([tls] if tls else [])]
    for each in watched:
        followers.began(each.name)
    watcher = Watcher(watched)
    lifecycle = _lifecycle(parts, callers, sites, watcher, book)
    if cache is not None:
        lifecycle.run_beside(partial(_sweep, cache))
    entrance = Entrance(
        tuple(callers.methods), policy=rules.policy, floods=failed, judged=seen.judged
    )
    threshold = Threshold(book, floods=nobodys, observe=seen.refused)
    identify = traces.identify(entrance.identify)
    sessions = _sessions(parts, sites, rules, cache)
    api = _api(parts, rules, sites, identify, sessions, traces, book)
    lifecycle.close(traces.aclose)
    return Application(
        turn_away=Shedding(book, metrics, octets=world.octets),
        api=traces.requests(
            _recorded(parts, rules, api, traces.journal(book), lifecycle, threshold)
        ),
        management=management(
            readiness=lifecycle.readiness, exposition=metrics.exposition, content_type=CONTENT_TYPE
        ),
        tls=tls.live if tls else None,
        lifecycle=lifecycle,
        journal=book,
        metrics=metrics,
        reload=partial(_reload, watcher, book, parts.log),
        refused=threshold.refused,
    )


class _Tables:
    """What the two tables of the API show."""

    def __init__(self, policy: Live[Policy], sites: Mapping[SiteName, WiredSite]) -> None:
        self._policy = policy
        self._sites = {
            name: describe_site(site.broker.catalogue, site.broker.naming)
            for name, site in sites.items()
        }

    def providers(self, caller: Caller) -> Any:
        """Return the mapping table, and what the sites that ``caller`` reaches make of it."""
        reached = self._policy.value.sites_of(caller.name)
        sites = {name: shown for name, shown in self._sites.items() if name in reached}
        return {**describe_catalogue(BASE), "sites": sites}

    def grants(self, caller: Caller) -> Any:
        """Return what ``caller`` may ask for."""
        granted = self._policy.value.grants_of(caller.name)
        return {"caller": caller.name, "grants": [describe_grant(grant) for grant in granted]}


def _sites(parts: Parts, changed: Changed, traces: Traces) -> Mapping[SiteName, WiredSite]:
    catalogues = catalogues_of(parts.settings)
    return {
        SiteName(name): wire_site(
            name,
            parts.settings,
            catalogues[SiteName(name)],
            world=parts.world,
            observed=SiteObserver(parts.metrics, parts.log, name),
            changed=changed,
            traces=traces,
        )
        for name in parts.settings.sites
    }


def _watched(sites: Mapping[SiteName, WiredSite]) -> list[Watched[Any]]:
    return [watched for site in sites.values() for watched in site.watched]


def _tls(parts: Parts, changed: Changed) -> Watched[ssl.SSLContext] | None:
    row, metrics = parts.settings.listeners.api.tls, parts.metrics
    if row is None:
        return None

    wall = parts.world.clock.wall
    used: list[float] = []

    def parse(contents: Sequence[bytes]) -> ssl.SSLContext:
        context, ends = tls_context(contents), leaf_not_after(contents[0])
        if used and ends <= wall():  # at the start there is nothing better
            raise FileFault("the certificate has expired", at=0)
        used.append(ends)
        metrics.set("certificate_expiry_timestamp_seconds", ends, "api")
        return context

    files = [row.certificate_file, row.key_file, row.client_ca_file]
    source = Source(
        name="tls",
        paths=[Path(file) for file in files if file is not None],
        parse=parse,
        told=(TlsFault,),
        read=parts.world.read,
    )
    return Watched.open(source, changed)


def _cache(parts: Parts) -> Cache[Place] | None:
    row, metrics = parts.settings.cache, parts.metrics
    if not row.enabled:
        return None
    cache: Cache[Place] = Cache(
        Bounds(ttl=row.ttl, margin=row.margin, entries=row.entries, octets=row.bytes),
        clock=parts.world.clock,
        weigh=octets_of,
    )
    for event in CACHE_EVENTS:
        metrics.read("cache_events", partial(cache.events.__getitem__, event), event)
    metrics.read("cache_entries", lambda: len(cache))
    metrics.read("cache_bytes", lambda: cache.octets)
    return cache


def _sessions(
    parts: Parts,
    sites: Mapping[SiteName, WiredSite],
    rules: Rules,
    cache: Cache[Place] | None,
) -> Sessions:
    clock, metrics = parts.world.clock, parts.metrics
    flights: Flights[Key, Any] = Flights(
        monotonic=clock.monotonic, observe=partial(metrics.count, "flights")
    )
    for event in FLIGHT_EVENTS:
        metrics.begin("flights", event)
    metrics.read("flights_under_way", lambda: len(flights))
    return Sessions(
        {name: site.source for name, site in sites.items()},
        flights=flights,
        clock=clock,
        seconds=parts.settings.upstream.deadline,
        caching=None if cache is None else _caching(cache, rules.policy),
    )


def _caching(cache: Cache[Place], policy: Live[Policy]) -> Caching:
    def granted(site: SiteName, provider: ProviderName) -> frozenset[Field]:
        return policy.value.granted_to_anyone(site, provider)

    return Caching(cache=cache, granted=granted, rules=policy)


def _floods(parts: Parts) -> Floods:
    def rate(row: Allowance) -> Rate:
        return Rate.of(row.rate, row.burst)

    limits = parts.settings.limits
    return Floods(
        per_peer=rate(limits.per_peer),
        all_peers=rate(limits.all_peers),
        clock=parts.world.clock,
    )


def _api(
    parts: Parts,
    rules: Rules,
    sites: Mapping[SiteName, WiredSite],
    identify: Identify,
    sessions: Sessions,
    traces: Traces,
    book: Journal,
) -> Endpoint:
    broker = Broker(
        policy=rules.policy,
        sites={name: site.broker for name, site in sites.items()},
        sessions=sessions,
        clock=parts.world.clock,
        require_sinks=book.require_sinks,
        decide=traces.decide(),
    )
    return Api(
        identify=identify,
        broker=broker,
        limits=rules.limits,
        describes=_Tables(rules.policy, sites),
        openapi=document(version(DISTRIBUTION)),
        clock=parts.world.clock,
        deadline=parts.settings.upstream.deadline,
        body_timeout=parts.settings.listeners.api.body_timeout,
    ).routes()


def _recorded(
    parts: Parts,
    rules: Rules,
    api: Endpoint,
    book: Opens,
    lifecycle: Lifecycle,
    threshold: Threshold,
) -> ASGIApp:
    requests = RequestObserver(
        parts.metrics,
        parts.log,
        monotonic=parts.world.clock.monotonic,
        granted=rules,
        deadline=parts.settings.upstream.deadline,
    )
    recording = Recording(
        api,
        journal=book,
        observe=requests.finished,
        unexpected=requests.unexpected,
        lifecycle=lifecycle,
        most_in_flight=parts.settings.listeners.api.max_in_flight,
        is_flood=threshold.is_flood,
    )
    parts.metrics.read("requests_in_flight", lambda: recording.in_flight)
    return recording


def _lifecycle(
    parts: Parts,
    callers: WiredCallers,
    sites: Mapping[SiteName, WiredSite],
    watcher: Watcher,
    book: Journal,
) -> Lifecycle:
    metrics, key_sets = parts.metrics, callers.key_sets
    lifecycle = Lifecycle(
        warming=partial(_warm, tuple(key_sets.values()), parts.world),
        failed=parts.log.unexpected,
        unseen=parts.log.loop_failed,
    )
    lifecycle.run_beside(watcher.run, partial(_measure_lag, metrics))
    lifecycle.run_beside(*(keys.keep for keys in key_sets.values()))
    lifecycle.close(*callers.closers, *(site.aclose for site in sites.values()))
    lifecycle.close_last(book.close)
    for name, keys in key_sets.items():
        metrics.read("key_set_age_seconds", partial(_age, keys), name)
    _tell_heads(metrics, book)
    metrics.prepare(partial(_tell_heads, metrics, book))
    return lifecycle


def _age(keys: KeySet) -> float:
    return math.inf if keys.age is None else keys.age


def _tell_heads(metrics: Metrics, book: Journal) -> None:
    for sink, head in book.heads.items():
        metrics.set("audit_sequence", head.sequence, sink)
        metrics.set("audit_head", number(head), sink)


async def _warm(key_sets: Sequence[KeySet], world: World) -> None:
    deadline = Deadline.after(WARM_UP, world.clock)
    await asyncio.gather(*(keys.warm(deadline) for keys in key_sets))


async def _sweep(cache: Cache[Place]) -> None:
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        cache.sweep()


async def _measure_lag(metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(LAG_INTERVAL)
        metrics.observe("event_loop_lag_seconds", max(0.0, loop.time() - before - LAG_INTERVAL))


def _reload(watcher: Watcher, book: Journal, log: Log) -> None:
    log.info("reload-asked", rotates=list(book.heads))
    watcher.wake()
    book.rotate()
