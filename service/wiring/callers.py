"""The authentications of the configuration to the methods that recognise callers."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from service.callers.claims import Rules, owner_by, service_account
from service.callers.fetching import Answer, Fetch, FetchFailed, ReadToken
from service.callers.jwt import Jwt, LocalRules
from service.callers.key_sets import FollowedKeys, KeySet, KnownKeys, Terms
from service.callers.key_sources import Source, from_discovery, from_uri
from service.callers.keys import Keys, UnusableKeys, parse_keys
from service.callers.mutual_tls import Kind, MutualTls
from service.callers.observed import Event, Observe
from service.callers.static import Row, Static
from service.callers.table import Method
from service.callers.token_review import Reviewer, TokenReview
from service.callers.waiting import SEATS, Room
from service.deadline import Deadline
from service.outbound import Outbound, OutboundError
from service.settings import authentication as rows
from service.settings.schema import Settings
from service.watch import Change, FileFault, Watched, ignore
from service.watch import Source as FileSource
from service.wiring.trust import trust
from service.wiring.world import Peer, World

LARGEST_ANSWER: Final = 256 * 1024
"""Octets of a key set, discovery document or review."""

Closer = Callable[[], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Wired:
    """The methods in the order of the configuration, and what they need beside requests.

    ``watched`` are the CA files by which they know whom they ask, and key sets in files;
    ``changed`` hears of them.
    ``room`` is where their requests wait. ``verifiers``, by issuer, are no methods of their own: a
    ``token_review`` goes by them first.
    """

    room: Room
    methods: list[Method] = field(default_factory=list)
    key_sets: dict[str, KeySet] = field(default_factory=dict)
    closers: list[Closer] = field(default_factory=list)
    verifiers: Mapping[str, rows.Jwt] = field(default_factory=dict)
    watched: list[Watched[Any]] = field(default_factory=list)
    changed: Callable[[Change], None] = ignore


def wire_callers(
    settings: Settings,
    *,
    world: World,
    observe: Observe,
    changed: Callable[[Change], None] = ignore,
) -> Wired:
    """Return every way for callers to prove themselves; raises ``FileFault`` for a CA file."""
    wired = Wired(
        room=Room(_seats(settings)),
        verifiers=_verifiers(settings.authentication),
        changed=changed,
    )
    for row in settings.authentication:
        if row not in wired.verifiers.values():
            wired.methods.append(_MAKERS[type(row)](row, wired, world, observe))
    return wired


def _seats(settings: Settings) -> int:
    """Return how many requests may wait: the rest of what is worked on at once is for releases."""
    return max(1, min(SEATS, settings.listeners.api.max_in_flight // 4))


def _verifiers(ways: Sequence[rows.Authentication]) -> Mapping[str, rows.Jwt]:
    """Return the ``jwt`` rows whose tokens an API server is asked about as well."""
    reviewed = {row.issuer for row in ways if isinstance(row, rows.TokenReview)}
    return {row.issuer: row for row in ways if isinstance(row, rows.Jwt) and row.issuer in reviewed}


def _static(row: rows.Static, _: Wired, world: World, __: Observe) -> Static:
    tokens = [
        Row(subject=each.subject, sha256=bytes.fromhex(each.sha256), expires=each.expires)
        for each in row.tokens
    ]
    return Static(name=row.name, rows=tokens, clock=world.clock)


def _mutual_tls(row: rows.MutualTls, _: Wired, world: World, __: Observe) -> MutualTls:
    return MutualTls(
        name=row.name,
        kind=Kind(row.identity),
        clock=world.clock,
        trust_domain=row.trust_domain,
    )


def _jwt(row: rows.Jwt, wired: Wired, world: World, observe: Observe) -> Jwt:
    local = LocalRules(
        issuer=row.issuer,
        rules=_rules(row, frozenset(row.audiences)),
        algorithms=row.algorithms,
        owner=service_account if row.kind == "service_account" else owner_by(row.subject_claim),
    )
    keys = _keys(row, wired, world, observe)
    return Jwt(name=row.name, local=local, keys=keys, clock=world.clock, observe=observe)


def _rules(row: rows.Jwt, audiences: frozenset[str]) -> Rules:
    return Rules(
        audiences=audiences,
        leeway=row.leeway,
        max_token_life=row.max_token_life,
        required=row.required_claims,
    )


def _keys(row: rows.Jwt, wired: Wired, world: World, observe: Observe) -> KnownKeys:
    if row.keys.file is not None:
        return _followed(row.name, row.keys.file, wired, world)
    keys = KeySet(
        _key_source(row, wired, world),
        name=row.name,
        clock=world.clock,
        terms=Terms(refresh=row.keys_refresh, max_staleness=row.keys_max_staleness),
        observe=observe,
        room=wired.room,
    )
    wired.key_sets[row.name] = keys
    return keys


def _followed(name: str, file: str, wired: Wired, world: World) -> FollowedKeys:
    def parse(contents: Sequence[bytes]) -> Keys:
        return parse_keys(contents[0])

    source = FileSource(
        name=f"keys:{name}",
        paths=[Path(file)],
        parse=parse,
        told=(UnusableKeys,),
        read=world.read,
    )
    watched = Watched.open(source, wired.changed)
    wired.watched.append(watched)
    return FollowedKeys(
        watched.live,
        watched.check,
        lambda: watched.is_faulty,
        clock=world.clock,
        room=wired.room,
    )


def _key_source(row: rows.Jwt, wired: Wired, world: World) -> Source:
    fetch = _fetch(row, wired, world)
    token = None if row.token_file is None else _token_reader(row.token_file, world)
    if row.keys.jwks_uri is not None:
        return from_uri(fetch, row.keys.jwks_uri, token=token)
    return from_discovery(fetch, row.issuer, token=token)


def _token_review(
    row: rows.TokenReview, wired: Wired, world: World, observe: Observe
) -> TokenReview:
    audiences, verifier = frozenset({row.audience}), wired.verifiers.get(row.issuer)
    local = LocalRules(
        issuer=row.issuer,
        rules=_rules(verifier, audiences) if verifier else Rules(audiences=audiences),
        algorithms=verifier.algorithms if verifier else ASYMMETRIC,
        owner=service_account,
    )
    return TokenReview(
        name=row.name,
        local=local,
        reviewer=Reviewer(
            api_server=row.api_server,
            audience=row.audience,
            cache=row.cache,
            timeout=row.timeout,
        ),
        fetch=_fetch(row, wired, world),
        own_token=_token_reader(row.token_file, world),
        clock=world.clock,
        keys=_keys(verifier, wired, world, observe) if verifier else None,
        observe=observe,
        room=wired.room,
    )


ASYMMETRIC: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""What API servers sign with; the server itself verifies, so all that it may use is let pass."""

OWN_TOKEN: Final = re.compile(rb"[!-~]{1,16384}")
"""What can stand in a header."""


def _token_reader(file: str, world: World) -> ReadToken:
    def read() -> str:
        octets = _read(file, world).strip()
        if OWN_TOKEN.fullmatch(octets) is None:
            raise OSError("the file holds no token")
        return octets.decode("ascii")

    return read


def _read(file: str, world: World) -> bytes:
    """Return what is in a file; raises ``OSError`` for whatever is wrong with it."""
    try:
        return world.read(Path(file))
    except FileFault as fault:
        raise OSError(str(fault)) from None


def _fetch(row: rows.Jwt | rows.TokenReview, wired: Wired, world: World) -> Fetch:
    trusts = trust(row.name, row.ca_file, world=world, changed=wired.changed)
    wired.watched += trusts
    # one for each that may wait, so that a question has never to wait for another's answer
    peer = Peer(trust=trusts[0].live if trusts else None, connections=SEATS)
    outbound = Outbound(world.dial(peer), cap=LARGEST_ANSWER)
    wired.closers.append(outbound.aclose)

    async def fetch(
        url: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Answer:
        method = "GET" if body is None else "POST"
        try:
            answer = await outbound.send(method, url, headers=headers, body=body, deadline=deadline)
        except OutboundError as error:
            raise FetchFailed(str(error)) from None
        return answer.status, answer.headers, answer.body

    return fetch


_MAKERS: Final[Mapping[type, Callable[[Any, Wired, World, Observe], Method]]] = {
    rows.Static: _static,
    rows.Jwt: _jwt,
    rows.TokenReview: _token_review,
    rows.MutualTls: _mutual_tls,
}
"""Row of the configuration -> method."""

_KEYS: Final = (Event.KEYS_REPLACED, Event.KEYS_UNCHANGED, Event.KEYS_FAILED)
EVENTS: Final[Mapping[type, Sequence[Event]]] = {
    rows.Static: (),
    rows.Jwt: (Event.TOKEN_VERIFIED, Event.TOKEN_REMEMBERED, *_KEYS),
    rows.TokenReview: (Event.REVIEW_ANSWERED, Event.REVIEW_REMEMBERED, Event.REVIEW_FAILED),
    rows.MutualTls: (),
}
"""Row of the configuration -> what can happen behind it."""
