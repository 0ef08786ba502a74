import io
import json
import random
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from service.audit.record import Entry
from service.callers.observed import Event
from service.catalogue import BASE
from service.gigya.keys import KeyRing, PartnerKey
from service.gigya.sealing import Scope, Sealing
from service.gigya.terms import sendable, wire_params
from service.handshake import REASONS
from service.logs import Log
from service.model import Caller, CallerName, Identity, ProviderName, SessionQuery, SiteName, Uid
from service.reception import Refusal
from service.simulator.knobs import Body
from service.wiring.callers import _MAKERS, EVENTS
from service.wiring.observers import ANSWERED, CUT_OFF, LIMITS, RESULTS, RequestObserver
from tests.callers import issuer
from tests.house import TOKEN, House, Visitor, caller, grant, static
from tests.observing.stage import COMING, ISSUER, settings
from tests.test_metrics import samples

CALLERS: Final = tuple(f"caller-{n}" for n in range(50))
PROVIDERS: Final = tuple(
    row.name for row in BASE.rows if row.names is not None and row.name != "xing"
)[:15]
LIMITED: Final = {
    "rate": 1000,
    "burst": 1000,
    "in_flight": 50,
    "distinct_users": {"count": 9, "window": 60},
}
MOST: Final = 1000
SERIES: Final = re.compile(r"^([a-z]\w+(?:\{.*\})?) ", re.MULTILINE)


def series(house: House) -> set[str]:
    """Return every series that is exposed."""
    return set(SERIES.findall(house.metrics.exposition().decode()))


def crowded(directory: Path) -> House:
    """Return a house of 50 callers with every limit and rule there is, for 15 providers.

    Everything is on: TLS, tokens of an issuer and of a cluster, two sinks, the cache, the previous
    credentials and two partner secrets.
    """
    house = House(directory)
    settings(house)
    house.clock = None
    house.__post_init__()
    house.settings["callers"] = [
        caller(
            name,
            grant(providers=list(PROVIDERS)),
            limits=LIMITED,
            candidate_grants=[grant(providers=[PROVIDERS[0]])],
        )
        for name in CALLERS
    ]
    house.settings["callers"][0]["identities"].append({"via": "cluster", "subject": "crm"})
    house.settings["authentication"][0]["tokens"] = [
        static(name, TOKEN if name == CALLERS[0] else f"gcproxy_{name}") for name in CALLERS
    ]
    return house


def outcomes() -> Iterator[Entry]:
    """Yield a request of each caller for each provider with each outcome and limit."""
    who = [
        Caller(name=CallerName(name), identity=Identity(via="tokens", subject=name))
        for name in CALLERS
    ]
    reasons = [None, *LIMITS[:-1]]
    for each, provider, outcome in product([None, *who], [*PROVIDERS, "xing"], RESULTS):
        for reason in reasons if outcome == "rate-limited" else reasons[:1]:
            yield Entry(
                audit_id="0" * 32,
                caller=each,
                provider=None if outcome == ANSWERED else ProviderName(provider),
                outcome=outcome,
                reason="flood" if reason and each is None else reason,
                would_deny=each is not None,
            )


async def everything(house: House, visitor: Visitor) -> None:
    """Have each kind of thing happen at Gigya."""
    knobs = house.simulator.knobs
    for ways in (
        {"error_code": 500001},
        {"error_code": 403048},
        {"error_code": 403007},
        {"body": Body.HTML},
        {},
    ):
        knobs.turn(times=4, **ways)
        await visitor.ask(max_age=0)
        house.time.now += 60
    await visitor.ask(max_age=30)
    await visitor.ask(max_age=30)
    now = int(house.time.now)
    claims = {"iss": ISSUER, "sub": "crm", "aud": "proxy", "iat": now, "exp": now + 600}
    for audience in ("proxy", "proxy", "another"):
        token = issuer.token({**claims, "aud": audience})
        await visitor.ask(token=token)
        await visitor.ask(token=token)
    for name in ("signIDs", "context", "encrypt", "paddingMode", "cid", "made-up"):
        knobs.turn(times=1, ignores=frozenset({name}))
        await visitor.ask(max_age=0, verify_provider_uid=True, cid="x")


class TestSeries:
    async def test_stay_under_a_thousand(self, tmp_path: Path) -> None:
        """50 callers, 15 providers, all outcomes and everything on: fewer than 1,000 series."""
        house = crowded(tmp_path)
        async with house.open() as visitor:
            at_first = series(house)
            await everything(house, visitor)
            observer = RequestObserver(
                house.metrics,
                Log(io.StringIO(), level="error"),
                monotonic=lambda: 0.0,
                granted=SimpleNamespace(providers=frozenset(PROVIDERS)),
                deadline=10.0,
            )
            for entry in outcomes():
                observer.finished(entry)
            at_last = series(house)

        assert len(at_last) < MOST
        assert set() == at_last - at_first

    async def test_no_connection_makes_one(self, tmp_path: Path) -> None:
        """Nor does whatever ends before a request, for whatever reason."""
        house = crowded(tmp_path)
        async with house.open() as visitor:
            before = series(house)
            ends = product(("tls-refused",), REASONS)
            for kind, reason in (*ends, *product(CUT_OFF, ("made-up",))):
                visitor.application.refused(
                    Refusal(listener="api", kind=kind, reason=reason, peer="192.0.2.7")
                )

            assert before == series(house)

    async def test_no_request_makes_one(self, tmp_path: Path) -> None:
        """Whatever is asked, by whom and how, every series was there before."""
        house = crowded(tmp_path)
        async with house.open() as visitor:
            before = series(house)
            for request in REQUESTS:
                await send(visitor, request)
                assert before == series(house), request

    async def test_no_random_request_makes_one(self, tmp_path: Path) -> None:
        """Chance does not find one either."""
        house, rng = crowded(tmp_path), random.Random(6)
        async with house.open() as visitor:
            before = series(house)
            for _ in range(300):
                request = chance(rng)
                await send(visitor, request)
                assert before == series(house), request

    async def test_no_rotation_makes_one(self, tmp_path: Path) -> None:
        """Each place for a partner secret has its series, though one secret stand there twice."""
        house = crowded(tmp_path)
        house.files["/secrets/partner-to-come"] = house.files["/secrets/partner"]
        async with house.open() as visitor:
            await visitor.ask()
            before = series(house)
            house.files["/secrets/partner-to-come"] = COMING
            await visitor.look()
            await visitor.ask(max_age=0)

            assert before == series(house)
            assert 1 == samples(house.metrics)["decrypts_total", ("shop", "1", "opened")]

    def test_every_authentication_tells_what_can_happen(self) -> None:
        """The table of events has a row for each way to authenticate, and no event is in none."""
        assert set(_MAKERS) == set(EVENTS)
        assert set(Event) == {event for events in EVENTS.values() for event in events}

    @pytest.mark.parametrize("scope", Scope)
    @pytest.mark.parametrize("keys", [0, 1, 2])
    def test_every_parameter_is_known(self, scope: Scope, keys: int) -> None:
        """Whatever is sent to Gigya is among what it can ignore."""
        sealing = Sealing(scope=scope)
        ring = KeyRing([PartnerKey(bytes([n]) * 32) for n in range(keys)])
        query = SessionQuery(
            site=SiteName("s"), uid=Uid("u"), provider=ProviderName("p"), cid="c", sign_ids=True
        )

        assert set() == wire_params(query, sealing, ring, context="n").keys() - sendable(sealing)

    async def test_nothing_of_a_request_is_in_them(self, tmp_path: Path) -> None:
        """No name that a caller made up, no user and no path is the value of a label."""
        house = crowded(tmp_path)
        async with house.open() as visitor:
            for request in REQUESTS:
                await send(visitor, request)

        text = "\n".join(series(house))
        assert [] == [word for word in ("made-up", "user-", "/v1", "gcproxy") if word in text]


async def send(visitor: Visitor, request: dict[str, Any]) -> None:
    """Send a request that may be of any kind."""
    await visitor.request(
        request.get("method", "POST"),
        request.get("path", "/v1/provider-tokens"),
        content=json.dumps(request.get("body", {})).encode(),
        headers={
            "content-type": "application/json",
            "authorization": f"Bearer {TOKEN}",
            **request.get("headers", {}),
        },
    )


GOOD: Final = {"uid": "user-twitter", "provider": "twitter"}
REQUESTS: Final[tuple[dict[str, Any], ...]] = (
    {"body": GOOD},
    {"body": GOOD | {"provider": "made-up"}},
    {"body": GOOD | {"provider": "xing"}},  # known, and nobody is granted it
    {"body": GOOD | {"provider": "saml-made-up"}},
    {"body": GOOD | {"site": "made-up"}},
    {"body": GOOD | {"uid": "user-made-up"}},
    {"body": GOOD | {"fields": ["made-up"]}},
    {"body": GOOD | {"made-up": 1}},
    {"body": GOOD | {"cid": "made-up", "context": "made-up", "min_ttl": 99}},
    {"body": "made-up"},
    {"path": "/made-up"},
    {"path": "/v1/made-up", "method": "MADE-UP"},
    {"path": "/v1/grants", "method": "GET"},
    {"path": "/v1/provider-tokens", "method": "PUT"},
    {"headers": {"authorization": "Bearer made-up"}},
    {"headers": {"authorization": "Basic made-up"}},
    {"headers": {"authorization": ""}},
    {"headers": {"content-type": "made/up"}},
    {"headers": {"traceparent": "made-up", "x-forwarded-for": "made-up", "host": "made-up"}},
    {"headers": {"request-timeout": "made-up"}},
)


def chance(rng: random.Random) -> dict[str, Any]:
    """Return a request that nobody thought of."""
    values: list[Any] = [
        "",
        "twitter",
        "xing",
        "\u202e",
        "a" * 99,
        0,
        -1,
        None,
        [],
        ["x"],
        {"x": 1},
    ]
    members = ("uid", "provider", "site", "fields", "context", "cid", "min_ttl", "x")
    asked = {rng.choice(members): rng.choice(values) for _ in range(rng.randrange(4))}
    method = rng.choice(["POST", "POST", "POST", "GET", "DELETE", "BREW"])
    path = rng.choice(["/v1/provider-tokens"] * 3 + ["/v1/grants", "/", "/" + "x" * 40])
    return {"body": {**GOOD, **asked}, "method": method, "path": path}
