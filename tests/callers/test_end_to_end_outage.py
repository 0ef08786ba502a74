"""The composed service while an issuer is away, and under a storm of made-up keys."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from service.app import Application
from service.callers.fetching import Answer
from service.callers.refusals import Refusal, Unavailable
from service.callers.waiting import SEATS
from service.deadline import Deadline
from tests.callers import issuer
from tests.callers.certificates import certificate, uri
from tests.callers.composed import JWT, composed, present
from tests.callers.house import (
    CLUSTER,
    DIRECTORY,
    REPLIES,
    REVIEWED,
    STATIC_TOKEN,
    Net,
    account_claims,
    bearer,
    ok,
)
from tests.callers.issuer import jwk, key_set, part, token
from tests.callers.presented import Presented
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
        """The issuer's next key is found with the first token that it signed.

        Where made-up keys have just had it asked, that is 10 s later, and until then 401: a 503 for
        all that is unknown would be whoever makes up keys' to hand out.
        """
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


class Hanging(Net):
    """A net on which nothing answers while it hangs, or nothing about a token that is forged."""

    def __init__(self) -> None:
        super().__init__(REPLIES)
        self.hangs = self.hangs_for_forged = False
        self.goes_on = asyncio.Event()

    async def fetch(
        self, url: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Answer:
        """Answer, at once or when it goes on."""
        if self.hangs or (self.hangs_for_forged and body is not None and FORGED in body):
            await self.goes_on.wait()
        return await super().fetch(url, headers, body, deadline)


FORGED: Final = b".QUFBQQ"
"""The signature of whoever has no key."""
ATTACKER: Final = "198.51.100.1"


def forged(iss: str) -> Presented:
    """Present a token that says all the right things, and that nobody signed."""
    header = {"alg": "ES256", "kid": f"made-up-{next(NUMBERS)}"}
    claims = account_claims(iss, jti=next(NUMBERS))
    return bearer(f"{part(header)}.{part(claims)}{FORGED.decode()}")


def good() -> dict[str, Presented]:
    """Present what is good and can be judged without asking anybody, each way once."""
    return {
        "static": bearer(STATIC_TOKEN),
        "known key": bearer(fresh()),
        "certificate": Presented(certificate=certificate(uri(SYNC_WORKER))),
    }


SYNC_WORKER: Final = "spiffe://prod.example/ns/crm/sa/sync-worker"


class TestHanging:
    @pytest.mark.parametrize("is_one", [False, True], ids=["different tokens", "one token"])
    async def test_starves_no_release(self, tmp_path: Path, *, is_one: bool) -> None:
        """While issuer and API server hang, one peer's forged tokens take no release's place."""
        net = Hanging()
        house = composed(tmp_path, net=net)
        async with house.open() as visitor:
            api = visitor.application
            warm = await present(api, bearer(fresh()))
            house.time.now += 11
            net.hangs = True
            shown = [forged(iss) for iss in (CLUSTER, REVIEWED) for _ in range(150)]
            shown = shown[:1] * 150 + shown[-1:] * 150 if is_one else shown
            flood = [asyncio.create_task(present(api, bad, peer=ATTACKER)) for bad in shown]
            await asyncio.sleep(0)
            found = {way: (await present(api, each)).status_code for way, each in good().items()}
            waiting = sum(not task.done() for task in flood)
            net.goes_on.set()
            answers = await asyncio.gather(*flood)

        assert 200 == warm.status_code
        assert dict.fromkeys(good(), 200) == found
        assert SEATS // 2 == waiting
        assert 300 - waiting == sum(answer.status_code == 503 for answer in answers)
        assert {Unavailable.KEYS_OVERLOADED, Unavailable.REVIEW_OVERLOADED} <= reasons(house)

    async def test_keeps_a_place_for_other_peers(self, tmp_path: Path) -> None:
        """While the API server is slow over one peer's forged tokens, it is asked for others."""
        net = Hanging()
        house = composed(tmp_path, net=net)
        async with house.open() as visitor:
            api = visitor.application
            net.hangs_for_forged = True
            flood = [
                asyncio.create_task(present(api, forged(REVIEWED), peer=ATTACKER))
                for _ in range(200)
            ]
            await asyncio.sleep(0)
            reviewed = bearer(token(account_claims(REVIEWED)))
            found = [(await present(api, reviewed)).status_code]
            net.goes_on.set()
            await asyncio.gather(*flood)

        assert [200] == found
