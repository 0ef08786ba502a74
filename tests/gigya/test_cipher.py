import base64
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from hypothesis import assume, given
from hypothesis import strategies as st

from service.gigya import cipher
from service.gigya.cipher import Decryptor, Padding, Unopened
from service.secret import Secret

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "gigya.json").read_bytes())
AES_VECTORS = [pytest.param(each, id=each["name"]) for each in VECTORS["aes"]["vectors"]]
KEY = bytes(range(32))
IV = bytes(range(0xA0, 0xB0))
KEYS = st.sampled_from(cipher.KEY_SIZES).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)
IVS = st.binary(min_size=16, max_size=16)
WHOLE = st.integers(0, 4).flatmap(lambda n: st.binary(min_size=16 * n, max_size=16 * n))
TOKENS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def chained(blocks: bytes, key: bytes, iv: bytes) -> bytes:
    """Encrypt whole blocks in CBC, chained by hand over single blocks (NIST SP 800-38A §6.2)."""
    encryptor = Cipher(AES(key), ECB()).encryptor()  # noqa: S305  # one block at a time
    sealed, last = b"", iv
    for start in range(0, len(blocks), 16):
        block = bytes(a ^ b for a, b in zip(blocks[start : start + 16], last, strict=True))
        last = encryptor.update(block)
        sealed += last
    return sealed


def padded_pkcs7(octets: bytes) -> bytes:
    """Pad as RFC 5652 §6.3 says."""
    missing = 16 - len(octets) % 16
    return octets + bytes([missing]) * missing


def padded_zeros(octets: bytes) -> bytes:
    """Fill the last block with zero octets."""
    return octets + bytes(-len(octets) % 16)


PAD: dict[Padding, Callable[[bytes], bytes]] = {
    Padding.PKCS7: padded_pkcs7,
    Padding.PKCS5: padded_pkcs7,
    Padding.ZEROS: padded_zeros,
}


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """One field as a reply has it, with the reply's IV, both in base64."""

    text: Secret[str]
    iv: str
    padding: Padding


def opened(sealed: Sealed, decryptor: Decryptor) -> Secret[str]:
    """Open the field of a reply that has no other."""
    iv = cipher.blocks_of(Secret(sealed.iv))
    blocks = cipher.blocks_of(sealed.text)
    return cipher.decrypt({"field": blocks}, iv, sealed.padding, decryptor)["field"]


def sealed_blocks(blocks: bytes, padding: Padding = Padding.PKCS7, *, key: bytes = KEY) -> Sealed:
    """Return whole blocks, sealed as they are."""
    text = base64.b64encode(chained(blocks, key, IV)).decode()
    return Sealed(text=Secret(text), iv=base64.b64encode(IV).decode(), padding=padding)


def sealed(text: str, iv: str = "oKGio6SlpqeoqaqrrK2urw==") -> Sealed:
    """Return a reply's field as it came."""
    return Sealed(text=Secret(text), iv=iv, padding=Padding.PKCS7)


class TestDecrypt:
    @pytest.mark.parametrize("vector", AES_VECTORS)
    def test_opens_what_other_implementations_sealed(self, vector: dict[str, Any]) -> None:
        """Node and OpenSSL sealed the fixtures; the plaintext comes out to the byte."""
        value = Sealed(
            text=Secret(vector["ciphertextB64"]),
            iv=vector["IV"],
            padding=Padding(vector["paddingMode"]),
        )
        plain = opened(value, Decryptor(base64.b64decode(vector["secretB64"])))
        assert vector["plaintext"] == plain.reveal()

    @given(token=TOKENS, key=KEYS, iv=IVS, padding=st.sampled_from(Padding))
    def test_opens_whatever_is_sealed_by_the_rules(
        self, token: str, key: bytes, iv: bytes, padding: Padding
    ) -> None:
        """Any text, key size, IV and padding, sealed by an encryptor of the test's own."""
        assume(padding is not Padding.ZEROS or not token.endswith("\0"))
        text = base64.b64encode(chained(PAD[padding](token.encode()), key, iv)).decode()
        value = Sealed(text=Secret(text), iv=base64.b64encode(iv).decode(), padding=padding)
        assert token == opened(value, Decryptor(key)).reveal()

    @given(token=TOKENS, key=KEYS, padding=st.sampled_from(Padding))
    def test_another_key_never_gives_the_plaintext(
        self, token: str, key: bytes, padding: Padding
    ) -> None:
        """A wrong key fails, or (CBC has no integrity) gives something else."""
        assume(key != KEY)
        try:
            value = sealed_blocks(PAD[padding](token.encode()), padding)
            plain = opened(value, Decryptor(key))
        except Unopened:
            return
        assert token != plain.reveal()

    @pytest.mark.parametrize(
        "value",
        [
            sealed(""),
            sealed("MCicja0B2fZ4YyyUkHlUZQ"),
            sealed("MCicja0B2fZ4YyyUkHlUZQ==\n"),
            sealed(" MCicja0B2fZ4YyyUkHlUZQ=="),
            sealed("MCicja0B2fZ4YyyUkHlUZR=="),
            sealed("zhzzpOO4exObo8_xCs41tgbZay4YS_Irc9MbpL4U2Mk="),
            sealed("s3cr3t-token"),
            sealed("tökén"),
            sealed("MCicja0B2fZ4YyyUkHlU"),
            sealed("zhzzpOO4exObo8/xCs41tgbZay4YS/Irc9MbpA=="),
            sealed("MCicja0B2fZ4YyyUkHlUZQ==", iv=""),
            sealed("MCicja0B2fZ4YyyUkHlUZQ==", iv="oKGio6SlpqeoqaqrrK2u"),
            sealed("MCicja0B2fZ4YyyUkHlUZQ==", iv="oKGio6SlpqeoqaqrrK2ur7A="),
            sealed("MCicja0B2fZ4YyyUkHlUZQ==", iv="oKGio6SlpqeoqaqrrK2urw"),
            sealed("MCicja0B2fZ4YyyUkHlUZQ==", iv="not base64"),
            sealed_blocks(b"padding of zero\0"),
            sealed_blocks(b"padding of 17..\x11"),
            sealed_blocks(b"unequal padd\x04\x03\x04\x04"),
            sealed_blocks(b"\x10" * 16),
            sealed_blocks(bytes(16), Padding.ZEROS),
            sealed_blocks(padded_pkcs7(b"\xff\xfe")),
            sealed_blocks(padded_pkcs7("\ud800".encode("utf-8", "surrogatepass"))),
            sealed_blocks(padded_zeros(b"half a char\xc3"), Padding.ZEROS),
        ],
        ids=[
            "nothing",
            "no base64 padding",
            "line end",
            "leading space",
            "spare bits",
            "base64url",
            "plain",
            "not ASCII",
            "fifteen octets",
            "a block and a bit",
            "no IV",
            "short IV",
            "long IV",
            "IV without base64 padding",
            "IV not base64",
            "padding 0",
            "padding 17",
            "unequal padding",
            "only padding",
            "only zeros",
            "not UTF-8",
            "a surrogate",
            "cut character",
        ],
    )
    def test_every_failure_is_one(self, value: Sealed) -> None:
        """Whatever is wrong, the error is the same, says nothing and holds nothing."""
        with pytest.raises(Unopened) as caught:
            opened(value, Decryptor(KEY))
        error = caught.value
        assert ("a sealed value does not open", None, None) == (
            str(error),
            error.__cause__,
            error.__context__,
        )

    def test_one_that_does_not_open_keeps_the_others_shut(self) -> None:
        """A reply opens whole or not at all, and what is raised holds nothing of what did open."""
        good = cipher.blocks_of(sealed_blocks(padded_pkcs7(b"s3cr3t-token")).text)
        for bad in (
            b"",
            good[:-1],
            chained(bytes(16), KEY, IV),
            chained(b"\x10" * 16, KEY, IV),
            chained(padded_pkcs7(b"\xff"), KEY, IV),
        ):
            with pytest.raises(Unopened) as caught:
                cipher.decrypt({"a": good, "b": bad}, IV, Padding.PKCS7, Decryptor(KEY))
            frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
            assert "s3cr3t" not in repr([frame.f_locals for frame in frames[1:]])
            assert (None, None) == (caught.value.__cause__, caught.value.__context__)

    @given(
        messages=st.lists(
            st.tuples(st.one_of(WHOLE, st.binary(max_size=40)), st.one_of(IVS, st.binary())),
            max_size=8,
        )
    )
    def test_no_message_changes_what_the_next_one_gives(
        self, messages: list[tuple[bytes, bytes]]
    ) -> None:
        """One decryptor opens each of many, whole or not, as a new one would."""
        decryptor = Decryptor(KEY)
        for ciphertext, iv in messages:
            if len(iv) != 16 or len(ciphertext) % 16:
                with pytest.raises(ValueError, match="not whole blocks"):
                    decryptor.decrypt(ciphertext, iv)
            else:
                fresh = Cipher(AES(KEY), CBC(iv)).decryptor()
                expected = fresh.update(ciphertext) + fresh.finalize()
                assert expected == decryptor.decrypt(ciphertext, iv)

    @pytest.mark.parametrize("size", [0, 1, 15, 17, 31, 33, 64])
    def test_a_key_of_another_size_is_none(self, size: int) -> None:
        """AES has three key sizes."""
        with pytest.raises(ValueError, match="key"):
            Decryptor(bytes(size))

    def test_the_result_is_a_secret(self) -> None:
        """Neither the sealed value nor its plaintext shows in a representation."""
        value = sealed("MCicja0B2fZ4YyyUkHlUZQ==")
        shown = repr(value) + repr(opened(value, Decryptor(KEY)))
        assert [False, False] == [text in shown for text in ("MCicja0B", "s3cr3t")]


class TestUnpad:
    def test_every_padding_has_a_row(self) -> None:
        """The table is complete."""
        assert set(Padding) == set(cipher.UNPAD)

    @given(octets=st.binary(max_size=50))
    def test_pkcs7_takes_off_what_was_put_on(self, octets: bytes) -> None:
        """Any octets, whole blocks and nothing included (RFC 5652 §6.3)."""
        assert octets == cipher.UNPAD[Padding.PKCS7](padded_pkcs7(octets))

    @given(octets=st.binary(max_size=50))
    def test_pkcs5_is_pkcs7(self, octets: bytes) -> None:
        """For blocks of 16 octets the two names mean one padding."""
        assert octets == cipher.UNPAD[Padding.PKCS5](padded_pkcs7(octets))

    @given(octets=st.binary(max_size=50).filter(lambda octets: not octets.endswith(b"\0")))
    def test_zeros_takes_off_what_was_put_on(self, octets: bytes) -> None:
        """Zero octets at the end are padding; a whole block gets none."""
        assert octets == cipher.UNPAD[Padding.ZEROS](padded_zeros(octets))

    def test_zeros_cannot_tell_padding_from_data(self) -> None:
        """A token that itself ends in a zero octet loses it; ZEROS is lossy by nature."""
        assert b"token" == cipher.UNPAD[Padding.ZEROS](padded_zeros(b"token\0"))

    @given(blocks=st.binary(min_size=16, max_size=16))
    def test_pkcs7_refuses_what_nobody_padded(self, blocks: bytes) -> None:
        """A last block either is the padding of some octets, or is refused."""
        try:
            octets = cipher.UNPAD[Padding.PKCS7](blocks)
        except ValueError:
            octets = None
        candidates = [blocks[:size] for size in range(16) if padded_pkcs7(blocks[:size]) == blocks]
        assert candidates == ([] if octets is None else [octets])


class TestIsSealed:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("MCicja0B2fZ4YyyUkHlUZQ==", True),
            ("zhzzpOO4exObo8/xCs41tgbZay4YS/Irc9MbpL4U2Mk=", True),
            ("", False),
            ("MCicja0B2fZ4YyyUkHlUZQ", False),
            ("MCicja0B2fZ4YyyUkHlU", False),
            ("s3cr3t-token", False),
            ("tökén", False),
        ],
    )
    def test_has_the_form_of_whole_blocks(self, text: str, expected: bool) -> None:  # noqa: FBT001  # a table's column
        """Strict base64 of at least one whole block; anything else came back plain."""
        assert expected == cipher.is_sealed(Secret(text))
