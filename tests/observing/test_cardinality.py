import io
import json
import random
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

from service.audit.record import Entry
from service.catalogue import BASE
from service.logs import Log
from service.model import Caller, CallerName, Identity, ProviderName
from service.simulator.knobs import Body
from service.wiring.observers import LIMITS, RESULTS, RequestObserver
from tests.house import TOKEN, House, Visitor, caller, grant, static

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
SERIES: Final = re.compile(r"^(credential_proxy_\w+(?:\{.*\})?) ", re.MULTILINE)


def series(house: House) -> set[str]:
    """Return every series that is exposed."""
    return set(SERIES.findall(house.metrics.exposition().decode()))


def crowded(directory: Path) -> House:
    """Return a house of 50 callers with every limit and rule there is, for 15 providers."""
    house = House(directory)
    house.settings["callers"] = [
        caller(
            name,
            grant(providers=list(PROVIDERS)),
            limits={
                "rate": 1000,
                "burst": 1000,
                "in_flight": 50,
                "distinct_users": {"count": 9, "window": 60},
            },
            candidate_grants=[grant(providers=[PROVIDERS[0]])],
        )
        for name in CALLERS
    ]
    house.settings["authentication"][0]["tokens"] = [
        static(name, TOKEN if name == CALLERS[0] else f"gcproxy_{name}") for name in CALLERS
    ]
    house.settings["cache"] = {"enabled": True}
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
                provider=ProviderName(provider),
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


class TestSeries:
    async def test_stay_under_a_thousand(self, tmp_path: Path) -> None:
        """50 callers, 15 providers and all outcomes: fewer than 1,000 series."""
        house = crowded(tmp_path)
        async with house.open() as visitor:
            at_first = series(house)
            await everything(house, visitor)
            observer = RequestObserver(
                house.metrics,
                Log(io.StringIO(), level="error"),
                monotonic=lambda: 0.0,
                providers=lambda: frozenset(PROVIDERS),
            )
            for entry in outcomes():
                observer.finished(entry)
            at_last = series(house)

        assert len(at_last) < MOST
        assert set() == at_last - at_first

    async def test_no_request_makes_one(self, tmp_path: Path) -> None:
        """Whatever is asked, by whom and how, every series was there before."""
        house = crowded(tmp_path)
        async with house.open() as visitor:
            await everything(house, visitor)
            before = series(house)
            for request in REQUESTS:
                await send(visitor, request)
                assert before == series(house), request

    async def test_no_random_request_makes_one(self, tmp_path: Path) -> None:
        """Chance does not find one either."""
        house, rng = crowded(tmp_path), random.Random(6)
        async with house.open() as visitor:
            await everything(house, visitor)
            before = series(house)
            for _ in range(300):
                request = chance(rng)
                await send(visitor, request)
                assert before == series(house), request

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
