"""Every row x padding x encryption x naming, against a table written from the documents alone.

Source: facts.md §1.6 and §1.7; nothing of the service's own table is imported here.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from service.simulator import Connection
from tests.house import NOW, House

A: Final = {"authToken": "access_token", "tokenExpiration": "expires"}
B: Final = {
    "authToken": "oauth_token",
    "tokenSecret": "oauth_token_secret",
    "tokenExpiration": "oauth_expires_in",
    "sessionHandle": "oauth_session_handle",
    "sessionExpiration": "oauth_authorization_expires_in",
}
C: Final = {
    "authToken": "access_token",
    "tokenExpiration": "expires_in",
    "sessionHandle": "refresh_token",
}
OWN: Final = {"authToken": "assertion", "sessionHandle": "handle"}
"""What a site calls the fields of a provider of its own."""

DOCUMENTED: Final[Mapping[str, Mapping[str, str]]] = {
    "facebook": A,
    **dict.fromkeys(("twitter", "google", "yahoo", "hi5", "kaixin", "linkedin"), B),
    **dict.fromkeys(("skyrock", "vznet"), B),
    **dict.fromkeys(("foursquare", "microsoft", "mixi", "qq", "renren", "sina", "vkontakte"), C),
}
INFERRED: Final[Mapping[str, Mapping[str, str]]] = {
    **dict.fromkeys(("xing", "myspace", "orkut"), B),
    **dict.fromkeys(("odnoklassniki", "instagram", "wordpress", "amazon", "paypaloauth"), C),
    **dict.fromkeys(("line", "wechat", "yahoojapan", "apple", "kakao", "naver"), C),
    **dict.fromkeys(("spiceworks", "blogger"), C),
}
CONFIGURED: Final[Mapping[str, Mapping[str, str]]] = {
    "saml-acme": OWN,
    "oidc-acme": C,
}
"""What these tests' site puts in place of the table, or beside it."""
UNMAPPED: Final = ("livejournal", "aol", "livedoor", "netlog", "orangefr", "orangefrance")
ALIASES: Final = {"googleplus": "google", "messenger": "microsoft", "paypal": "paypaloauth"}

PADDINGS: Final = ("PKCS7", "PKCS5", "ZEROS")
ENCRYPTIONS: Final[Mapping[str, tuple[Mapping[str, str], frozenset[str]]]] = {
    "secrets": ({"mode": "required", "scope": "secrets"}, frozenset()),
    "all": ({"mode": "required", "scope": "all"}, frozenset()),
    "preferred-plain": ({"mode": "preferred", "scope": "secrets"}, frozenset({"encrypt"})),
    "preferred-sealed": ({"mode": "preferred", "scope": "secrets"}, frozenset()),
}
"""What the site asks for, and what this Gigya ignores of it."""
NAMINGS: Final = ("reply", "documented")

ISSUE: Final = (
    "facebook twitter googleplus yahoo hi5 kaixin linkedin skyrock vznet foursquare messenger "
    "mixi qq renren sina vkontakte odnoklassniki xing instagram wordpress livejournal"
)
"""The providers that the two documents name, as issue 2 lists them."""
TODAY: Final = (
    "facebook twitter google linkedin yahoo microsoft foursquare renren qq sina vkontakte mixi "
    "yahoojapan spiceworks odnoklassniki amazon xing wechat wordpress blogger paypaloauth netlog "
    "line livedoor aol orangefr"
)
"""The current documentation's (facts.md §1.7)."""


@dataclass(frozen=True)
class Shape:
    """What a reply holds beside the token; lengths fill a block, or do not."""

    has_secret: bool
    has_handle: bool
    has_expiries: bool
    length: int

    def fields(self, provider: str) -> dict[str, str | int]:
        """Return Gigya's fields, expiries as seconds left."""
        given: dict[str, str | int] = {"authToken": self._text(provider, "token")}
        if self.has_secret:
            given["tokenSecret"] = self._text(provider, "secret")
        if self.has_handle:
            given["sessionHandle"] = self._text(provider, "handle")
        if self.has_expiries:
            given["tokenExpiration"] = 3600
        if self.has_expiries and self.has_handle:
            given["sessionExpiration"] = 86_400
        return given

    def connection(self, provider: str) -> Connection:
        """Return the same as Gigya keeps it."""
        given = self.fields(provider)
        return Connection(
            auth_token=str(given["authToken"]),
            token_secret=str(given.get("tokenSecret", "")),
            session_handle=str(given.get("sessionHandle", "")),
            token_expires_at=NOW + 3600 if self.has_expiries else None,
            # An expiry of a handle that is not there says nothing.
            session_expires_at=NOW + 86_400 if self.has_expiries else None,
            provider_uid="42",
        )

    def _text(self, provider: str, name: str) -> str:
        return f"{provider}-{name}-".ljust(self.length, "~")


SHAPES: Final = {
    "whole": Shape(has_secret=True, has_handle=True, has_expiries=True, length=32),
    "without a secret": Shape(has_secret=False, has_handle=True, has_expiries=True, length=31),
    "secret alone": Shape(has_secret=True, has_handle=False, has_expiries=False, length=33),
    "token alone": Shape(has_secret=False, has_handle=False, has_expiries=True, length=48),
}


def column(provider: str, naming: str, shape: Shape) -> Mapping[str, str]:
    """Return the names by the four cases of the README: fixed, pinned, reply with a secret, none.

    Facebook is always Facebook, and what the site configured always what it configured.
    """
    if provider in CONFIGURED:
        return CONFIGURED[provider]
    documented = {**DOCUMENTED, **INFERRED}[provider]
    if documented is A or naming == "documented":
        return documented
    return B if shape.has_secret else C


def expected(provider: str, naming: str, shape: Shape) -> dict[str, str | int]:
    """Return the tokens that a caller with every grant must get."""
    names = column(provider, naming, shape)
    given = shape.fields(provider)
    return {names[field]: value for field, value in given.items() if field in names}


def house(directory: Path, padding: str, encryption: str, naming: str) -> House:
    asked, ignored = ENCRYPTIONS[encryption]
    made = House(directory)
    site = made.settings["sites"]["shop"]
    site["encryption"] = {**asked, "padding": padding}
    site["naming"] = naming
    site["providers"] = {
        "saml-acme": {"names": dict(OWN)},
        "oidc-acme": {"names": "oauth2"},
    }
    made.gigya.world.change(made.gigya.api_key, ignores=ignored)
    for name, shape in SHAPES.items():
        for provider in PROVIDERS:
            made.gigya.world.connect(made.gigya.api_key, name, provider, shape.connection(provider))
    return made


PROVIDERS: Final = (*DOCUMENTED, *INFERRED, "saml-acme", "oidc-acme")
VARIANTS: Final = list(itertools.product(PADDINGS, ENCRYPTIONS, NAMINGS))


class TestMatrix:
    @pytest.mark.parametrize(
        ("padding", "encryption", "naming"), VARIANTS, ids=["-".join(v) for v in VARIANTS]
    )
    async def test_answers_as_the_documents_say(
        self, padding: str, encryption: str, naming: str, tmp_path: Path
    ) -> None:
        """For every provider and every shape of a reply the names and values are those expected."""
        made = house(tmp_path, padding, encryption, naming)
        told: dict[tuple[str, str], Any] = {}
        asked: list[tuple[str | None, ...]] = []
        async with made.open() as visitor:
            for provider, uid in itertools.product(PROVIDERS, SHAPES):
                answer = (await visitor.ask(uid=uid, provider=provider)).json()
                told[provider, uid] = answer.get("tokens", answer)
                call = made.simulator.calls.last
                asked.append(tuple(map(call.get, ("encrypt", "encryptAll", "paddingMode"))))

        assert {
            (provider, uid): expected(provider, naming, SHAPES[uid])
            for provider, uid in itertools.product(PROVIDERS, SHAPES)
        } == told
        switch = (None, "true") if encryption == "all" else ("true", None)
        assert {(*switch, padding)} == set(asked)
        is_sealed = {
            uid: encryption == "all"
            or (encryption != "preferred-plain" and (shape.has_secret or shape.has_handle))
            for uid, shape in SHAPES.items()
        }
        slots = [record.get("key_slot") for record in made.records()]
        assert [0 if is_sealed[uid] else None for _ in PROVIDERS for uid in SHAPES] == slots


class TestBesideTheMatrix:
    @pytest.mark.parametrize("alias", ALIASES)
    async def test_aliases(self, alias: str, tmp_path: Path) -> None:
        """A documented alias is its canonical row."""
        async with house(tmp_path, "PKCS7", "secrets", "reply").open() as visitor:
            told = (await visitor.ask(uid="whole", provider=alias)).json()

        assert ALIASES[alias] == told["provider"]
        assert expected(ALIASES[alias], "reply", SHAPES["whole"]) == told["tokens"]

    @pytest.mark.parametrize("provider", UNMAPPED)
    async def test_without_a_mapping(self, provider: str, tmp_path: Path) -> None:
        """What no document maps and no protocol names is refused, not guessed."""
        made = house(tmp_path, "PKCS7", "secrets", "reply")
        async with made.open() as visitor:
            told = (await visitor.ask(uid="user-everything", provider=provider)).json()

        assert "unknown-provider" == told["code"]
        assert "unmapped-provider" == made.records()[0]["reason"]

    async def test_the_table_of_the_api(self, tmp_path: Path) -> None:
        """``GET /v1/providers`` shows these rows, sources and names, and no others."""
        async with House(tmp_path).open() as visitor:
            rows = (await visitor.get("/v1/providers")).json()["providers"]

        shown = {row["provider"]: (row["source"], row.get("names")) for row in rows}
        assert {
            **{name: ("documented", dict(names)) for name, names in DOCUMENTED.items()},
            **{name: ("inferred", dict(names)) for name, names in INFERRED.items()},
            **{name: ("unmapped", None) for name in UNMAPPED if name != "orangefrance"},
        } == shown
        aliases = {alias: row["provider"] for row in rows for alias in row["aliases"]}
        assert {**ALIASES, "orangefrance": "orangefr"} == aliases

    async def test_both_document_lists_are_covered(self) -> None:
        """Every provider that issue 2 or today's documentation names has a row here."""
        known = {*DOCUMENTED, *INFERRED, *UNMAPPED, *ALIASES}

        assert set() == {*ISSUE.split(), *TODAY.split()} - known

    async def test_a_row_that_the_site_overrides(self, tmp_path: Path) -> None:
        """A column given to a known row holds by each of its names, and whatever the reply."""
        made = house(tmp_path, "PKCS7", "secrets", "reply")
        made.settings["sites"]["shop"]["providers"] = {"messenger": {"names": "facebook"}}
        async with made.open() as visitor:
            told = [
                (await visitor.ask(uid="whole", provider=name)).json()["tokens"]
                for name in ("messenger", "microsoft")
            ]

        given = SHAPES["whole"].fields("microsoft")
        assert [{names: given[field] for field, names in A.items()}] * 2 == told
