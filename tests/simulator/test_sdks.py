"""Requests as the official SDKs for PHP and Java compose them, sent to the simulator.

The SDKs themselves are not run: this says in our own words what their sources do (php_3.1.0 and
java_3.2.4: parameters, their order, both encodings, headers, the second attempt). That it says so
rightly is checked against signatures which the SDKs did compute (``tests/vectors/gigya.json``).
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlsplit

import httpx
import pytest

from service.simulator.world import GET_SESSION_INFO
from tests.simulator.asking import NOW, Asking, hmac_sha1, opened

VECTORS: Final = json.loads((Path(__file__).parents[1] / "vectors/gigya.json").read_text("utf-8"))[
    "requestSignature"
]
AWKWARD: Final = "a b~c*d+e/f&g=h!i'j(k)l%m?n#o:p@ ünï日本\U0001f600"
PORTS: Final = {"http": 80, "https": 443}

Params = dict[str, str]


def php_body(value: str) -> str:
    """Encode as ``http_build_query`` does: a blank is a plus, a tilde is not spared."""
    return quote_plus(value, safe="").replace("~", "%7E")


def java_body(value: str) -> str:
    """Encode as ``URLEncoder`` does, after the three replacements of the SDK."""
    return quote(value, safe="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """How one SDK's requests differ from another's."""

    version: str
    encode: Callable[[str], str]
    nonce: Callable[[float], str]
    headers: Mapping[str, str]
    keeps_timestamp: bool
    """Whether a request with a bearer token has a timestamp, too, signed by nothing."""


SDKS: Final = {
    "php": Sdk(
        version="php_3.1.0",
        encode=php_body,
        nonce=lambda now: f"{now * 1000:.0f}{random.randrange(2**31)}",
        headers={"accept": "*/*"},
        keeps_timestamp=True,
    ),
    "java": Sdk(
        version="java_3.2.4",
        encode=java_body,
        nonce=lambda now: f"{now * 1000:.0f}_{random.randrange(-(2**31), 2**31)}",
        headers={
            "accept-encoding": "gzip",
            "x-connection": "Keep-Alive",
            "user-agent": "Java/17.0.15",
            "accept": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        },
        keeps_timestamp=False,
    ),
}


def base_string(url: str, params: Mapping[str, str]) -> str:
    """Return what both sign: the port only where it is not the scheme's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = "" if parts.port in {None, PORTS[parts.scheme]} else f":{parts.port}"
    where = f"{parts.scheme}://{host}{port}{parts.path}"
    query = "&".join(f"{name}={quote(params[name], safe='')}" for name in sorted(params))
    return f"POST&{quote(where, safe='')}&{quote(query, safe='')}"


@dataclass(kw_only=True)
class Request:
    """One call by an SDK; ``secret`` signs it, or ``bearer`` is its Authorization header."""

    sdk: Sdk
    asking: Asking
    api_key: str
    secret: str | None = None
    user_key: str | None = None
    bearer: Mapping[str, str] | None = None
    offset: float = 0.0
    """Seconds by which the SDK thinks that its clock is behind."""

    async def send(self, clock: float, **more: str) -> httpx.Response:
        """Send it at ``clock`` seconds."""
        params = {**more, "format": "json", "httpStatusCodes": "false", "sdk": self.sdk.version}
        body = self._proved(params, clock + self.offset)
        return await self.asking.send(
            "POST",
            f"/{GET_SESSION_INFO}",
            content="&".join(f"{name}={self.sdk.encode(value)}" for name, value in body.items()),
            headers={
                "content-type": "application/x-www-form-urlencoded",
                **self.sdk.headers,
                **(self.bearer or {}),
            },
        )

    def _proved(self, params: Params, now: float) -> Params:
        timestamp = {"timestamp": f"{now:.0f}"}
        if self.secret is None and self.sdk.keeps_timestamp:
            return {**params, "apiKey": self.api_key, **timestamp}
        if self.secret is None:
            return {
                **params,
                "apiKey": self.api_key,
                **(timestamp if self.sdk.keeps_timestamp else {}),
            }
        user_key = {} if self.user_key is None else {"userKey": self.user_key}
        nonce = {"nonce": self.sdk.nonce(now)}
        whole = {**params, **user_key, "apiKey": self.api_key, **timestamp, **nonce}
        text = base_string(f"{self.asking.base}/{GET_SESSION_INFO}", whole)
        return {**whole, "sig": hmac_sha1(self.secret, text)}


@pytest.fixture(params=SDKS)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    """Be one of the SDKs."""
    return SDKS[request.param]


@pytest.fixture(
    params=["https://socialize.us1.gigya.com", "https://socialize.localhost:9321"],
    ids=["Gigya's name", "a port of its own"],
)
def there(request: pytest.FixtureRequest, asking: Asking) -> Asking:
    """Have the SDK's API domain lead to the simulator, under either name."""
    asking.base = request.param
    return asking


def with_user_key(sdk: Sdk, asking: Asking) -> Request:
    """Return a call that is signed with a user key's secret."""
    made = asking.made
    return Request(
        sdk=sdk,
        asking=asking,
        api_key=made.api_key,
        secret=made.user_secret,
        user_key=made.user_key,
    )


class TestWhatIsSaidOfThem:
    @pytest.mark.parametrize(
        "vector",
        [vector for vector in VECTORS if {"php", "java"} <= set(vector["agreedBy"])],
        ids=lambda vector: vector["name"],
    )
    def test_is_what_they_compute(self, vector: Mapping[str, Any]) -> None:
        """Base string and signature are those that both SDKs have computed."""
        text = base_string(vector["url"], vector["params"])

        assert vector["baseString"] == text
        assert vector["sig"] == hmac_sha1(vector["secretBase64"], text)


class TestSessionInfo:
    async def test_with_a_user_key(self, sdk: Sdk, there: Asking) -> None:
        """A signed request gets the session, sealed, and what is sealed opens."""
        answer = await with_user_key(sdk, there).send(
            NOW,
            UID="user-twitter",
            provider="twitter",
            encrypt="true",
            paddingMode="PKCS7",
        )

        reply = answer.json()
        assert (200, 0, "OK") == (answer.status_code, reply["errorCode"], reply["statusReason"])
        secret = opened(reply["tokenSecret"], reply["IV"], there.made.partner_secret)
        assert secret[: -secret[-1]]
        assert "ignoredParams" not in reply

    async def test_with_the_partner_secret(self, sdk: Sdk, there: Asking) -> None:
        """At an old site the partner secret signs; at one of today it is refused."""
        made = there.made
        codes = []
        for api_key in (made.legacy_api_key, made.api_key):
            call = Request(sdk=sdk, asking=there, api_key=api_key, secret=made.partner_secret)
            answer = await call.send(NOW, UID="user-twitter", provider="twitter")
            codes.append(answer.json()["errorCode"])

        assert [0, 403010] == codes

    async def test_with_a_bearer_token(self, sdk: Sdk, there: Asking) -> None:
        """A bearer token is enough, with the unsigned timestamp that PHP leaves there or not."""
        bearer = there.bearer()
        call = Request(sdk=sdk, asking=there, api_key=there.made.api_key, bearer=bearer)
        answer = await call.send(NOW, UID="user-twitter", provider="twitter")

        assert 0 == answer.json()["errorCode"]

    async def test_with_every_awkward_character(self, sdk: Sdk, there: Asking) -> None:
        """What is encoded in one way and signed in another is still the same."""
        call = with_user_key(sdk, there)
        answer = await call.send(NOW, UID="user-twitter", provider="twitter", cid=AWKWARD)

        assert 0 == answer.json()["errorCode"]

    async def test_spoiled(self, sdk: Sdk, there: Asking) -> None:
        """A signature by another key is refused in the words that their users know."""
        call = with_user_key(sdk, there)
        call.secret = there.made.partner_secret
        answer = await call.send(NOW, UID="user-twitter", provider="twitter")

        assert (200, 403003) == (answer.status_code, answer.json()["errorCode"])

    async def test_with_a_clock_that_is_wrong(self, there: Asking) -> None:
        """Java's second attempt, by the ``Date`` of the first one's refusal, succeeds."""
        call = with_user_key(SDKS["java"], there)
        asked = {"UID": "user-twitter", "provider": "twitter"}
        late = NOW - 600
        refused = await call.send(late, **asked)
        call.offset = parsedate_to_datetime(refused.headers["date"]).timestamp() - late
        again = await call.send(late, **asked)

        assert [403002, 0] == [each.json()["errorCode"] for each in (refused, again)]
