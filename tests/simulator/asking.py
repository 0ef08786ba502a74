"""A client of the simulator that makes its own signatures and opens seals by itself."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from joserfc import jwk, jwt

from service.simulator import Knobs, Seeded, Simulator, build, seeded
from service.simulator.world import GET_SESSION_INFO, GET_TOKEN

NOW: Final = 1_800_000_000.0
BASE: Final = "https://socialize.us1.gigya.com"


@dataclass(slots=True)
class Time:
    """A clock that moves when it is told."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True, eq=False)
class Asking:
    """A simulator, and calls to it in process as a customer would make them."""

    time: Time = field(default_factory=Time)
    made: Seeded = field(default_factory=lambda: seeded(0, now=NOW))
    options: Mapping[str, Any] = field(default_factory=dict)
    gigya: Simulator = field(init=False)
    peer: str = "127.0.0.1"
    base: str = BASE

    def __post_init__(self) -> None:
        self.gigya = build(self.made.world, Knobs(), clock=self.time, **self.options)

    async def send(self, http_method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer to one request in process."""
        transport = httpx.ASGITransport(self.gigya, client=(self.peer, 40_000))
        async with httpx.AsyncClient(transport=transport, base_url=self.base) as client:
            return await client.request(http_method, path, **options)

    async def post(self, method: str, form: Mapping[str, str], **options: Any) -> dict[str, Any]:
        """Return the JSON reply to a form."""
        response = await self.send("POST", f"/{method}", data=dict(form), **options)
        reply: dict[str, Any] = json.loads(response.content)
        return reply

    def form(self, **more: str) -> dict[str, str]:
        """Return a good form without credentials; ``more`` is put over it."""
        basis = {"apiKey": self.made.api_key, "UID": "user-twitter", "provider": "twitter"}
        return {**basis, **more}

    def with_secret(self, **more: str) -> dict[str, str]:
        """Return a good form with user key and secret."""
        secret = {"userKey": self.made.user_key, "secret": self.made.user_secret}
        return self.form(**{**secret, **more})

    async def ask(self, **more: str) -> dict[str, Any]:
        """Return the reply to ``with_secret``."""
        return await self.post(GET_SESSION_INFO, self.with_secret(**more))

    async def code(self, **more: str) -> int:
        """Return the error code of ``ask``."""
        return int((await self.ask(**more))["errorCode"])

    def signed(
        self, form: Mapping[str, str], secret: str, *, nonce: str = "n-1", method: str = "POST"
    ) -> dict[str, str]:
        """Return ``form`` with timestamp, nonce and a signature of our own making."""
        whole = {"timestamp": str(int(self.time.now)), "nonce": nonce, **form}
        query = "&".join(f"{name}={quote(whole[name], safe='')}" for name in sorted(whole))
        url = f"{self.base}/{GET_SESSION_INFO}"
        text = f"{method}&{quote(url, safe='')}&{quote(query, safe='')}"
        return {**whole, "sig": hmac_sha1(secret, text)}

    def bearer(self, jti: str = "j-1", **members: Any) -> dict[str, str]:
        """Return the Authorization header of a token by another library's hand."""
        header = {"alg": "RS256", "typ": "JWT", "kid": members.pop("kid", self.made.user_key)}
        key = jwk.RSAKey.import_key(members.pop("key", self.made.private_key))
        claims = {"iat": int(self.time.now), "jti": jti, **members}
        return {"authorization": f"Bearer {jwt.encode(header, claims, key)}"}

    async def ask_with(self, headers: Mapping[str, str], **more: str) -> dict[str, Any]:
        """Return the reply to a form whose credentials are in ``headers``."""
        return await self.post(GET_SESSION_INFO, self.form(**more), headers=dict(headers))

    async def access_token(self, **more: str) -> str:
        """Return an OAuth 2 access token of the user key."""
        reply = await self.post(GET_TOKEN, self.token_form(**more))
        return str(reply["access_token"])

    def token_form(self, **more: str) -> dict[str, str]:
        """Return a good form for ``socialize.getToken`` with the user key."""
        return {
            "grant_type": "none",
            "client_id": self.made.api_key,
            "userKey": self.made.user_key,
            "secret": self.made.user_secret,
            **more,
        }


def hmac_sha1(secret: str, text: str) -> str:
    """Return base64 of the HMAC-SHA1 of ``text``."""
    digest = hmac.digest(base64.b64decode(secret), text.encode(), hashlib.sha1)
    return base64.b64encode(digest).decode()


def opened(sealed: str, iv: str, secret: str) -> bytes:
    """Return what is in ``sealed``, its padding included."""
    key, vector = base64.b64decode(secret), base64.b64decode(iv)
    decryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
    return decryptor.update(base64.b64decode(sealed)) + decryptor.finalize()
