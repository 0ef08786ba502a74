"""What the routes do around the use case: limits, deadlines, headers, and in which order."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.house import NOW, OTHER_TOKEN, TOKEN, House, body, caller, grant

ASK = json.dumps({"uid": "user-twitter", "provider": "twitter"}).encode()


def limited(directory: Path, **limits: Any) -> House:
    house = House(directory)
    house.settings["callers"][0]["limits"] = limits
    return house


class TestLimits:
    async def test_of_rate(self, tmp_path: Path) -> None:
        """Beyond its burst a caller waits as it is told; every route counts, others do not mind."""
        house = limited(tmp_path, rate=0.5, burst=2)
        async with house.open() as visitor:
            assert 200 == (await visitor.ask()).status_code
            assert 200 == (await visitor.get("/v1/grants")).status_code
            refused = await visitor.get("/v1/providers")
            assert 200 == (await visitor.get("/v1/grants", token=OTHER_TOKEN)).status_code
            house.time.now = NOW + 2
            assert 200 == (await visitor.ask()).status_code

        assert (429, "2") == (refused.status_code, refused.headers["retry-after"])
        assert ("rate-limited", True) == (refused.json()["code"], refused.json()["retryable"])
        assert "limit-rate" == house.records()[2]["reason"]

    async def test_of_requests_in_flight(self, tmp_path: Path) -> None:
        """So many at once, counted until the answer is made, whatever it is."""
        house = limited(tmp_path, in_flight=1)
        hold = asyncio.Event()
        house.simulator.knobs.turn(hold=hold, times=1)
        async with house.open() as visitor:
            first = asyncio.create_task(visitor.ask())
            await house.simulator.calls.arrive(1)
            refused = await visitor.ask()
            hold.set()
            assert 200 == (await first).status_code
            assert 400 == (await visitor.post(b"")).status_code
            assert 200 == (await visitor.ask()).status_code

        assert (429, "1") == (refused.status_code, refused.headers["retry-after"])
        assert "limit-in-flight" == house.records()[0]["reason"]

    async def test_of_distinct_users(self, tmp_path: Path) -> None:
        """A caller that walks the users is stopped; those it has asked for it may ask for again."""
        house = limited(tmp_path, distinct_users={"count": 2, "window": 60})
        async with house.open() as visitor:
            told = [
                (await visitor.ask(uid=f"user-{name}", provider=name)).status_code
                for name in ("twitter", "facebook", "google", "twitter", "xing")
            ]

        assert [200, 200, 429, 200, 429] == told
        assert 3 == house.simulator.calls.total
        record = house.records()[2]
        assert ("limit-distinct-users", "rate-limited") == (record["reason"], record["outcome"])
        assert "user" in record

    @pytest.mark.parametrize(
        "limits",
        [
            {"rate": 0},
            {"rate": 5, "burst": 0},
            {"in_flight": 0},
            {"distinct_users": {"count": 0, "window": 1}},
        ],
        ids=str,
    )
    async def test_of_nothing_block(self, limits: dict[str, Any], tmp_path: Path) -> None:
        """A limit of 0 blocks the caller: it is known, and may have nothing."""
        house = limited(tmp_path, **limits)
        async with house.open() as visitor:
            told = (await visitor.ask()).json()
            shown = (await visitor.get("/v1/grants")).json()

        assert ("access-denied", "blocked") == (told["code"], told["missing"])
        assert [] == shown["grants"]
        assert ("deny", "missing-blocked") == tuple(
            house.records()[0][name] for name in ("decision", "reason")
        )


class TestFloods:
    async def test_of_bad_credentials_are_refused_and_counted(self, tmp_path: Path) -> None:
        """A peer that fails too often is told to wait; what exceeds is recorded as a count."""
        house = House(tmp_path)
        house.settings["limits"] = {"per_peer": {"rate": 1, "burst": 3}}
        async with house.open() as visitor:
            told = [
                (await visitor.get("/v1/grants", token="gcproxy_x")).status_code for _ in range(9)
            ]
            house.time.now = NOW + 60
            healed = await visitor.get("/v1/grants")

        assert [401] * 3 + [429] * 6 == told
        assert 200 == healed.status_code
        assert 4 == len(house.records())
        text = (tmp_path / "audit.jsonl").read_text().splitlines()
        [aggregate] = [r for r in map(json.loads, text) if r["kind"] == "aggregate"]
        assert 6 == sum(row["count"] for row in aggregate["counts"])


class TestDeadline:
    async def test_of_the_caller_bounds_its_body(self, tmp_path: Path) -> None:
        """A caller that has little time is told soon that its body did not come."""
        async with House(tmp_path).open() as visitor:
            exchange = await visitor.exchange(
                body(ASK[:9], more=True), headers={"request-timeout": "0.05"}
            )

        assert (408, "request-timeout") == (exchange.status, exchange.json()["code"])
        assert "0.05 seconds" in exchange.json()["detail"]

    async def test_of_the_caller_bounds_gigya(self, tmp_path: Path) -> None:
        """When the caller's time is over, it is told so, though Gigya may still answer."""
        house = House(tmp_path)
        house.simulator.knobs.turn(hold=asyncio.Event())
        async with house.open() as visitor:
            answer = await visitor.ask(headers={"request-timeout": "0.05"})

        assert (504, "upstream-timeout") == (answer.status_code, answer.json()["code"])
        assert "retry-after" in answer.headers
        assert ("upstream-timeout", 504) == tuple(
            house.records()[0][name] for name in ("outcome", "status")
        )


class TestSites:
    @staticmethod
    def house(directory: Path) -> House:
        made = House(directory)
        sites = made.settings["sites"]
        sites["blog"] = {**sites["shop"], "naming": "documented"}
        made.settings["callers"] = [
            caller("crm", grant(), grant(site="blog")),
            caller("newsletter", grant("authToken", site="blog")),
        ]
        return made

    async def test_must_be_named_where_there_are_several(self, tmp_path: Path) -> None:
        """A caller of two sites says which; one of a single site need not."""
        async with self.house(tmp_path).open() as visitor:
            unnamed = (await visitor.ask()).json()
            named = (await visitor.ask(site="blog")).json()
            sole = (await visitor.ask(token=OTHER_TOKEN)).json()

        assert ("invalid-request", 400) == (unnamed["code"], unnamed["status"])
        assert "site" in unnamed["detail"]
        assert ("blog", "blog") == (named["site"], sole["site"])

    async def test_unknown_and_ungranted_look_the_same(self, tmp_path: Path) -> None:
        """Nobody learns from a refusal which sites there are."""
        told = []
        async with self.house(tmp_path).open() as visitor:
            for site in ("shop", "nowhere", "SHOP"):
                problem = (await visitor.ask(token=OTHER_TOKEN, site=site)).json()
                problem.pop("audit_id")
                told.append(problem)

        assert [told[0]] * 3 == told
        assert ("access-denied", "site") == (told[0]["code"], told[0]["missing"])

    async def test_have_names_of_their_own_for_providers(self, tmp_path: Path) -> None:
        """A provider that only one site knows is unknown at another, and nothing to strangers."""
        made = self.house(tmp_path)
        made.settings["sites"]["shop"] = {
            **made.settings["sites"]["shop"],
            "providers": {"saml-acme": {"names": {"authToken": "assertion"}}},
        }
        async with made.open() as visitor:
            there = await visitor.ask(uid="user-saml-acme", provider="saml-acme", site="shop")
            elsewhere = await visitor.ask(uid="user-saml-acme", provider="saml-acme", site="blog")
            strangers = [
                await visitor.ask(token=OTHER_TOKEN, provider=provider, site="shop")
                for provider in ("saml-acme", "saml-acne", "twitter")
            ]

        assert {"assertion"} == set(there.json()["tokens"])
        assert "unknown-provider" == elsewhere.json()["code"]
        assert ["site"] * 3 == [answer.json()["missing"] for answer in strangers]


class TestSharing:
    async def test_requests_for_one_session_share_a_call(self, tmp_path: Path) -> None:
        """Two callers that ask at once cost one call, and each gets what it may have."""
        house = House(tmp_path)
        hold = asyncio.Event()
        house.simulator.knobs.turn(hold=hold)
        async with house.open() as visitor:
            tasks = [
                asyncio.create_task(visitor.ask(token=token))
                for token in (TOKEN, OTHER_TOKEN, TOKEN)
            ]
            await house.simulator.calls.arrive(1)
            for _ in range(200):  # far more turns of the loop than a request takes
                await asyncio.sleep(0)
            hold.set()
            told = [(await task).json() for task in tasks]

        assert 1 == house.simulator.calls.total
        both = {"oauth_token", "oauth_token_secret"}
        assert [both, {"oauth_token"}, both] == [set(answer["tokens"]) for answer in told]
        assert 3 == len({answer["audit_id"] for answer in told})

    async def test_a_failure_is_shared_and_each_has_its_record(self, tmp_path: Path) -> None:
        """What Gigya says to one it says to all who wait."""
        house = House(tmp_path)
        hold = asyncio.Event()
        house.simulator.knobs.turn(hold=hold, error_code=403009)
        async with house.open() as visitor:
            tasks = [asyncio.create_task(visitor.ask()) for _ in range(3)]
            await house.simulator.calls.arrive(1)
            hold.set()
            codes = [(await task).json()["code"] for task in tasks]

        assert ["reauthentication-required"] * 3 == codes
        assert [403009] * 3 == [record["upstream"]["error_code"] for record in house.records()]
