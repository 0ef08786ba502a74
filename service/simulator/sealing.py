"""How Gigya seals a field: AES-CBC under the partner secret (facts.md §2)."""

import base64
from collections.abc import Callable, Mapping
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK: Final = 16


def _count(octets: bytes) -> bytes:
    missing = BLOCK - len(octets) % BLOCK
    return octets + bytes([missing]) * missing


def _zeros(octets: bytes) -> bytes:
    # .NET's convention: what fills its last block already gets no padding at all.
    return octets + bytes(-len(octets) % BLOCK)


def _wrong(octets: bytes) -> bytes:
    # No reading of PKCS#7 accepts 0x11 at the end: a block has 16 octets.
    return _zeros(octets + b"\x11") if len(octets) % BLOCK != BLOCK - 1 else octets + b"\x11"


PADDINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "PKCS5": _count,
    "PKCS7": _count,
    "ZEROS": _zeros,
}


def seal(text: str, *, secret: str, iv: bytes, padding: str, broken: bool = False) -> str:
    """Return base64 of ``text`` sealed with ``secret`` (base64); ``broken`` spoils the padding."""
    octets = _wrong(text.encode()) if broken else PADDINGS[padding](text.encode())
    encryptor = Cipher(algorithms.AES(base64.b64decode(secret)), modes.CBC(iv)).encryptor()
    return base64.b64encode(encryptor.update(octets) + encryptor.finalize()).decode()


def text(octets: bytes) -> str:
    """Return ``octets`` as Gigya writes them: base64."""
    return base64.b64encode(octets).decode()


def another(secret: str) -> str:
    """Return a secret of the same length that opens nothing ``secret`` sealed."""
    return text(bytes(octet ^ 0xFF for octet in base64.b64decode(secret)))


SPOILED: Final[Mapping[str, Callable[[str, str], str]]] = {
    "plain": lambda _, plain: plain,
    "not_base64": lambda sealed, _: "*" + sealed[1:],
    "part_of_a_block": lambda sealed, _: text(base64.b64decode(sealed)[:-1]),
}
"""What a knob makes of a sealed text, which it is given with the plain one."""
