"""What every form needs: keys, certificates, callers' tokens, and requests as they travel."""

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from joserfc import jwt
from joserfc.jwk import RSAKey

from service.simulator import Authority
from tests import pki
from tests.benchmark.gigya import SECRET
from tests.benchmark.load import USER

CALLERS: Final = 8
"""Different tokens in use; every connection keeps to one."""

ISSUER: Final = "https://cluster.benchmark.example"
AUDIENCE: Final = "gigya-credential-proxy"
USER_KEY: Final = "ABenchmarkUserKey"
API_KEY: Final = "3_benchmark"

HOLDER: Final = "localhost"
"""Whom the client certificate names."""

SCOPED: Final = base64.b64encode(bytes(range(7, 39)))
"""The user key's secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The folder that a run works in."""

    directory: Path

    def __getitem__(self, name: str) -> str:
        return str(self.directory / name)

    def write(self) -> None:
        """Make everything anew."""
        authority = Authority()
        self._put("ca.pem", authority.pem)
        server = authority.certificate(["localhost", "127.0.0.1"])
        self._put("server.pem", server.certificate)
        self._put("server.key", server.key)
        self._put("gigya.pem", server.key + server.certificate)
        callers = pki.Authority("Callers")
        leaf = callers.issue()  # it names localhost
        self._put("callers.pem", callers.pem)
        self._put("caller.pem", leaf.key + leaf.certificate)
        self._put("secret", base64.b64encode(SECRET))
        self._put("scoped", SCOPED)
        self._put("user-key.pem", RSAKey.generate_key(2048).as_pem(private=True))
        self._put("audit", base64.b64encode(bytes(range(100, 132))))
        key = RSAKey.generate_key(2048, {"kid": "benchmark", "use": "sig", "alg": "RS256"})
        self._put("jwks.json", json.dumps({"keys": [key.as_dict(private=False)]}).encode())
        self._put("issuer.pem", key.as_pem(private=False))
        tokens = [_token(key, number) for number in range(CALLERS)]
        self._put("requests.json", json.dumps([_asking(token) for token in tokens]).encode())
        self._put("bare.json", json.dumps([_asking(None)]).encode())
        self._put("direct.json", json.dumps([_direct()]).encode())

    def _put(self, name: str, content: bytes) -> None:
        (self.directory / name).write_bytes(content)


def _token(key: RSAKey, number: int) -> str:
    """Return a token as Kubernetes gives one to a pod."""
    now = int(time.time())
    bound = {
        "namespace": "crm",
        "node": {"name": "node-1", "uid": "3f2b6c0e-5b3e-4d2c-9f3e-000000000001"},
        "pod": {"name": f"sync-{number}", "uid": f"5b3e4d2c-9f3e-4d2c-9f3e-{number:012}"},
        "serviceaccount": {"name": f"sync-{number}", "uid": f"9f3e4d2c-5b3e-4d2c-{number:016}"},
        "warnafter": now + 3600,
    }
    claims = {
        "aud": [AUDIENCE],
        "exp": now + 86_400,
        "iat": now,
        "nbf": now,
        "iss": ISSUER,
        "jti": f"00000000-0000-0000-0000-{number:012}",
        "kubernetes.io": bound,
        "sub": f"system:serviceaccount:crm:sync-{number}",
    }
    return jwt.encode({"alg": "RS256", "kid": "benchmark"}, claims, key)


def _asking(token: str | None) -> str:
    body = json.dumps({"uid": USER.decode(), "provider": "twitter"})
    credential = f"Authorization: Bearer {token}\r\n" if token else ""
    return (
        "POST /v1/provider-tokens HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nAccept: */*\r\n{credential}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )


def _direct() -> str:
    """Return what a caller would send to Gigya itself."""
    body = f"apiKey={API_KEY}&userKey={USER_KEY}&UID={USER.decode()}&provider=twitter&format=json"
    return (
        "POST /socialize.getSessionInfo HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
