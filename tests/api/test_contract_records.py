"""Ten thousand random requests: what the record says was released is what was sent (issue 4)."""

import hmac
import json
import random
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from service.simulator import Body, ExpiryForm, Seal
from service.simulator.codes import NAMES
from tests.house import AUDIT_KEY, OTHER_TOKEN, TOKEN, Exchange, House, body, caller, grant

REQUESTS: Final = 10_000
GRANTED: Final[Mapping[str, frozenset[str]]] = {
    "crm": frozenset({"authToken", "tokenSecret", "sessionHandle", "providerUID"}),
    "newsletter": frozenset({"authToken"}),
}
FOLLOWS: Final = {"tokenExpiration": "authToken", "sessionExpiration": "sessionHandle"}

Chance = random.Random
Choice = Callable[[Chance], Any]

UIDS: Final = (
    *(["user-everything"] * 9),
    *("user-google-oauth1", "user-twitter", "user-facebook"),
    *("user-nobody", "user-expired", "user-unknown"),
)
PROVIDERS: Final = (
    *("facebook", "twitter", "google", "googleplus", "vkontakte", "xing", "linkedin"),
    *("livejournal", "Facebook"),
)
NAMES_OF_FIELDS: Final = (
    *("oauth_token", "access_token", "authToken", "tokenSecret", "oauth_token_secret"),
    *("refresh_token", "sessionHandle", "tokenExpiration", "providerUID", "nonsense"),
)
OPTIONAL: Final[Mapping[str, Choice]] = {
    "site": lambda chance: chance.choice(["shop", "shop", "shop", "blog"]),
    "fields": lambda chance: chance.sample(NAMES_OF_FIELDS, chance.randint(1, 2)),
    "min_ttl": lambda chance: chance.choice([0, 60, 3600, 7200, -1]),
    "max_age": lambda chance: chance.choice([0, 10, 100]),
    "context": lambda chance: chance.choice([None, 1, {"a": [10**30]}]),
    "verify_provider_uid": lambda chance: chance.choice([True, False, 1]),
}
KNOBS: Final[tuple[Choice, ...]] = (
    lambda chance: {"error_code": chance.choice(list(NAMES)) or None},
    lambda chance: {"seal": chance.choice(list(Seal))},
    lambda chance: {"body": chance.choice(list(Body))},
    lambda chance: {"expiry_form": chance.choice(list(ExpiryForm))},
    lambda _: {"members": {"authToken": None}},
    lambda _: {"members": {"tokenExpirationUTC": "2001-01-01 00:00:00"}},
)


def octets(chance: Chance) -> bytes:
    """Return a random body, most of them well."""
    members: dict[str, Any] = {"uid": chance.choice(UIDS), "provider": chance.choice(PROVIDERS)}
    for name, choose in OPTIONAL.items():
        if chance.random() < 0.06:
            members[name] = choose(chance)
    text = json.dumps(members).encode()
    return text if chance.random() < 0.96 else text[: chance.randrange(len(text))]


def headers(chance: Chance) -> dict[str, str]:
    token = chance.choice([TOKEN] * 6 + [OTHER_TOKEN] * 5 + ["gcproxy_of-nobody"])
    kind = "text/plain" if chance.random() < 0.02 else "application/json"
    return {"authorization": f"Bearer {token}", "content-type": kind}


def fingerprint(value: str) -> str:
    """Return the token's fingerprint, computed here (README, "Fingerprints")."""
    key = b64decode(AUDIT_KEY)
    key_id = hmac.digest(key, b"audit key id", "sha256").hex()[:8]
    mine = hmac.digest(key, b"audit token", "sha256")
    return f"{key_id}:{hmac.digest(mine, value.encode(), 'sha256').hex()[:32]}"


async def run(house: House, count: int) -> dict[str, Exchange]:
    """Send so many random requests; return the answers by audit id."""
    chance = random.Random(4)
    answers = {}
    async with house.open() as visitor:
        for _ in range(count):
            house.time.now += 1
            house.simulator.knobs.clear()
            if chance.random() < 0.15:
                house.simulator.knobs.turn(**chance.choice(KNOBS)(chance))
            path, method = "/v1/provider-tokens", "POST"
            if chance.random() < 0.03:
                path, method = chance.choice(["/v1/grants", "/v1/providers", "/x"]), "GET"
            exchange = await visitor.exchange(
                body(octets(chance)), method=method, path=path, headers=headers(chance)
            )
            answers[exchange.headers["audit-id"]] = exchange
    return answers


def house_of_all(directory: Path) -> House:
    house = House(directory)
    house.settings["callers"] = [
        caller("crm", grant(*sorted(GRANTED["crm"]))),
        caller("newsletter", grant("authToken")),
    ]
    house.settings["cache"] = {"enabled": True, "ttl": 5}
    house.settings["upstream"] = {"attempts": 1, "breaker": {"failures": 100, "window": 10}}
    return house


class TestRecords:
    async def test_say_what_was_sent(self, tmp_path: Path) -> None:
        """Names and fingerprints of each record are those of its answer, and within its grants."""
        house = house_of_all(tmp_path)

        answers = await run(house, REQUESTS)

        records = {record["audit_id"]: record for record in house.records()}
        assert set(answers) == set(records)
        for audit_id, exchange in answers.items():
            record, told = records[audit_id], exchange.json()
            assert exchange.status == record["status"]
            tokens = told.get("tokens", {}) if exchange.status == 200 else {}
            assert list(tokens) == record.get("names_released", [])
            texts = {name: value for name, value in tokens.items() if isinstance(value, str)}
            assert {name: fingerprint(value) for name, value in texts.items()} == (
                record.get("tokens", {})
            )
            released = {FOLLOWS.get(field, field) for field in record.get("released", [])}
            assert released <= GRANTED[record["caller"]["name"]] if released else True
            assert ("provider_uid" in told) is ("providerUID" in record.get("released", []))
            expected = "released" if "tokens" in told else told.get("code", "answered")
            assert expected == record["outcome"]

        outcomes = Counter(record["outcome"] for record in records.values())
        assert outcomes["released"] > REQUESTS / 4
        assert {
            *("answered", "not-found", "unauthenticated", "unsupported-media-type"),
            *("invalid-request", "unknown-provider", "access-denied", "no-session"),
            *("reauthentication-required", "token-expiring", "upstream-rejected"),
            *("upstream-invalid", "upstream-unavailable", "upstream-busy", "upstream-timeout"),
            "undecryptable",
        } <= set(outcomes)
        stream = (tmp_path / "audit.jsonl").read_text()
        assert not any(uid in stream for uid in UIDS)
        assert not any(f"{provider}-token-" in stream for provider in PROVIDERS)
