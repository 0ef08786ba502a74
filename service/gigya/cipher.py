"""How Gigya seals: AES-CBC with three paddings, and one failure for whatever goes wrong.

Source: socialize.getSessionInfo, "Security Requirements"; facts.md §2.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from service.gigya.signature import octets_of
from service.secret import Secret

BLOCK: Final = 16
"""Octets of a block of AES, and of an IV."""

KEY_SIZES: Final = (16, 24, 32)
"""Octets of a key of AES; Gigya states none, so the decoded secret decides."""


class Unopened(Exception):
    """A sealed value does not open; it never says why, because the why helps an attacker."""

    def __init__(self) -> None:
        super().__init__("a sealed value does not open")


class Padding(StrEnum):
    """Gigya's values of ``paddingMode``."""

    PKCS7 = "PKCS7"
    PKCS5 = "PKCS5"
    ZEROS = "ZEROS"


class Decryptor:
    """AES-CBC under one key, for one message after another.

    To make a context costs more than to open a token with it. CBC reads its IV as it reads the
    ciphertext block before (NIST SP 800-38A §6.2): given as one, an IV begins a new message, and
    what it decrypts to itself is dropped.
    """

    __slots__ = ("_context",)

    def __init__(self, key: bytes) -> None:
        self._context = Cipher(AES(key), CBC(bytes(BLOCK))).decryptor()

    def decrypt(self, ciphertext: bytes, iv: bytes) -> bytes:
        """Return the padded plaintext; raises ``ValueError`` for what is not whole blocks."""
        if len(iv) != BLOCK or len(ciphertext) % BLOCK:  # the context would wait for the rest
            raise ValueError("not whole blocks")
        return self._context.update(iv + ciphertext)[BLOCK:]


def decrypt(
    sealed: Mapping[str, bytes], iv: bytes, padding: Padding, decryptor: Decryptor
) -> dict[str, Secret[str]]:
    """Return the plaintexts of one reply, which are never empty and always were UTF-8.

    ``sealed`` is blocks by name. Raises ``Unopened`` where one of them does not open.
    """
    unpad = UNPAD[padding]
    try:
        # No plaintext is a variable of this function, whose frame hangs on ``Unopened``.
        opened = {
            name: Secret(plaintext)
            for name, blocks in sealed.items()
            for plaintext in [unpad(decryptor.decrypt(blocks, iv)).decode("utf-8")]
            if plaintext
        }
    except ValueError:
        # UnicodeDecodeError holds the plaintext: nothing of it may hang on what we raise.
        opened = {}
    if len(opened) < len(sealed):
        raise Unopened
    return opened


def blocks_of(text: Secret[str]) -> bytes:
    """Return the octets of a value that has the form of a sealed one, of any other none.

    The form is strict base64 of whole blocks.
    """
    try:
        octets = octets_of(text.reveal())
    except ValueError:
        return b""
    return b"" if len(octets) % BLOCK else octets


def is_sealed(text: Secret[str]) -> bool:
    """Whether the value has the form of a sealed one."""
    return len(blocks_of(text)) > 0


_PKCS7: Final = PKCS7(BLOCK * 8)


def _unpad_pkcs7(padded: bytes) -> bytes:
    unpadder = _PKCS7.unpadder()
    return unpadder.update(padded) + unpadder.finalize()


def _unpad_zeros(padded: bytes) -> bytes:
    """Strip trailing zero octets; a whole block has none (the .NET convention)."""
    return padded.rstrip(b"\0")


UNPAD: Final[Mapping[Padding, Callable[[bytes], bytes]]] = {
    Padding.PKCS7: _unpad_pkcs7,
    Padding.PKCS5: _unpad_pkcs7,  # two names of one padding where a block has 16 octets
    Padding.ZEROS: _unpad_zeros,
}
