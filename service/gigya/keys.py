"""Keys that act and cannot be read: they sign, vouch and decrypt, and that is all."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from service.gigya import cipher, signature
from service.gigya.cipher import Padding, Unopened
from service.gigya.signature import octets_of
from service.secret import Secret

WHITE_SPACE: Final = " \t\r\n"
SMALLEST_RSA: Final = 2048
"""Bits; what NIST SP 800-131A still allows."""


class _Key:
    """What all keys refuse: to be shown, compared, pickled, copied."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # a key is never a dictionary's key

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("keys cannot be compared")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key cannot be pickled or copied")


class HmacKey(_Key):
    """The secret of a user key or application key: it signs requests."""

    __slots__ = ("_mac",)

    def __init__(self, octets: bytes) -> None:
        if not octets:
            raise ValueError("the key is empty")
        self._mac = signature.mac_of(octets)

    @classmethod
    def from_base64(cls, text: str) -> Self:
        """Return the key that ``text`` holds, white space around it forgiven.

        Raises ``ValueError`` that quotes nothing.
        """
        return cls(octets_of(text.strip(WHITE_SPACE)))

    def sign(self, text: str) -> str:
        """Return Gigya's signature of ``text`` (HMAC-SHA1) in base64."""
        return signature.sign(text, self._mac)


class PartnerKey(HmacKey):
    """A site's partner secret: it decrypts, vouches for ids, and at old sites signs requests."""

    __slots__ = ("_decryptor", "_octets")

    def __init__(self, octets: bytes) -> None:
        if len(octets) not in cipher.KEY_SIZES:
            raise ValueError("a partner secret is 16, 24 or 32 octets in base64")
        super().__init__(octets)
        self._octets: Secret[bytes] = Secret(octets)
        self._decryptor = cipher.Decryptor(octets)

    def vouches(self, text: str, given: str) -> bool:
        """Whether ``given`` (base64) is this key's signature of ``text``, in constant time."""
        return signature.is_signature(text, self._mac, given)

    def decrypt(
        self, sealed: Mapping[str, bytes], iv: bytes, padding: Padding
    ) -> Mapping[str, Secret[str]]:
        """Return what the blocks of one reply hold; raises ``Unopened``, whatever the cause."""
        return cipher.decrypt(sealed, iv, padding, self._decryptor)

    def is_same(self, other: "PartnerKey") -> bool:
        """Whether both are one key, in constant time."""
        return self._octets.matches(other._octets.reveal())  # noqa: SLF001  # of its own class


_PEM_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_PEM_LABELS: Final = (b"RSA PRIVATE KEY", b"PRIVATE KEY")
"""PKCS#1, which Gigya's console gives, and PKCS#8, which many tools want."""


class RsaKey(_Key):
    """The private key of a user key or application key: it signs bearer tokens."""

    __slots__ = ("_key",)

    def __init__(self, key: RSAPrivateKey) -> None:
        if key.key_size < SMALLEST_RSA:
            raise ValueError(f"the RSA key has fewer than {SMALLEST_RSA} bits")
        self._key = key

    @classmethod
    def from_pem(cls, pem: bytes) -> "RsaKey":
        """Return the key in ``pem`` (PKCS#1 or PKCS#8, not encrypted).

        Raises ``ValueError`` that quotes nothing.
        """
        labels = _PEM_LABEL.findall(pem)
        if len(labels) != 1 or labels[0] not in _PEM_LABELS:
            raise ValueError("not one unencrypted private key in PEM (PKCS#1 or PKCS#8)")
        return cls(_loaded(pem))

    def sign(self, octets: bytes) -> bytes:
        """Return the signature RSASSA-PKCS1-v1_5 with SHA-256 (RS256 of RFC 7518)."""
        return self._key.sign(octets, PKCS1v15(), SHA256())


def _loaded(pem: bytes) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # a TypeError is PKCS#1's way of being encrypted
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("not an unencrypted RSA private key")  # noqa: TRY004  # it is a value's fault
    return key


Opened = tuple[Mapping[str, Secret[str]], int]
"""The plaintexts of one reply, and which slot of the ring (from 0, newest first) opened it."""

Vouching = Callable[[PartnerKey, Mapping[str, Secret[str]]], bool]
"""Whether a key made the reply's signature, given what that key decrypts."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_EXPIRY: Final = re.compile(r"[\x20-\x7e]+")
_EXPIRIES: Final = ("Expiration", "ExpirationUTC")


class KeyRing(_Key):
    """A site's partner secrets, newest first; a secret that occurs twice counts once.

    Its length is the number of secrets: with more than one, a reply's signature is worth having.
    Raises ``ValueError`` for several secrets with ``ZEROS``: nothing there tells a wrong key.
    """

    __slots__ = ("_is_certain", "_keys", "_padding")

    def __init__(self, keys: Sequence[PartnerKey], padding: Padding = Padding.PKCS7) -> None:
        self._padding = padding
        self._keys: dict[int, PartnerKey] = {}
        for slot, key in enumerate(keys):
            if not any(known.is_same(key) for known in self._keys.values()):
                self._keys[slot] = key
        if padding is Padding.ZEROS and len(self._keys) > 1:
            raise ValueError("padding ZEROS allows one partner secret only")
        # One key with PKCS#7 needs no guess: its padding and UTF-8 are proof enough to say so.
        self._is_certain = len(self._keys) == 1 and padding is not Padding.ZEROS

    def __len__(self) -> int:
        return len(self._keys)

    def vouches(self, text: str, given: str) -> bool:
        """Whether ``given`` (base64) is the signature of ``text`` by any of the secrets."""
        return any(key.vouches(text, given) for key in self._keys.values())

    def decrypt(
        self, sealed: Mapping[str, bytes], *, iv: bytes, vouching: Vouching | None = None
    ) -> Opened:
        """Open all sealed fields of one reply with the one secret that fits; else ``Unopened``.

        ``sealed`` is blocks by Gigya's names, at least one. The secret is the one that
        ``vouching`` tells, else the only one with plausible plaintext: CBC has no integrity, and
        a wrong key passes PKCS#7 in 1 of 255 cases.
        """
        if self._is_certain:
            return self._keys[0].decrypt(sealed, iv, self._padding), 0
        opened: list[Opened] = []
        for slot, key in self._keys.items():
            try:
                plaintexts = key.decrypt(sealed, iv, self._padding)
            except Unopened:
                continue
            opened.append((plaintexts, slot))
        fitting = self._vouched(opened, vouching) or _plausible(opened)
        if len(fitting) != 1:
            raise Unopened
        return fitting[0]

    def _vouched(self, opened: list[Opened], vouching: Vouching | None) -> list[Opened]:
        if vouching is None:
            return []
        return [(fields, slot) for fields, slot in opened if vouching(self._keys[slot], fields)]


def _plausible(opened: list[Opened]) -> list[Opened]:
    return [(fields, slot) for fields, slot in opened if _is_plausible(fields)]


def _is_plausible(fields: Mapping[str, Secret[str]]) -> bool:
    """Whether all are what tokens are made of; an expiry may hold the space of a date-time."""
    return all(
        (_EXPIRY if name.endswith(_EXPIRIES) else _TOKEN).fullmatch(value.reveal())
        for name, value in fields.items()
    )
