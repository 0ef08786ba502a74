"""Each of the six ways to prove ourselves to Gigya, whole and spoiled, end to end."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from service.settings.findings import Faults
from service.settings.load import load
from service.simulator import build
from service.simulator.seeds import pem, throwaway_key
from tests.house import NOW, House

Tamper = Callable[[httpx.Request], httpx.Request]
Way = Callable[[House], Mapping[str, Any]]

ANOTHER_SECRET: Final = base64.b64encode(bytes(32))

WAYS: Final[Mapping[str, Way]] = {
    "bearer": lambda house: {
        "method": "bearer",
        "user_key": house.gigya.user_key,
        "key_file": "/secrets/user.pem",
    },
    "user_key": lambda house: {
        "method": "user_key",
        "user_key": house.gigya.user_key,
        "secret_file": "/secrets/user",
    },
    "user_key_signed": lambda house: {
        "method": "user_key_signed",
        "user_key": house.gigya.user_key,
        "secret_file": "/secrets/user",
    },
    "signed": lambda _: {"method": "signed", "secret_file": "/secrets/old"},
    "partner_secret": lambda _: {"method": "partner_secret", "secret_file": "/secrets/old"},
    "oauth2": lambda house: {
        "method": "oauth2",
        "user_key": house.gigya.user_key,
        "secret_file": "/secrets/user",
    },
    "oauth2 of the partner": lambda _: {"method": "oauth2", "secret_file": "/secrets/old"},
}
OLD: Final = frozenset({"signed", "partner_secret", "oauth2 of the partner"})
"""Ways that rest on the partner secret: only an old site takes them."""


def house(way: str, directory: Path) -> House:
    """Return a house that goes ``way``, at a site that takes it."""
    made = House(directory)
    site = made.settings["sites"]["shop"]
    site["authentication"] = {"current": dict(WAYS[way](made))}
    if way in OLD:
        site["api_key"] = made.gigya.legacy_api_key
    made.files["/secrets/old"] = made.gigya.partner_secret.encode()
    return made


async def outcome(made: House) -> tuple[int, str]:
    """Ask once; return the status and the record's reason."""
    async with made.open() as visitor:
        answer = await visitor.ask()
    return answer.status_code, made.records()[-1]["reason"]


class Between(httpx.AsyncBaseTransport):
    """Stands between us and Gigya and changes requests; sends each so often."""

    def __init__(self, made: House, tamper: Tamper, times: int = 1) -> None:
        self._gigya = httpx.ASGITransport(made.simulator)
        self._tamper = tamper
        self._times = times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, changed; answer with the last answer."""
        request.read()
        for _ in range(self._times):
            response = await self._gigya.handle_async_request(self._tamper(request))
        return response


def same(request: httpx.Request) -> httpx.Request:
    return rebuilt(request, dict(parse_qsl(request.content.decode(), keep_blank_values=True)))


def rebuilt(request: httpx.Request, form: dict[str, str], **headers: str) -> httpx.Request:
    lines = {
        name: value for name, value in request.headers.items() if name.lower() != "content-length"
    }
    body = urlencode(form).encode()
    return httpx.Request(request.method, request.url, headers={**lines, **headers}, content=body)


def changing(**changes: str | None) -> Tamper:
    """Return what changes, adds or takes out parameters."""

    def tamper(request: httpx.Request) -> httpx.Request:
        form = dict(parse_qsl(request.content.decode(), keep_blank_values=True))
        if "grant_type" in form:  # a token is asked for: another request's business
            return rebuilt(request, form)
        new = {name: value for name, value in {**form, **changes}.items() if value is not None}
        return rebuilt(request, new)

    return tamper


def claiming(**claims: Any) -> Tamper:
    """Return what changes the claims of a bearer JWT and keeps its signature."""

    def tamper(request: httpx.Request) -> httpx.Request:
        scheme, _, token = request.headers["authorization"].partition(" ")
        head, body, signature = token.split(".")
        told = json.loads(base64.urlsafe_b64decode(body + "=="))
        text = json.dumps({**told, **claims}).encode()
        body = base64.urlsafe_b64encode(text).rstrip(b"=").decode()
        form = dict(parse_qsl(request.content.decode(), keep_blank_values=True))
        return rebuilt(request, form, authorization=f"{scheme} {head}.{body}.{signature}")

    return tamper


class TestWhole:
    @pytest.mark.parametrize("way", WAYS)
    async def test_succeeds(self, way: str, tmp_path: Path) -> None:
        """Gigya takes the request, again and again, and each call has its own nonce."""
        made = house(way, tmp_path)

        async with made.open() as visitor:
            answers = [(await visitor.ask()).json() for _ in range(3)]

        session = made.gigya.site.users["user-twitter"]["twitter"]
        assert [{"oauth_token": session.auth_token, "oauth_token_secret": session.token_secret}] * (
            3
        ) == [answer["tokens"] for answer in answers]
        calls = list(made.simulator.calls.kept)
        assert {0, None} >= {call.error_code for call in calls}
        assert (4 if way.startswith("oauth2") else 3) == len(calls)

    async def test_pkcs8_is_a_key_like_pkcs1(self, tmp_path: Path) -> None:
        """The console gives PKCS#1, other tools PKCS#8: both are taken."""
        made = house("bearer", tmp_path)
        made.files["/secrets/user.pem"] = pem(made.gigya.private_key, PrivateFormat.PKCS8)

        assert (200, "granted") == await outcome(made)

    @pytest.mark.parametrize("way", sorted(OLD))
    async def test_the_partner_secret_is_refused_today(self, way: str, tmp_path: Path) -> None:
        """At a site of today the ways of the partner secret lead nowhere."""
        made = house(way, tmp_path)
        made.settings["sites"]["shop"]["api_key"] = made.gigya.api_key

        status, reason = await outcome(made)

        assert (502, True) == (status, reason in {"gigya-403010", "oauth-invalid_client"})


KEY: Final[Mapping[str, str]] = {
    "bearer": "gigya-403003",
    "user_key": "gigya-403010",
    "user_key_signed": "gigya-403003",
    "signed": "gigya-403003",
    "partner_secret": "gigya-403010",
    "oauth2": "oauth-invalid_client",
    "oauth2 of the partner": "oauth-invalid_client",
}
NONCE: Final = frozenset({"bearer", "user_key_signed", "signed"})
"""Ways whose requests are good once, and for a while."""

PARAMETERS: Final[tuple[tuple[str, str, Tamper, str], ...]] = (
    ("bearer", "jti", claiming(jti="0" * 32), "gigya-403003"),
    ("bearer", "iat", claiming(iat=int(NOW) + 1), "gigya-403003"),
    ("bearer", "apiKey", changing(apiKey="3_x"), "gigya-400093"),
    ("bearer", "a second way", changing(secret="x"), "gigya-400001"),
    ("user_key", "secret", changing(secret="x"), "gigya-403010"),
    ("user_key", "userKey", changing(userKey="x"), "gigya-403010"),
    ("user_key", "no secret", changing(secret=None), "gigya-403000"),
    ("user_key_signed", "UID", changing(UID="user-everything"), "gigya-403003"),
    ("user_key_signed", "timestamp", changing(timestamp=str(int(NOW) + 1)), "gigya-403003"),
    ("user_key_signed", "one more", changing(cid="x"), "gigya-403003"),
    ("user_key_signed", "one less", changing(paddingMode=None), "gigya-403003"),
    ("signed", "UID", changing(UID="user-everything"), "gigya-403003"),
    ("signed", "encrypt", changing(encrypt="false"), "gigya-403003"),
    ("signed", "sig", changing(sig="AAAAAAAAAAAAAAAAAAAAAAAAAAA="), "gigya-403003"),
    ("partner_secret", "secret", changing(secret="x"), "gigya-403010"),
    ("partner_secret", "apiKey", changing(apiKey="3_x"), "gigya-400093"),
    ("oauth2", "oauth_token", changing(oauth_token="x"), "gigya-403025"),
    ("oauth2 of the partner", "oauth_token", changing(oauth_token="x"), "gigya-403025"),
)
HTTP: Final[Mapping[str, str | None]] = {
    "bearer": "gigya-400001",
    "user_key": "gigya-403006",
    "user_key_signed": None,
    "signed": None,
    "partner_secret": "gigya-403006",
    "oauth2": "gigya-400001",
    "oauth2 of the partner": "gigya-400001",
}
"""What this Gigya says over plain HTTP; a signature alone may travel so (facts.md §3)."""


class TestSpoiled:
    @pytest.mark.parametrize("way", WAYS)
    async def test_by_another_key(self, way: str, tmp_path: Path) -> None:
        """With a key or secret that is not Gigya's it is our credentials that are refused."""
        made = house(way, tmp_path)
        made.files["/secrets/user"] = made.files["/secrets/old"] = ANOTHER_SECRET
        made.files["/secrets/user.pem"] = pem(throwaway_key(1))

        assert (502, KEY[way]) == await outcome(made)
        assert "upstream-rejected" == made.records()[-1]["outcome"]

    @pytest.mark.parametrize("way", WAYS)
    async def test_by_replay(self, way: str, tmp_path: Path) -> None:
        """What is sent a second time is refused where the way has a nonce, a fresh one too."""
        made = house(way, tmp_path)
        made.dial = lambda _: Between(made, same, times=2)

        expected = (502, "gigya-403004") if way in NONCE else (200, "granted")
        assert expected == await outcome(made)

    @pytest.mark.parametrize("way", WAYS)
    async def test_by_the_clock(self, way: str, tmp_path: Path) -> None:
        """A clock that is off, and a ``Date`` that does not help, is refused where time counts."""
        made = house(way, tmp_path)
        made.simulator = build(made.gigya.world, clock=lambda: made.time.now + 600)
        made.simulator.knobs.turn(date_offset=-600)

        expected = (502, "gigya-403002") if way in NONCE else (200, "granted")
        assert expected == await outcome(made)

    @pytest.mark.parametrize("way", sorted(NONCE))
    async def test_and_healed_by_gigyas_clock(self, way: str, tmp_path: Path) -> None:
        """Where Gigya's ``Date`` tells how far our clock is off, the second attempt is good."""
        made = house(way, tmp_path)
        made.simulator = build(made.gigya.world, clock=lambda: made.time.now + 600)

        assert (200, "granted") == await outcome(made)
        assert [403002, 0] == [call.error_code for call in made.simulator.calls.kept]

    @pytest.mark.parametrize(
        ("way", "tamper", "reason"),
        [(way, tamper, reason) for way, _, tamper, reason in PARAMETERS],
        ids=[f"{way}: {what}" for way, what, _, _ in PARAMETERS],
    )
    async def test_by_a_parameter(
        self, way: str, tamper: Tamper, reason: str, tmp_path: Path
    ) -> None:
        """A parameter changed on the way is refused as far as the way protects it."""
        made = house(way, tmp_path)
        made.dial = lambda _: Between(made, tamper)

        assert (502, reason) == await outcome(made)

    @pytest.mark.parametrize("way", WAYS)
    async def test_by_plain_http(self, way: str, tmp_path: Path) -> None:
        """Over plain HTTP, which only a simulator here can have, Gigya refuses what is secret."""
        made = house(way, tmp_path)
        site = made.settings["sites"]["shop"]
        del site["data_center"]
        site["simulator"] = {"url": "http://127.0.0.1:9321"}
        made.simulator = build(made.gigya.world, clock=made.time.wall)  # strict, as Gigya is

        reason = HTTP[way]
        assert ((502, reason) if reason else (200, "granted")) == await outcome(made)

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("url", ["http://gigya.example.com", "http://192.0.2.1:80"])
    def test_by_plain_http_elsewhere(self, way: str, url: str, tmp_path: Path) -> None:
        """The configuration knows no plain HTTP to another machine, whatever the way."""
        made = house(way, tmp_path)
        site = made.settings["sites"]["shop"]
        del site["data_center"]
        site["simulator"] = {"url": url}
        made.write_configuration()

        with pytest.raises(Faults, match="plain http is only for"):
            load(
                made.files["/etc/proxy/config.yaml"],
                read_file=None,
                now=datetime.fromtimestamp(NOW, UTC),
            )


class TestPrevious:
    async def test_serves_while_the_current_is_rejected(self, tmp_path: Path) -> None:
        """A key that Gigya does not know yet costs one call, and then the previous one serves."""
        made = house("bearer", tmp_path)
        ways = made.settings["sites"]["shop"]["authentication"]
        ways["previous"] = WAYS["user_key"](made)
        made.files["/secrets/user.pem"] = pem(throwaway_key(1))

        async with made.open() as visitor:
            statuses = [(await visitor.ask()).status_code for _ in range(3)]

        assert [200, 200, 200] == statuses
        assert [403003, 0, 0, 0] == [call.error_code for call in made.simulator.calls.kept]


class TestAccessToken:
    async def test_is_renewed_when_gigya_forgets_it(self, tmp_path: Path) -> None:
        """A token that Gigya has revoked is replaced within the same request."""
        made = house("oauth2", tmp_path)
        async with made.open() as visitor:
            assert 200 == (await visitor.ask()).status_code
            made.simulator.tokens.revoke_all()
            assert 200 == (await visitor.ask()).status_code

        methods = [call.method.partition(".")[2] for call in made.simulator.calls.kept]
        assert ["getToken", "getSessionInfo", "getSessionInfo", "getToken", "getSessionInfo"] == (
            methods
        )
