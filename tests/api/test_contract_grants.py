"""Live decision, ``/v1/grants`` and ``explain`` agree; report-only grants release nothing."""

import argparse
import io
import itertools
import random
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import pytest

from service.cli import explain
from tests.house import NOW, OTHER_TOKEN, TOKEN, House, Visitor, caller, grant, static
from tests.policy_oracle import verdict, would_deny

FIELDS: Final = ("authToken", "tokenSecret", "sessionHandle", "providerUID")
PROVIDERS: Final = ("facebook", "twitter", "google", "vkontakte", "saml-acme")
SITES: Final = ("shop", "blog", "wiki")
CALLERS: Final[Mapping[str, str]] = {"crm": TOKEN, "newsletter": OTHER_TOKEN}
BLOCKED: Final = "gcproxy_of-the-blocked"  # made up
EVERYBODY: Final[Mapping[str, str]] = {**CALLERS, "blocked": BLOCKED}
ASKED: Final[tuple[tuple[str, ...] | None, ...]] = (
    None,
    ("authToken",),
    ("tokenSecret", "tokenExpiration"),
    ("sessionHandle",),
    ("providerUID", "authToken"),
)
UID: Final = "user-everything"

Json = dict[str, Any]


def random_grants(chance: random.Random, least: int, most: int) -> list[Json]:
    return [
        grant(
            *chance.sample(FIELDS, chance.randint(1, 4)),
            site=chance.choice(SITES),
            providers=chance.choice(["all", chance.sample(PROVIDERS, chance.randint(1, 3))]),
            user_proof=chance.choice(["none", "none", "uid_signature"]),
        )
        for _ in range(chance.randint(least, most))
    ]


def house_of(directory: Path, chance: random.Random) -> House:
    house = House(directory)
    base = house.settings["sites"]["shop"]
    base["providers"] = {"saml-acme": {"names": {"authToken": "assertion"}}}
    house.settings["sites"] = {name: dict(base) for name in SITES}
    house.settings["authentication"][0]["tokens"].append(static("blocked", BLOCKED))
    house.settings["callers"] = [
        caller(name, *random_grants(chance, 1, 3), candidate_grants=random_grants(chance, 0, 2))
        for name in EVERYBODY
    ]
    house.settings["callers"][-1]["limits"] = {"in_flight": 0}
    return house


def proof(house: House) -> Json:
    timestamp = str(int(NOW))
    return {"timestamp": timestamp, "signature": house.gigya.site.sign_uid(UID, timestamp)}


async def live(
    visitor: Visitor, token: str, site: str, provider: str, fields: Any, **more: Any
) -> str:
    """Return ``allow`` or what is missing, as the service decides; a mistake is told as such."""
    asked: Json = {} if fields is None else {"fields": list(fields)}
    answer = await visitor.ask(token=token, uid=UID, provider=provider, site=site, **asked, **more)
    told = answer.json()
    return str(told.get("missing", told["code"] if answer.status_code == 400 else "allow"))


def explained(path: Path, name: str, site: str, provider: str, fields: Any, *, has: bool) -> str:
    """Return the same as ``explain`` decides."""
    args = argparse.Namespace(
        config=path,
        caller=name,
        site=site,
        provider=provider,
        field=None if fields is None else list(fields),
        user_proof=has,
    )
    said = io.StringIO()
    with redirect_stdout(said):
        status = explain.run(args)
    words = said.getvalue().split("\n")[0]
    assert (status == 0) is words.startswith("allowed: ")
    return "allow" if status == 0 else words.removeprefix("denied: missing ").partition(":")[0]


class TestAgreement:
    @pytest.mark.parametrize("seed", range(4))
    async def test_of_all_who_decide(self, seed: int, tmp_path: Path) -> None:
        """For random grants the service, ``explain`` and the oracle over ``/v1/grants`` agree."""
        chance = random.Random(seed)
        house = house_of(tmp_path, chance)
        written = tmp_path / "config.yaml"
        told: list[tuple[str, ...]] = []
        async with house.open() as visitor:
            written.write_bytes(house.files["/etc/proxy/config.yaml"])
            shown = {
                name: (await visitor.get("/v1/grants", token=token)).json()
                for name, token in EVERYBODY.items()
            }
            shown["blocked"]["blocked"] = True
            everything = list(itertools.product(EVERYBODY, SITES, PROVIDERS, ASKED, (True, False)))
            for name, site, provider, fields, has in chance.sample(everything, 180):
                more = {"uid_signature": proof(house)} if has else {}
                decided = await live(visitor, EVERYBODY[name], site, provider, fields, **more)
                expected, _ = verdict(shown[name], site, provider, fields, proof=has)
                explanation = explained(written, name, site, provider, fields, has=has)
                told.append((expected, decided, explanation))

        assert [(expected,) * 3 for expected, _, _ in told] == told
        assert {"allow", "blocked", "site", "provider"} <= {expected for expected, _, _ in told}

    @pytest.mark.parametrize("seed", range(4))
    async def test_nothing_is_released_that_is_not_granted(self, seed: int, tmp_path: Path) -> None:
        """What is in the record of a release is what the oracle allows, expiries with it."""
        chance = random.Random(100 + seed)
        house = house_of(tmp_path, chance)
        async with house.open() as visitor:
            asked = []
            for name, site, provider in itertools.product(CALLERS, SITES, PROVIDERS):
                asked.append((name, site, provider))
                await live(visitor, CALLERS[name], site, provider, None)

        rows = {row["name"]: row for row in house.settings["callers"]}
        for (name, site, provider), record in zip(asked, house.records(), strict=True):
            what, allowed = verdict(rows[name], site, provider, None, proof=False)
            assert what == ("allow" if record["decision"] == "allow" else record["reason"][8:])
            given = {field for field in record.get("released", []) if "Expiration" not in field}
            assert given <= allowed
            released = record.get("released", ()) if record["outcome"] == "released" else None
            lost = would_deny(rows[name], site, provider, None, proof=False, released=released)
            assert lost == record.get("would_deny")


class TestCandidateGrants:
    async def test_record_what_they_would_deny(self, tmp_path: Path) -> None:
        """A narrower candidate is counted and recorded, and takes nothing away."""
        house = House(tmp_path)
        house.settings["callers"][0]["candidate_grants"] = [grant("authToken")]
        async with house.open() as visitor:
            told = (await visitor.ask()).json()
            same = (await visitor.ask(fields=["authToken"])).json()
            metrics = (await visitor.manage("/metrics")).text

        assert {"oauth_token", "oauth_token_secret"} == set(told["tokens"])
        assert {"oauth_token"} == set(same["tokens"])
        assert [True, False] == [record["would_deny"] for record in house.records()]
        assert 'credential_proxy_would_deny_total{caller="crm"} 1.0' in metrics
        assert [True, False] == [line["would_deny"] for line in house.lines()]

    async def test_release_nothing_that_grants_do_not(self, tmp_path: Path) -> None:
        """A wider candidate opens no door."""
        house = House(tmp_path)
        house.settings["callers"][0]["grants"] = [grant("authToken")]
        house.settings["callers"][0]["candidate_grants"] = [grant(), grant(site="shop")]
        async with house.open() as visitor:
            told = (await visitor.ask()).json()
            denied = (await visitor.ask(fields=["tokenSecret"])).json()

        assert ({"oauth_token"}, ["oauth_token_secret"]) == (set(told["tokens"]), told["withheld"])
        assert ("access-denied", "field") == (denied["code"], denied["missing"])
        assert [False, None] == [record.get("would_deny") for record in house.records()]

    @pytest.mark.parametrize(
        ("grants", "candidate", "asked", "expected"),
        [
            ([grant("authToken")], grant("authToken"), {"fields": ["tokenSecret"]}, None),
            ([grant()], grant("authToken"), {"uid": "nobody"}, None),
            (
                [grant("authToken", "sessionHandle")],
                grant("authToken"),
                {"uid": "user-facebook", "provider": "facebook"},
                False,
            ),
            ([grant("authToken")], grant("authToken", providers=["qq"]), {}, True),
        ],
        ids=["denied anyhow", "no such user", "not in the reply", "another provider"],
    )
    async def test_count_what_would_change(
        self, tmp_path: Path, grants: list[Json], candidate: Json, asked: Json, *, expected: Any
    ) -> None:
        """Whoever waits for the count to stand still waits for releases, and for nothing else."""
        house = House(tmp_path)
        house.settings["callers"][0] |= {"grants": grants, "candidate_grants": [candidate]}
        async with house.open() as visitor:
            await visitor.ask(**asked)
            metrics = (await visitor.manage("/metrics")).text

        assert expected is house.records()[0].get("would_deny")
        counted = f'credential_proxy_would_deny_total{{caller="crm"}} {float(expected is True)}'
        assert counted in metrics

    async def test_are_not_shown_as_grants(self, tmp_path: Path) -> None:
        """``/v1/grants`` tells what a caller may have, not what it might."""
        house = House(tmp_path)
        house.settings["callers"][0]["grants"] = [grant("authToken", providers=["qq"])]
        house.settings["callers"][0]["candidate_grants"] = [grant()]
        async with house.open() as visitor:
            shown = (await visitor.get("/v1/grants")).json()
            told = (await visitor.ask(site="shop")).json()

        assert [["qq"]] == [row["providers"] for row in shown["grants"]]
        assert "access-denied" == told["code"]

    async def test_say_nothing_where_there_are_none(self, tmp_path: Path) -> None:
        """Without candidates nothing is recorded of them."""
        house = House(tmp_path)
        async with house.open() as visitor:
            await visitor.ask()

        assert "would_deny" not in house.records()[0]


class TestReload:
    async def test_a_grant_taken_away_is_gone_with_the_next_request(self, tmp_path: Path) -> None:
        """Callers are replaced while running: the next request has the new rules."""
        house = House(tmp_path)
        house.settings["cache"] = {"enabled": True}
        told = []
        async with house.open() as visitor:
            for grants in ([grant()], [grant("authToken")], [grant(providers=["qq"])]):
                house.settings["callers"][0]["grants"] = grants
                house.write_configuration()
                await visitor.look()
                told.append((await visitor.ask(site="shop")).json())

        assert {"oauth_token", "oauth_token_secret"} == set(told[0]["tokens"])
        assert {"oauth_token"} == set(told[1]["tokens"])
        assert "access-denied" == told[2]["code"]
        hashes = [record["configuration"] for record in house.records()]
        assert 3 == len(set(hashes))

    async def test_a_faulty_file_changes_nothing(self, tmp_path: Path) -> None:
        """The old rules stay, and metric and log say that the new ones are faulty."""
        house = House(tmp_path)
        async with house.open() as visitor:
            house.settings["callers"][0]["grants"][0]["site"] = "nowhere"
            house.write_configuration()
            await visitor.look()
            told = (await visitor.ask()).json()
            metrics = (await visitor.manage("/metrics")).text

        assert "tokens" in told
        assert 'credential_proxy_reload_faulty{name="configuration"} 1.0' in metrics
        assert "faulty" == house.lines("reload")[0]["outcome"]

    async def test_what_cannot_be_reloaded_is_refused_whole(self, tmp_path: Path) -> None:
        """A change beyond callers changes nothing, not even callers, and says what it was."""
        house = House(tmp_path)
        async with house.open() as visitor:
            house.settings["callers"][0]["grants"] = [grant(providers=["qq"])]
            house.settings["sites"]["shop"]["naming"] = "documented"
            house.write_configuration()
            await visitor.look()
            told = (await visitor.ask()).json()

        assert "tokens" in told
        assert "sites.shop.naming" in house.lines("reload")[0]["detail"]
