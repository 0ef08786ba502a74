"""Keyed fingerprints: what the audit record says about a UID or a token instead of the value."""

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from service.model import ProviderTokens, Uid
from service.secret import Secret

KEY_BYTES: Final = 32
"""Octets of a new key, and the fewest that a key file may hold."""


class BadAuditKey(ValueError):
    """A key file does not hold an audit key; says why, quoting nothing."""


class AuditKey:
    """A key of the audit record: it fingerprints and chains, and cannot be read.

    One file holds one key; UIDs, tokens and the chain each use a key derived from it, so that a
    fingerprint of one kind says nothing about another.
    """

    __slots__ = ("_chain", "_token", "_uid", "id")

    def __init__(self, octets: bytes) -> None:
        if len(octets) < KEY_BYTES:
            raise BadAuditKey(f"it holds fewer than {KEY_BYTES} octets")
        self.id: str = hmac.digest(octets, b"audit key id", "sha256").hex()[:8]
        """Eight hex digits that name the key in records."""
        self._uid = _derived(octets, b"audit uid")
        self._token = _derived(octets, b"audit token")
        self._chain = _derived(octets, b"audit chain")

    @classmethod
    def from_file(cls, content: bytes) -> "AuditKey":
        """Return the key in a file of base64 text; raises ``BadAuditKey``."""
        try:
            octets = b64decode(content.strip(), validate=True)
        except binascii.Error:
            octets = None
        if octets is None:
            raise BadAuditKey("it is not base64")
        return cls(octets)

    def of_uid(self, uid: Uid) -> str:
        """Return the fingerprint of a UID, ``<key id>:<32 hex>``."""
        return self._fingerprint(self._uid, Secret(uid))

    def of_user(self, user: Secret[str]) -> str:
        """Return the fingerprint of a UID that is kept with a session."""
        key, fingerprint = user.alias or (None, "")  # told of again with all that is kept of him
        return fingerprint if key is self._uid else self._fingerprint(self._uid, user)

    def of_token(self, token: Secret[str]) -> str:
        """Return the fingerprint of a token, ``<key id>:<32 hex>``."""
        return self._fingerprint(self._token, token)

    def of_tokens(self, tokens: ProviderTokens) -> Mapping[str, str]:
        """Return the fingerprint of each token by its name; an expiry is none."""
        key, found = tokens.alias or (None, {})
        if key is not self._token:
            key = self._token
            found = {
                name: self._fingerprint(key, each)
                for name, each in tokens.tokens.items()
                if isinstance(each, Secret)
            }
            tokens.alias = (key, found)  # type: ignore[misc]  # remembered with them
        return found

    def link(self, previous: bytes, octets: bytes) -> str:
        """Return the chain's hash (64 hex) over a record and its predecessor's hash."""
        mac = self._chain.copy()
        mac.update(previous + octets)
        return mac.finalize().hex()

    def vouches(self, previous: bytes, octets: bytes, digest: str) -> bool:
        """Whether ``digest`` is the chain's hash over that record and predecessor."""
        return hmac.compare_digest(self.link(previous, octets), digest)

    def _fingerprint(self, key: HMAC, secret: Secret[str]) -> str:
        """Take the fingerprint under ``key`` of what may be kept, and then is told of again."""
        known = secret.alias
        if known is not None and known[0] is key:
            return known[1]
        mac = key.copy()
        mac.update(secret.reveal().encode("utf-8", "surrogatepass"))
        fingerprint = f"{self.id}:{mac.finalize()[:16].hex()}"
        secret.alias = key, fingerprint
        return fingerprint

    def __repr__(self) -> str:
        return f"AuditKey({self.id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an audit key cannot be pickled or copied")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The audit keys, newest first: the newest writes, all of them search and verify."""

    keys: tuple[AuditKey, ...]
    newest: AuditKey = field(init=False, repr=False, compare=False)
    """The key that writes; no property, because each record asks for it twice."""

    def __post_init__(self) -> None:
        if not self.keys:
            raise BadAuditKey("there is no audit key")
        object.__setattr__(self, "newest", self.keys[0])  # as of a frozen dataclass

    @classmethod
    def from_files(cls, contents: Sequence[bytes]) -> "Keyring":
        """Return the keys of the files' contents, newest first; raises ``BadAuditKey``."""
        return cls(tuple(map(AuditKey.from_file, contents)))

    def find(self, key_id: str) -> AuditKey | None:
        """Return the key of that id, or ``None``."""
        return next((key for key in self.keys if key.id == key_id), None)


def new_key(random: Callable[[int], bytes]) -> bytes:
    """Return the content of a new key file: base64 of 32 random octets and a newline."""
    return binascii.b2a_base64(random(KEY_BYTES))


def _derived(octets: bytes, purpose: bytes) -> HMAC:
    """Return a MAC that has taken its key: to copy it costs half of what taking the key does.

    The standard library's is a class around another; this is called five times in each request.
    """
    return HMAC(hmac.digest(octets, purpose, "sha256"), SHA256())
