"""The textbook form: Starlette, three BaseHTTPMiddleware, httpx's pool, PyJWT, structlog.

What a careful tutorial would end with, and for its best showing: one shared client whose pool holds
every connection, keys parsed once, ``uvloop`` and ``httptools``, no access log.
"""

import argparse
import base64
import hashlib
import hmac
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import structlog
import uvicorn
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from prometheus_client import Counter, Histogram
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.benchmark.gigya import SECRET
from tests.benchmark.material import API_KEY, AUDIENCE, ISSUER, USER_KEY

Next = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger()
REQUESTS = Counter("requests", "Requests", ["caller", "outcome"])
SECONDS = Histogram("seconds", "Seconds", ["outcome"])
GRANTS = {("crm", "twitter"): ("authToken", "tokenSecret", "sessionHandle")}
NAMES = {
    "authToken": "oauth_token",
    "tokenSecret": "oauth_token_secret",
    "sessionHandle": "oauth_session_handle",
}


class RequestId(BaseHTTPMiddleware):
    """Gives each request an id."""

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Add the id."""
        request.state.id = uuid.uuid4().hex
        response = await call_next(request)
        response.headers["Audit-ID"] = request.state.id
        return response


class Timing(BaseHTTPMiddleware):
    """Counts each request and logs it."""

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Count and log."""
        began = time.perf_counter()
        response = await call_next(request)
        seconds, outcome = time.perf_counter() - began, str(response.status_code)
        caller = getattr(request.state, "caller", "none")
        REQUESTS.labels(caller, outcome).inc()
        SECONDS.labels(outcome).observe(seconds)
        log.info("request", id=request.state.id, caller=caller, status=outcome, seconds=seconds)
        return response


class Authentication(BaseHTTPMiddleware):
    """Verifies the token of each request."""

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Refuse, or say who calls."""
        _, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = jwt.decode(
                token, request.app.state.key, ["RS256"], audience=AUDIENCE, issuer=ISSUER
            )
        except jwt.InvalidTokenError:
            return JSONResponse({"code": "unauthenticated"}, 401)
        request.state.caller = claims["sub"].split(":")[2]
        return await call_next(request)


def signed(params: dict[str, str], url: str, key: bytes) -> dict[str, str]:
    """Return the form, signed as Gigya wants it."""
    form = {**params, "timestamp": str(int(time.time())), "nonce": uuid.uuid4().hex}
    query = "&".join(f"{name}={quote(form[name], safe='~')}" for name in sorted(form))
    base = f"POST&{quote(url, safe='~')}&{quote(query, safe='~')}"
    digest = hmac.new(key, base.encode(), hashlib.sha1).digest()
    return {**form, "sig": base64.b64encode(digest).decode()}


def opened(sealed: str, iv: bytes) -> str:
    """Return the plain text."""
    decryptor = Cipher(algorithms.AES(SECRET), modes.CBC(iv)).decryptor()
    padded = decryptor.update(base64.b64decode(sealed)) + decryptor.finalize()
    unpadder = PKCS7(128).unpadder()
    return (unpadder.update(padded) + unpadder.finalize()).decode()


async def provider_tokens(request: Request) -> Response:
    """Ask Gigya, decrypt, rename, record, release."""
    state, asked = request.app.state, await request.json()
    granted = GRANTS.get((request.state.caller, asked["provider"]))
    if granted is None:
        return JSONResponse({"code": "access-denied"}, 403)
    params = {
        "apiKey": API_KEY,
        "userKey": USER_KEY,
        "UID": asked["uid"],
        "provider": asked["provider"],
        "encrypt": "true",
        "format": "json",
        "httpStatusCodes": "false",
    }
    response = await state.client.post(state.url, data=signed(params, state.url, state.scoped))
    reply: dict[str, Any] = response.json()
    iv = base64.b64decode(reply["IV"])
    for name in ("tokenSecret", "sessionHandle"):
        reply[name] = opened(reply[name], iv)
    tokens = {NAMES[name]: reply[name] for name in granted if name in reply}
    log.info(
        "audit",
        id=request.state.id,
        caller=request.state.caller,
        uid=asked["uid"],
        provider=asked["provider"],
        released=list(tokens),
        call_id=reply["callId"],
    )
    return JSONResponse(
        {"provider": asked["provider"], "tokens": tokens, "gigya_call_id": reply["callId"]}
    )


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("upstream", type=int)
    given = parser.parse_args()
    middleware = [Middleware(each) for each in (RequestId, Timing, Authentication)]
    app = Starlette(
        routes=[Route("/v1/provider-tokens", provider_tokens, methods=["POST"])],
        middleware=middleware,
    )
    app.state.client = httpx.AsyncClient(
        verify=ssl.create_default_context(cafile=str(given.directory / "ca.pem")),
        limits=httpx.Limits(max_connections=512, max_keepalive_connections=512),
        timeout=30,
    )
    app.state.key = load_pem_public_key((given.directory / "issuer.pem").read_bytes())
    app.state.scoped = base64.b64decode((given.directory / "scoped").read_bytes())
    app.state.url = f"https://localhost:{given.upstream}/socialize.getSessionInfo"
    uvicorn.run(
        app, port=given.port, http="httptools", loop="uvloop", access_log=False, log_level="error"
    )


if __name__ == "__main__":
    main()
