"""Secrets that nothing else looks like, and every form in which one could get out."""

import base64
import binascii
import html
import json
import random
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

AWKWARD: Final = '/+"\\&<% '
"""What each escaping does something to."""


class Chance:
    """Random sentinels: a new one each time it is asked."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def text(self, name: str, awkward: str = AWKWARD.strip()) -> str:
        """Return a text with a core of 96 random bits that no escaping changes."""
        return f"{name}{awkward}{self._random.getrandbits(96):024x}"

    def octets(self, length: int = 32) -> bytes:
        """Return random octets."""
        return self._random.randbytes(length)


def core(text: str) -> str:
    """Return the random core of a text."""
    return text[-24:]


def _base64(octets: bytes) -> Iterator[bytes]:
    """Yield base64 of ``octets`` as it stands in the middle of something longer."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + octets)
        begin = -(-before * 8 // 6)
        end = (before + len(octets)) * 8 // 6
        yield whole[begin:end]


def _escapings(text: str) -> Iterator[tuple[str, str]]:
    yield "URL", quote(text, safe="")
    yield "URL, form", quote_plus(text)
    yield "URL, path", quote(text)
    yield "URL, every octet", "".join(f"%{octet:02X}" for octet in text.encode())
    yield "JSON", json.dumps(text)[1:-1]
    yield "JSON in UTF-8", json.dumps(text, ensure_ascii=False)[1:-1]
    yield "JSON, slashes", json.dumps(text)[1:-1].replace("/", r"\/")
    yield "JSON in JSON", json.dumps(json.dumps(text)[1:-1])[1:-1]
    yield "repr", repr(text)[1:-1]
    yield "HTML", html.escape(text)


def forms(octets: bytes) -> Mapping[str, bytes]:
    """Return every form of ``octets`` that is looked for."""
    found = {"raw": octets, "hex": octets.hex().encode(), "HEX": octets.hex().upper().encode()}
    found["hex with colons"] = binascii.hexlify(octets, ":")
    found["repr of octets"] = repr(octets)[2:-1].encode()
    for at, encoded in enumerate(_base64(octets)):
        found[f"base64, {at}"] = encoded
        found[f"base64url, {at}"] = encoded.translate(bytes.maketrans(b"+/", b"-_"))
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return found
    escaped = {name: form.encode() for name, form in _escapings(text)}
    return {
        **found,
        **escaped,
        **{f"{k}, lower": v.lower() for k, v in escaped.items() if "%" in str(v)},
    }


def leaks(places: Mapping[str, bytes], sentinels: Mapping[str, bytes]) -> list[str]:
    """Return what was found where, in words that show no sentinel."""
    wanted = [
        (name, form, text)
        for name, octets in sentinels.items()
        for form, text in forms(octets).items()
    ]
    return [
        f"{name} ({form}) in {place}"
        for place, content in places.items()
        for name, form, text in wanted
        if text in content
    ]
