"""Gigya's signatures: of requests (facts.md §3b) and of UIDs and provider UIDs (§4)."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import quote, urlsplit

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class ProviderUidForm(StrEnum):
    """The two documented base strings of ``providerUIDSig``; which one holds is not known."""

    SESSION_INFO = "session_info"  # timestamp_providerUID
    IDENTITY = "identity"  # timestamp_provider_providerUID


def encode(text: str) -> str:
    """Percent-encode ``text`` as RFC 3986 says: all but A-Z a-z 0-9 - . _ ~ of its UTF-8."""
    return quote(text, safe="")


def normalised(url: str) -> str:
    """Return ``url`` as it is signed: scheme and host in lower case, no default port, no query."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in {None, DEFAULT_PORTS.get(parts.scheme)} else f":{parts.port}"
    return f"{parts.scheme.lower()}://{host}{port}{parts.path}"


def base_string(http_method: str, url: str, parameters: Mapping[str, str]) -> str:
    """Return what a request's signature is of; ``sig`` itself is left out."""
    query = "&".join(f"{k}={encode(v)}" for k, v in sorted(parameters.items()) if k != "sig")
    return "&".join((http_method.upper(), encode(normalised(url)), encode(query)))


def sign(text: str, secret: str) -> str:
    """Return base64(HMAC-SHA1(base64-decoded ``secret``, ``text``))."""
    digest = hmac.new(base64.b64decode(secret), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def sign_uid(uid: str, timestamp: str, secret: str) -> str:
    """Return ``UIDSignature``, which Gigya hands to the user's browser."""
    return sign(f"{timestamp}_{uid}", secret)


def sign_provider_uid(
    form: ProviderUidForm, *, provider: str, provider_uid: str, timestamp: str, secret: str
) -> str:
    """Return ``providerUIDSig`` over the base string that ``form`` names."""
    middle = f"{provider}_" if form is ProviderUidForm.IDENTITY else ""
    return sign(f"{timestamp}_{middle}{provider_uid}", secret)


def same(signature: str, expected: str) -> bool:
    """Compare two signatures by their octets; what is not base64 equals nothing."""
    try:
        octets = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(octets, base64.b64decode(expected))
