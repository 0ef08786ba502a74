import base64
import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.simulator import sealing
from tests.simulator.asking import opened

VECTORS: Final[list[dict[str, Any]]] = json.loads(
    Path(__file__).parents[1].joinpath("vectors/gigya.json").read_text("utf-8")
)["aes"]["vectors"]
SECRET: Final = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
IV: Final = bytes(range(16))
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80)


class TestSeal:
    @pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
    def test_vectors(self, vector: dict[str, Any]) -> None:
        """Sealing gives what two independent implementations give."""
        made = sealing.seal(
            vector["plaintext"],
            secret=vector["secretB64"],
            iv=base64.b64decode(vector["IV"]),
            padding=vector["paddingMode"],
        )
        assert vector["ciphertextB64"] == made

    @given(texts, st.sampled_from(["PKCS5", "PKCS7"]))
    def test_counted_padding(self, text: str, padding: str) -> None:
        """PKCS5 and PKCS7 add between 1 and 16 octets, each of which is their number."""
        sealed = sealing.seal(text, secret=SECRET, iv=IV, padding=padding)
        octets = opened(sealed, base64.b64encode(IV).decode(), SECRET)
        count = octets[-1]
        assert (text.encode(), bytes([count]) * count) == (octets[:-count], octets[-count:])

    @given(texts)
    def test_zeros(self, text: str) -> None:
        """ZEROS adds as few zero octets as fill the last block, none if it is full."""
        sealed = sealing.seal(text, secret=SECRET, iv=IV, padding="ZEROS")
        octets = opened(sealed, base64.b64encode(IV).decode(), SECRET)
        assert text.encode() == octets.rstrip(b"\0")
        assert len(octets) - len(text.encode()) < sealing.BLOCK

    @given(texts, st.sampled_from(["PKCS5", "PKCS7", "ZEROS"]))
    def test_broken(self, text: str, padding: str) -> None:
        """Padding that is broken on purpose is whole blocks that no reading of PKCS7 accepts."""
        sealed = sealing.seal(text, secret=SECRET, iv=IV, padding=padding, broken=True)
        octets = opened(sealed, base64.b64encode(IV).decode(), SECRET)
        assert octets[-1] > sealing.BLOCK or octets[-1] == 0


class TestAnother:
    @pytest.mark.parametrize("length", [16, 24, 32])
    def test_same_length(self, length: int) -> None:
        """The wrong secret is as long as the right one and shares no octet with it."""
        right = bytes(range(length))
        wrong = base64.b64decode(sealing.another(base64.b64encode(right).decode()))
        assert length == len(wrong)
        assert not any(a == b for a, b in zip(right, wrong, strict=True))
