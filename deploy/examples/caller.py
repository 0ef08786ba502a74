"""A caller in Python: asks for provider tokens, and does what each refusal asks for.

``PROXY_URL=https://… TOKEN_FILE=/token/token python caller.py UID PROVIDER``; needs httpx.
"""

import os
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx

ATTEMPTS: Final = 3


class LogInAgain(Exception):
    """The user's session at the provider is over: only the user can open another."""


def provider_tokens(
    client: httpx.Client,
    token_file: Path,
    uid: str,
    provider: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Return the provider's tokens by the provider's names. Raises ``LogInAgain``, httpx errors."""
    for attempt in range(1, ATTEMPTS + 1):
        answer = client.post(
            "/v1/provider-tokens",
            json={"uid": uid, "provider": provider},
            # Read for each request: the kubelet renews a projected token in its file.
            headers={"Authorization": f"Bearer {token_file.read_text().strip()}"},
        )
        if answer.is_success:
            tokens: dict[str, Any] = answer.json()["tokens"]
            return tokens
        problem = answer.json()
        if problem["code"] in {"no-session", "reauthentication-required"}:
            raise LogInAgain(problem["audit_id"])
        if not problem["retryable"] or attempt == ATTEMPTS:
            break
        sleep(float(answer.headers.get("Retry-After", "1")))
    answer.raise_for_status()
    raise AssertionError


def main() -> None:
    """Ask once and print the names of what came, never the values."""
    ca_file = os.environ.get("CA_FILE")
    verify = ssl.create_default_context(cafile=ca_file)
    with httpx.Client(base_url=os.environ["PROXY_URL"], verify=verify, timeout=15) as client:
        tokens = provider_tokens(client, Path(os.environ["TOKEN_FILE"]), *sys.argv[1:3])
    print(*sorted(tokens))


if __name__ == "__main__":
    main()
