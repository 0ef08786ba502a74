"""The composed service while an issuer is away, and under a storm of made-up keys."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from service.app import Application
from service.callers.refusals import Refusal, Unavailable
from tests.callers import issuer
from tests.callers.composed import JWT, composed, present
from tests.callers.house import CLUSTER, DIRECTORY, REPLIES, Net, account_claims, bearer, ok
from tests.callers.issuer import jwk, key_set, token
from tests.house import House, grant
from tests.virtual_time import EPOCH

DISCOVERY: Final = f"{CLUSTER}/.well-known/openid-configuration"
JWKS: Final = f"{CLUSTER}/openid/v1/jwks"
HOUR: Final = 3600
NUMBERS: Final = itertools.count()
ENOUGH: Final = {"rate": 1_000_000, "burst": 1_000_000}
"""Limits of failed authentications that no test here comes near."""


def cluster(directory: Path) -> tuple[House, Net]:
    """Return a house whose callers come from one cluster, and its net."""
    net = Net({url: REPLIES[url] for url in (DISCOVERY, JWKS)})
    identities = [{"via": i.via, "subject": i.subject} for i in DIRECTORY if i.via == JWT["name"]]
    callers = [{"name": "crm-sync", "identities": identities, "grants": [grant()]}]
    house = composed(directory, net=net, authentication=[JWT], callers=callers)
    house.settings["limits"] = {"per_peer": {**ENOUGH}, "all_peers": {**ENOUGH}}
    return house, net


def fresh(key: Any = issuer.P256, **header: Any) -> str:
    """Make a token that was never seen before."""
    return token(account_claims(jti=next(NUMBERS), exp=EPOCH + 80_000), key, **header)


async def ask(application: Application, text: str | None = None) -> httpx.Response:
    """Ask with a token, by default a good one that nobody remembers."""
    return await present(application, bearer(text or fresh()))


async def storm(application: Application, count: int) -> Counter[int]:
    """Ask with so many different made-up keys at once; return the statuses."""
    texts = [fresh(kid=f"made-up-{next(NUMBERS)}") for _ in range(count)]
    answers = await asyncio.gather(*(ask(application, text) for text in texts))
    return Counter(answer.status_code for answer in answers)


def reasons(house: House) -> set[str]:
    """Return why requests were refused."""
    return {r["reason"] for r in house.records() if r["outcome"] != "released"}


def is_spaced(moments: Sequence[float], seconds: float) -> bool:
    """Whether no two moments are closer than ``seconds``."""
    return all(later - earlier >= seconds for earlier, later in itertools.pairwise(moments))


class TestIssuerAway:
    async def test_an_hour(self, tmp_path: Path) -> None:
        """For an hour every good token passes, and the issuer is asked no more than each 10 s."""
        house, net = cluster(tmp_path)
        async with house.open() as visitor:
            first = await ask(visitor.application)
            before = len(net.asked)
            net.replies.clear()
            statuses = []
            for _ in range(HOUR // 10):
                house.time.now += 10
                statuses.append((await ask(visitor.application)).status_code)

        assert 200 == first.status_code
        assert {200: HOUR // 10} == dict(Counter(statuses))
        assert 0 < len(net.asked) - before <= HOUR // 10

    async def test_until_the_keys_are_stale(self, tmp_path: Path) -> None:
        """Older than ``keys_max_staleness`` they prove nothing: 503, and never 401."""
        house, net = cluster(tmp_path)
        house.settings["authentication"] = [JWT | {"keys_max_staleness": HOUR}]
        async with house.open() as visitor:
            await ask(visitor.application)
            replies = dict(net.replies)
            net.replies.clear()
            house.time.now += HOUR
            last = await ask(visitor.application)
            house.time.now += 11
            stale = await ask(visitor.application)
            net.replies |= replies
            house.time.now += 10
            back = await ask(visitor.application)

        assert (200, 503, 200) == (last.status_code, stale.status_code, back.status_code)
        assert "authentication-unavailable" == stale.json()["code"]
        assert {Unavailable.KEYS_UNAVAILABLE} == reasons(house)
        assert 0 < int(stale.headers["retry-after"]) <= 10

    async def test_from_the_start(self, tmp_path: Path) -> None:
        """A replica that starts meanwhile is ready, answers 503, and heals by itself."""
        house, net = cluster(tmp_path)
        replies = dict(net.replies)
        net.replies.clear()
        async with house.open() as visitor:
            away = await ask(visitor.application)
            for _ in range(100):  # turns of the loop: whatever is due has happened
                await asyncio.sleep(0)
            ready = await visitor.manage("/readyz")
            net.replies |= replies
            house.time.now += 10
            back = await ask(visitor.application)

        assert (503, 200, 200) == (away.status_code, ready.status_code, back.status_code)


class TestMadeUpKeys:
    async def test_storm(self, tmp_path: Path) -> None:
        """However many keys are made up, the issuer is asked once in 10 s; good tokens pass."""
        house, net = cluster(tmp_path)
        asked: list[float] = []

        def tell(body: bytes | None) -> Any:
            asked.append(house.time.now)
            return REPLIES[JWKS](body)

        net.replies[JWKS] = tell
        async with house.open() as visitor:
            bad, good = Counter[int](), Counter[int]()
            for _ in range(30):
                house.time.now += 1
                bad += await storm(visitor.application, 20)
                good[(await ask(visitor.application)).status_code] += 1

        assert ({401: 600}, {200: 30}) == (dict(bad), dict(good))
        assert {Refusal.KEY_UNKNOWN} == reasons(house)
        assert is_spaced(asked[1:], 10)
        assert 3 <= len(asked) <= 4

    async def test_storm_while_the_issuer_is_away(self, tmp_path: Path) -> None:
        """A key that nobody can look up may exist: 503; good tokens pass all the same."""
        house, net = cluster(tmp_path)
        async with house.open() as visitor:
            await ask(visitor.application)
            net.replies.clear()
            bad, good = Counter[int](), Counter[int]()
            for _ in range(10):
                house.time.now += 10
                bad += await storm(visitor.application, 20)
                good[(await ask(visitor.application)).status_code] += 1

        assert ({503: 200}, {200: 10}) == (dict(bad), dict(good))
        assert {Unavailable.KEYS_UNAVAILABLE} == reasons(house)

    @pytest.mark.parametrize("is_stormy", [False, True], ids=["calm", "in a storm"])
    async def test_rotation(self, tmp_path: Path, *, is_stormy: bool) -> None:
        """The issuer's next key is found with the first token that it signed, within 10 s."""
        house, net = cluster(tmp_path)
        async with house.open() as visitor:
            await ask(visitor.application)
            house.time.now += 20
            if is_stormy:
                await storm(visitor.application, 10)
            old, new = jwk(issuer.P256, "one"), jwk(issuer.OTHER_P256, "next")
            net.replies[JWKS] = ok(key_set(old, new))
            statuses = []
            for _ in range(2):
                response = await ask(visitor.application, fresh(issuer.OTHER_P256, kid="next"))
                statuses.append(response.status_code)
                house.time.now += 10

        assert [401, 200] == statuses if is_stormy else [200, 200] == statuses
