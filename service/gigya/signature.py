"""How Gigya signs: base strings, HMAC-SHA1, and the texts whose signatures prove an id.

Source: facts.md §3b (requests) and §4 (UID and provider UID), official SDKs.
"""

import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

from service.model import Uid, UidSignature
from service.secret import Secret

_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class NotBase64(ValueError):
    """The text is not base64 as RFC 4648 §4 writes it."""


def octets_of(text: str) -> bytes:
    """Return what ``text`` encodes in strict base64: alphabet, padding and spare bits are exact.

    Raises ``NotBase64``, which holds nothing of the text.
    """
    try:
        octets = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        octets = b""
    # Encoding again refuses what decoders forgive: spare bits that are set, line ends.
    if binascii.b2a_base64(octets, newline=False).decode("ascii") != text:
        raise NotBase64("not base64")
    return octets


def mac_of(key: bytes) -> HMAC:
    """Return a MAC that has taken its key, which costs more than to sign: HMAC-SHA1."""
    return HMAC(key, SHA1())  # noqa: S303  # the algorithm is Gigya's choice


def digest(text: str, key: HMAC) -> bytes:
    """Return the MAC of ``text`` in UTF-8 under ``key``, which is left as it was."""
    mac = key.copy()
    mac.update(text.encode("utf-8"))
    return mac.finalize()


def sign(text: str, key: HMAC) -> str:
    """Return the signature of ``text`` in base64, as Gigya sends and expects it."""
    return binascii.b2a_base64(digest(text, key), newline=False).decode("ascii")


def is_signature(text: str, key: HMAC, signature: str) -> bool:
    """Whether ``signature`` is that of ``text``, compared as octets in constant time."""
    try:
        given = octets_of(signature)
    except NotBase64:
        given = b""
    return hmac.compare_digest(digest(text, key), given)


def encoded_form(params: Mapping[str, str]) -> str:
    """Return ``params`` as a form, percent-encoded: as it is sent and as it is signed.

    Names are sorted by code point, which is also the order of their UTF-8 octets.
    """
    pairs = sorted(params.items())
    if not _is_unreserved("".join([*params, *params.values()])):  # few forms have what to encode
        pairs = [(encoded(name), encoded(value)) for name, value in pairs]
    return "&".join(map("=".join, pairs))


def base_string(method: str, url: str, form: str) -> str:
    """Return what is signed of a request: its ``form`` as it is sent, but for ``sig``.

    Names must hold nothing to encode, as all of Gigya's: the SDKs would encode them only once.
    """
    # Encoded once for itself and once more as a whole: these three are all that is left to do.
    query = form.replace("%", "%25").replace("=", "%3D").replace("&", "%26")
    return f"{method.upper()}&{_encoded_target(url)}&{query}"


def encoded(text: str) -> str:
    """Percent-encode what RFC 3986 does not leave unreserved."""
    return text.translate(_ENCODED) if text.isascii() else quote(text, safe="")


_is_unreserved: Final = re.compile(r"[A-Za-z0-9._~-]*").fullmatch
_ENCODED: Final = {
    code: chr(code) if _is_unreserved(chr(code)) else f"%{code:02X}" for code in range(128)
}


@lru_cache(maxsize=256)  # a process has a few URLs, and each request signs one of them
def _encoded_target(url: str) -> str:
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "")
    named = f"[{host}]" if ":" in host else host
    is_default = parts.port is None or parts.port == _DEFAULT_PORTS.get(scheme)
    port = "" if is_default else f":{parts.port}"
    return encoded(f"{scheme}://{named}{port}{parts.path}")


class BaseString(StrEnum):
    """Which text ``providerUIDSig`` signs: two pages of Gigya's documentation disagree."""

    EITHER = "either"
    SESSION_INFO = "session_info"
    IDENTITY = "identity"


_PROVIDER_UID_TEXTS: Final[Mapping[BaseString, Callable[[str, str, str], tuple[str, ...]]]] = {
    BaseString.SESSION_INFO: lambda time, _, uid: (f"{time}_{uid}",),
    BaseString.IDENTITY: lambda time, provider, uid: (f"{time}_{provider}_{uid}",),
    BaseString.EITHER: lambda time, provider, uid: (f"{time}_{uid}", f"{time}_{provider}_{uid}"),
}


def provider_uid_texts(
    form: BaseString, *, timestamp: str, provider: str, provider_uid: str
) -> tuple[str, ...]:
    """Return the texts of which one must be signed for the provider UID to be proved."""
    return _PROVIDER_UID_TEXTS[form](timestamp, provider, provider_uid)


def uid_text(*, timestamp: str, uid: str) -> str:
    """Return the text that ``UIDSignature`` signs."""
    return f"{timestamp}_{uid}"


def is_fresh(timestamp: str, *, now: float, window: float) -> bool:
    """Whether ``timestamp`` (UNIX seconds, digits only) is within ``window`` seconds of ``now``.

    Digits only, because ``_`` separates: a timestamp that held one could borrow from the id.
    """
    return _TIMESTAMP.fullmatch(timestamp) is not None and abs(now - int(timestamp)) <= window


class Voucher(Protocol):
    """Who can tell a signature: one partner secret, or all of a site."""

    def vouches(self, text: str, given: str, /) -> bool:
        """Whether ``given`` (base64) is its signature of ``text``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderUidSignature:
    """Gigya's signature of a provider UID, as a reply to ``signIDs`` carries it.

    ``provider`` is the name that was sent to Gigya, ``timestamp`` UNIX seconds.
    """

    base_string: BaseString
    provider: str
    timestamp: str
    signature: str = field(repr=False)

    def is_of(self, provider_uid: Secret[str], voucher: Voucher) -> bool:
        """Whether ``voucher`` made it for that provider UID; says nothing of its age."""
        texts = provider_uid_texts(
            self.base_string,
            timestamp=self.timestamp,
            provider=self.provider,
            provider_uid=provider_uid.reveal(),
        )
        return any(voucher.vouches(text, self.signature) for text in texts)

    def proves(
        self, provider_uid: Secret[str], voucher: Voucher, *, now: float, window: float
    ) -> bool:
        """Whether it is genuine and at most ``window`` seconds from ``now`` (UNIX seconds)."""
        fresh = is_fresh(self.timestamp, now=now, window=window)
        return self.is_of(provider_uid, voucher) and fresh


def proves_user(
    proof: UidSignature, uid: Uid, voucher: Voucher, *, now: float, window: float
) -> bool:
    """Whether Gigya signed ``uid`` at most ``window`` seconds from ``now`` (UNIX seconds)."""
    text = uid_text(timestamp=proof.timestamp, uid=uid)
    fresh = is_fresh(proof.timestamp, now=now, window=window)
    return voucher.vouches(text, proof.signature) and fresh
