"""Limits at the composed service: per caller, and of failed authentications before any caller."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from service.simulator.knobs import Knob
from tests.callers.composed import composed, counted, lines, present
from tests.callers.house import STATIC_TOKEN, Net, account_claims, bearer
from tests.callers.issuer import token
from tests.house import OTHER_TOKEN, TOKEN, House, Visitor, caller, grant

USERS: Final = ("user-facebook", "user-twitter", "user-googleplus")
BAD: Final = bearer("gigyaproxy_nobody-has-this-one")
GOOD: Final = bearer(STATIC_TOKEN)


def limited(directory: Path, **limits: Any) -> House:
    """Return a house whose first caller has limits, and whose second has none."""
    house = House(directory)
    house.settings["callers"] = [
        caller("crm", grant(), limits=limits),
        caller("newsletter", grant()),
    ]
    return house


async def statuses(visitor: Visitor, *uids: str, by: str = TOKEN) -> list[int]:
    """Ask for one user after another."""
    return [(await visitor.ask(uid=uid, token=by)).status_code for uid in uids]


def reasons(house: House) -> set[str]:
    """Return why requests were refused."""
    return {r["reason"] for r in house.records() if r["outcome"] != "released"}


class TestRate:
    async def test_burst_and_rate(self, tmp_path: Path) -> None:
        """A burst at once, the rest at the rate; the answer says when; others are not touched."""
        house = limited(tmp_path, rate=2, burst=3)
        async with house.open() as visitor:
            first = await statuses(visitor, *["user-twitter"] * 3)
            refused = await visitor.ask()
            others = await statuses(visitor, *["user-twitter"] * 9, by=OTHER_TOKEN)
            house.time.now += 0.5
            later = await statuses(visitor, *["user-twitter"] * 2)

        assert ([200] * 3, [200] * 9, [200, 429]) == (first, others, later)
        assert (429, "rate-limited", "1") == (
            refused.status_code,
            refused.json()["code"],
            refused.headers["retry-after"],
        )
        assert {"limit-rate"} == reasons(house)
        series = '{caller="crm",limit="limit-rate"}'
        assert {series: 2.0} == counted(house, "limits_hit_total")

    async def test_all_routes_count(self, tmp_path: Path) -> None:
        """The tables are requests like any other."""
        house = limited(tmp_path, rate=1, burst=2)
        async with house.open() as visitor:
            paths = ("/v1/grants", "/v1/providers", "/v1/grants")
            found = [(await visitor.get(path)).status_code for path in paths]

        assert [200, 200, 429] == found


class TestInFlight:
    async def test_one_at_a_time(self, tmp_path: Path) -> None:
        """While one request is worked on, the next is refused; afterwards it passes."""
        house = limited(tmp_path, in_flight=1)
        held = asyncio.Event()
        house.simulator.knobs.turn(Knob(hold=held, times=1))
        async with house.open() as visitor:
            first = asyncio.create_task(visitor.ask())
            await house.simulator.calls.arrive(1)
            second = await visitor.ask()
            other = await visitor.ask(uid="user-facebook", provider="facebook", token=OTHER_TOKEN)
            held.set()
            statuses = [(await first).status_code, second.status_code, other.status_code]
            again = await visitor.ask()

        assert ([200, 429, 200], 200) == (statuses, again.status_code)
        assert {"limit-in-flight"} == reasons(house)


class TestDistinctUsers:
    async def test_too_many_users(self, tmp_path: Path) -> None:
        """So many different users in a window, the same ones as often as it likes."""
        house = limited(tmp_path, distinct_users={"count": 2, "window": 60})
        async with house.open() as visitor:
            first = await statuses(visitor, "a", "b", "c", "a", "b", "d")
            house.time.now += 61
            later = await statuses(visitor, "c", "d", "a")

        assert ([404, 404, 429, 404, 404, 429], [404, 404, 429]) == (first, later)
        assert {"limit-distinct-users", "gigya-403005"} == reasons(house)

    async def test_a_thief_of_a_user_base(self, tmp_path: Path) -> None:
        """Whoever walks all users gets no further than the count, and it shows in a metric."""
        house = limited(tmp_path, distinct_users={"count": 5, "window": 3600})
        async with house.open() as visitor:
            walked = Counter(await statuses(visitor, *map(str, range(100))))

        assert {404: 5, 429: 95} == dict(walked)
        series = '{caller="crm",limit="limit-distinct-users"}'
        assert {series: 95.0} == counted(house, "limits_hit_total")


class TestZero:
    @pytest.mark.parametrize(
        "limits",
        [
            {"rate": 0, "burst": 1},
            {"rate": 1, "burst": 0},
            {"in_flight": 0},
            {"distinct_users": {"count": 0, "window": 60}},
        ],
        ids=str,
    )
    async def test_blocks(self, tmp_path: Path, limits: dict[str, Any]) -> None:
        """0 shuts a caller out of tokens: 403 with ``missing: blocked``, and others are not."""
        house = limited(tmp_path, **limits)
        async with house.open() as visitor:
            blocked = await visitor.ask()
            other = await visitor.ask(token=OTHER_TOKEN)

        assert (403, "blocked") == (blocked.status_code, blocked.json()["missing"])
        assert 200 == other.status_code
        assert 1 == house.simulator.calls.total
        assert "missing-blocked" == house.records()[0]["reason"]

    async def test_blocks_after_a_reload(self, tmp_path: Path) -> None:
        """So it does for a caller that runs amok, with the next request after the reload."""
        house = limited(tmp_path)
        async with house.open() as visitor:
            before = await visitor.ask()
            house.settings["callers"][0]["limits"] = {"in_flight": 0}
            house.write_configuration()
            await visitor.look()
            after = await visitor.ask()

        assert (200, 403) == (before.status_code, after.status_code)


class TestFailedAuthentications:
    async def test_per_peer(self, tmp_path: Path) -> None:
        """After its burst a peer is refused unheard, whatever it brings; other peers are not."""
        house = composed(tmp_path)
        house.settings["limits"] = {"per_peer": {"rate": 0.1, "burst": 3}}
        async with house.open() as visitor:
            api = visitor.application
            first = [(await present(api, BAD)).status_code for _ in range(5)]
            good = await present(api, GOOD)
            elsewhere = await present(api, GOOD, peer="192.0.2.10")
            house.time.now += 10
            later = await present(api, GOOD)

        assert [401, 401, 401, 429, 429] == first
        assert (429, 200, 200) == (good.status_code, elsewhere.status_code, later.status_code)
        assert 0 < int(good.headers["retry-after"]) <= 10

    async def test_ipv6_counts_by_network(self, tmp_path: Path) -> None:
        """Whoever has a /64 is one peer, from whichever address of it."""
        house = composed(tmp_path)
        house.settings["limits"] = {"per_peer": {"rate": 0.1, "burst": 2}}
        peers = ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1")
        async with house.open() as visitor:
            found = [(await present(visitor.application, BAD, peer=p)).status_code for p in peers]

        assert [401, 401, 429, 401] == found

    async def test_flood_is_counted_and_starves_nobody(self, tmp_path: Path) -> None:
        """A flood from everywhere has so many records and then counts; all releases pass."""
        house = composed(tmp_path)
        house.settings["limits"] = {
            "per_peer": {"rate": 0.001, "burst": 5},
            "all_peers": {"rate": 0.001, "burst": 20},
        }
        async with house.open() as visitor:
            api = visitor.application
            flood = [present(api, BAD, peer=f"198.51.100.{n % 50}") for n in range(1000)]
            wanted = [present(api, GOOD, peer=f"192.0.2.{n}") for n in range(50)]
            answers = await asyncio.gather(*flood, *wanted)
        bad = Counter(answer.status_code for answer in answers[:1000])
        told = [record for record in house.records() if record["outcome"] != "released"]
        rows = [row for record in lines(house, "aggregate") for row in record["counts"]]
        peers = [row for record in lines(house, "aggregate") for row in record["peers"]]

        assert {200} == {answer.status_code for answer in answers[1000:]}
        assert {401, 429} == set(bad)
        assert 20 == len(told)
        assert 1000 == len(told) + sum(row["count"] for row in rows)
        assert 980 == sum(row["count"] for row in peers)
        assert {("unauthenticated", "bearer-unknown"), ("rate-limited", "flood")} == {
            (row["outcome"], row["reason"]) for row in rows
        }


FEW: Final = {"per_peer": {"rate": 0.001, "burst": 3}, "all_peers": {"rate": 0.001, "burst": 5}}


class TestRecordsOfNobody:
    @pytest.mark.parametrize(
        ("method", "path", "label"),
        [
            ("GET", "/nowhere", ("not-found", "not-found")),
            ("PUT", "/v1/provider-tokens", ("method-not-allowed", "method-not-allowed")),
            ("GET", "/openapi.json", ("answered", "answered")),
        ],
    )
    async def test_do_not_fill_the_audit(
        self, tmp_path: Path, method: str, path: str, label: tuple[str, str]
    ) -> None:
        """What needs no credential is answered as ever, and beyond the limits only counted."""
        house = composed(tmp_path)
        house.settings["limits"] = FEW
        async with house.open() as visitor:
            answers = [await visitor.request(method, path) for _ in range(10)]
            good = await present(visitor.application, GOOD, peer="192.0.2.7")
        told = [record for record in house.records() if record["outcome"] != "released"]
        rows = [row for record in lines(house, "aggregate") for row in record["counts"]]

        assert 1 == len({answer.status_code for answer in answers})
        assert (200, 3) == (good.status_code, len(told))
        assert [(*label, 7)] == [(row["outcome"], row["reason"], row["count"]) for row in rows]

    async def test_of_a_flood_while_the_issuer_is_away(self, tmp_path: Path) -> None:
        """503s for credentials that nobody can judge are counted too; nobody is kept out."""
        house = composed(tmp_path, net=Net({}))
        house.settings["limits"] = FEW
        shown = bearer(token(account_claims()))
        async with house.open() as visitor:
            answers = [await present(visitor.application, shown) for _ in range(10)]
            good = await present(visitor.application, GOOD)
        told = [record for record in house.records() if record["outcome"] != "released"]

        assert {503} == {answer.status_code for answer in answers}
        assert (200, 3) == (good.status_code, len(told))

    async def test_a_caller_s_own_are_told(self, tmp_path: Path) -> None:
        """Whatever becomes of a known caller's requests has a record each."""
        house = limited(tmp_path, rate=1, burst=1)
        house.settings["limits"] = FEW
        async with house.open() as visitor:
            found = Counter(await statuses(visitor, *["user-twitter"] * 20))

        assert ({200: 1, 429: 19}, 20) == (dict(found), len(house.records()))
