import base64
import copy
import json
import pickle
import random
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from service.gigya.cipher import Padding, Unopened
from service.gigya.keys import HmacKey, KeyRing, PartnerKey, RsaKey, Vouching
from service.secret import Secret

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "gigya.json").read_bytes())
REQUESTS = [pytest.param(each, id=each["name"]) for each in VECTORS["requestSignature"]]
OLD, NEW = bytes(range(32)), bytes(range(32, 64))
IV = bytes(16)
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PKCS1, PKCS8, OPENSSH = (
    RSA.private_bytes(Encoding.PEM, form, NoEncryption())
    for form in (
        PrivateFormat.TraditionalOpenSSL,
        PrivateFormat.PKCS8,
        PrivateFormat.OpenSSH,
    )
)


def pad(text: str, padding: Padding = Padding.PKCS7) -> bytes:
    """Pad by the textbook."""
    missing = -len(text.encode()) % 16
    if padding is Padding.ZEROS:
        return text.encode() + bytes(missing)
    return text.encode() + bytes([missing or 16]) * (missing or 16)


def seal(blocks: bytes, key: bytes) -> bytes:
    """Seal whole blocks under an IV of zeros."""
    return Cipher(AES(key), CBC(IV)).encryptor().update(blocks)


def sealed_fields(key: bytes, **fields: str) -> dict[str, bytes]:
    """Seal each field as a reply would."""
    return {name: seal(pad(text), key) for name, text in fields.items()}


def ring(*keys: bytes, padding: Padding = Padding.PKCS7) -> KeyRing:
    """Return a ring of these keys, newest first."""
    return KeyRing([PartnerKey(key) for key in keys], padding)


def revealed(fields: Mapping[str, Secret[str]]) -> dict[str, str]:
    """Return plain text to compare."""
    return {name: value.reveal() for name, value in fields.items()}


class Opens(PartnerKey):
    """A partner key to which everything sealed is some text: two of them leave a choice."""

    __slots__ = ("_text",)

    def __init__(self, octets: bytes, text: str) -> None:
        super().__init__(octets)
        self._text = text

    def decrypt(self, sealed: Mapping[str, bytes], *_: object) -> Mapping[str, Secret[str]]:
        """Answer the text."""
        return {name: Secret(self._text) for name in sealed}


KEYS: list[Callable[[], HmacKey | RsaKey | KeyRing]] = [
    lambda: HmacKey(OLD),
    lambda: PartnerKey(OLD),
    lambda: RsaKey.from_pem(PKCS8),
    lambda: ring(OLD, NEW),
]


@pytest.mark.parametrize("make", KEYS, ids=["HmacKey", "PartnerKey", "RsaKey", "KeyRing"])
class TestNoKey:
    def test_shows_itself(self, make: Callable[[], object]) -> None:
        """Every representation is the class and three stars."""
        key = make()
        masked = f"{type(key).__name__}(***)"
        assert [masked] * 4 == [repr(key), str(key), f"{key}", f"{key!s:}"]

    def test_can_be_read(self, make: Callable[[], object]) -> None:
        """It has no dictionary, and no public attribute that is not an action."""
        key = make()
        assert not hasattr(key, "__dict__")
        public = [getattr(key, name) for name in dir(key) if not name.startswith("_")]
        assert all(callable(each) for each in public)

    @pytest.mark.parametrize("door", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_can_be_copied(self, make: Callable[[], object], door: Callable[[Any], Any]) -> None:
        """Neither pickle nor copy take it out."""
        with pytest.raises(TypeError, match="cannot be pickled"):
            door(make())

    def test_can_be_compared(self, make: Callable[[], object]) -> None:
        """Equality would be answered in variable time, and hashing would keep the key."""
        key = make()
        with pytest.raises(TypeError, match="cannot be compared"):
            assert key == make()
        with pytest.raises(TypeError, match="unhashable"):
            hash(key)


class TestHmacKey:
    @pytest.mark.parametrize("vector", REQUESTS)
    def test_signs_as_the_official_sdks(self, vector: dict[str, Any]) -> None:
        """The vectors' base strings get the vectors' signatures."""
        key = HmacKey.from_base64(vector["secretBase64"])
        assert vector["sig"] == key.sign(vector["baseString"])

    @pytest.mark.parametrize("text", ["", " \n", "not base64", "QQ"])
    def test_refuses_what_holds_no_key(self, text: str) -> None:
        """Nothing, white space alone, and what is not base64."""
        with pytest.raises(ValueError, match=r"^(the key is empty|not base64)$"):
            HmacKey.from_base64(text)


class TestPartnerKey:
    @pytest.mark.parametrize("size", [16, 24, 32])
    @pytest.mark.parametrize("around", ["{}", "{}\n", "{}\r\n", " \t{}\n\n"])
    def test_forgives_white_space_around(self, size: int, around: str) -> None:
        """A file's last line end is not part of the secret."""
        octets = bytes(range(size))
        key = PartnerKey.from_base64(around.format(base64.b64encode(octets).decode()))
        assert key.is_same(PartnerKey(octets))

    @pytest.mark.parametrize("size", [0, 1, 15, 17, 20, 31, 33, 64])
    def test_refuses_other_sizes(self, size: int) -> None:
        """AES has keys of 16, 24 and 32 octets."""
        with pytest.raises(ValueError, match="16, 24 or 32 octets"):
            PartnerKey.from_base64(base64.b64encode(bytes(size)).decode())

    @pytest.mark.parametrize(
        "text",
        [
            "AAECAwQFBgcICQoL\nDA0ODxAREhMUFRYX",
            "AAECAwQFBgcICQoL DA0ODxAREhMUFRYX",
            "\ufeffAAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
            "\u00a0AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
            "AAECAwQFBgcICQoLDA0ODw",
            "AAECAwQFBgcICQoLDA0ODx==",
            "_-ECAwQFBgcICQoLDA0ODxAREhMUFRYX",
            '"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"',
            "00" * 16 + "ü",
        ],
        ids=[
            "line end inside",
            "space inside",
            "byte order mark",
            "no-break space",
            "no padding",
            "spare bits",
            "base64url",
            "quotes",
            "not ASCII",
        ],
    )
    def test_refuses_anything_else(self, text: str) -> None:
        """Only base64 is base64; the error holds nothing of the text."""
        with pytest.raises(ValueError, match=r"^not base64$") as caught:
            PartnerKey.from_base64(text)
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)

    def test_vouches_for_its_own_signature_alone(self) -> None:
        """Not for another text's, nor for another key's."""
        key = PartnerKey(OLD)
        assert [True, False, False, False] == [
            key.vouches("text", key.sign("text")),
            key.vouches("other", key.sign("text")),
            key.vouches("text", PartnerKey(NEW).sign("text")),
            key.vouches("text", "not base64"),
        ]

    def test_knows_itself(self) -> None:
        """The same octets are the same key."""
        assert [True, False] == [PartnerKey(OLD).is_same(PartnerKey(key)) for key in (OLD, NEW)]


class TestRsaKey:
    @pytest.mark.parametrize("pem", [PKCS1, PKCS8, PKCS1.replace(b"\n", b"\r\n"), b"\n" + PKCS8])
    def test_signs_as_rs256(self, pem: bytes) -> None:
        """PKCS#1, which Gigya's console gives, and PKCS#8 are the same key."""
        signed = RsaKey.from_pem(pem).sign(b"octets")
        RSA.public_key().verify(signed, b"octets", PKCS1v15(), hashes.SHA256())

    def test_refuses_small_keys(self) -> None:
        """Fewer than 2048 bits are not enough."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cryptography says the same
            small = rsa.generate_private_key(65537, 1024)  # noqa: S505  # to be refused
            pem = small.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            with pytest.raises(ValueError, match="fewer than 2048 bits"):
                RsaKey.from_pem(pem)

    @pytest.mark.parametrize(
        "pem",
        [
            b"",
            b"not PEM",
            PKCS1 + PKCS8,
            OPENSSH,
            RSA.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
            RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")),
            RSA.private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"pw")
            ),
            RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1),
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            ),
            ed25519.Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            PKCS8[:200] + PKCS8[300:],
            PKCS8.replace(b"-----END", b"-----"),
            b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n",
        ],
        ids=[
            "nothing",
            "not PEM",
            "two keys",
            "OpenSSH",
            "DER",
            "encrypted PKCS#8",
            "encrypted PKCS#1",
            "public",
            "public PKCS#1",
            "EC PKCS#8",
            "EC SEC 1",
            "Ed25519",
            "cut",
            "no end",
            "not base64",
        ],
    )
    def test_refuses_what_cannot_sign_rs256(self, pem: bytes) -> None:
        """Whatever is no single, plain, private RSA key; the error holds nothing of it."""
        with pytest.raises(ValueError, match=r"not (one|an) unencrypted") as caught:
            RsaKey.from_pem(pem)
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)


class TestKeyRing:
    @pytest.mark.parametrize(("sealer", "slot"), [(NEW, 0), (OLD, 1)], ids=["newest", "older"])
    @pytest.mark.parametrize("padding", [Padding.PKCS7, Padding.PKCS5])
    def test_finds_the_slot_that_fits(self, sealer: bytes, slot: int, padding: Padding) -> None:
        """During a rotation either secret may have sealed a reply."""
        fields = {"tokenSecret": "s3cr3t-token", "sessionHandle": "1/refresh-token-value"}
        keys = ring(NEW, OLD, padding=padding)
        plaintexts, found = keys.decrypt(sealed_fields(sealer, **fields), iv=IV)
        assert (fields, slot) == (revealed(plaintexts), found)

    def test_one_secret_for_all_fields(self) -> None:
        """Fields of one reply that different secrets sealed are no reply."""
        fields = {
            "tokenSecret": seal(pad("one"), OLD),
            "sessionHandle": seal(pad("two"), NEW),
        }
        with pytest.raises(Unopened):
            ring(NEW, OLD).decrypt(fields, iv=IV)

    @pytest.mark.parametrize("keys", [(), (NEW,), (NEW, bytes(32))], ids=["none", "one", "two"])
    def test_without_the_right_secret_nothing_opens(self, keys: tuple[bytes, ...]) -> None:
        """No secret, or the wrong ones."""
        with pytest.raises(Unopened):
            ring(*keys).decrypt(sealed_fields(OLD, tokenSecret="s3cr3t"), iv=IV)

    def test_two_plausible_plaintexts_are_none(self) -> None:
        """Where two secrets open a reply, neither is trusted."""
        keys = KeyRing([Opens(NEW, "one"), Opens(OLD, "two")])
        with pytest.raises(Unopened):
            keys.decrypt({"tokenSecret": b""}, iv=IV)

    @pytest.mark.parametrize("odd", ["a b", "a\n", "tökén", "\x7f", "a\0", "", " "])
    def test_a_token_is_printable(self, odd: str) -> None:
        """Of two secrets, the one whose plaintext is no token is the wrong one."""
        keys = KeyRing([Opens(NEW, odd), Opens(OLD, "!~")])
        assert 1 == keys.decrypt({"tokenSecret": b""}, iv=IV)[1]

    @pytest.mark.parametrize("name", ["tokenExpiration", "tokenExpirationUTC", "sessionExpiration"])
    def test_an_expiry_may_hold_a_space(self, name: str) -> None:
        """With ``encryptAll`` a date-time is sealed too."""
        fields = {name: "2009-06-21 17:00:00", "authToken": "token"}
        assert 1 == ring(NEW, OLD).decrypt(sealed_fields(OLD, **fields), iv=IV)[1]

    @pytest.mark.parametrize("voucher", [0, 1])
    def test_the_signature_picks_the_slot(self, voucher: int) -> None:
        """A signature decides where plaintext alone could not, and whatever it looks like."""
        keys = [Opens(NEW, "one"), Opens(OLD, "zwei Wörter")]
        _, slot = KeyRing(keys).decrypt(
            {"tokenSecret": b""},
            iv=IV,
            vouching=lambda key, _: key.is_same(keys[voucher]),
        )
        assert voucher == slot

    def test_the_signature_may_need_what_was_sealed(self) -> None:
        """With ``encryptAll`` the signed id is only known once a secret has opened it."""
        _, slot = ring(NEW, OLD).decrypt(
            sealed_fields(OLD, providerUID="123"),
            iv=IV,
            vouching=lambda key, fields: key.vouches(
                fields["providerUID"].reveal(), PartnerKey(OLD).sign("123")
            ),
        )
        assert 1 == slot

    def test_a_signature_of_no_secret_leaves_the_choice_to_the_plaintext(self) -> None:
        """Which secret signs is not documented, so a strange signature alone refuses nothing."""
        _, slot = ring(NEW, OLD).decrypt(
            sealed_fields(OLD, tokenSecret="s3cr3t"), iv=IV, vouching=lambda *_: False
        )
        assert 1 == slot

    def test_a_signature_of_two_secrets_is_none(self) -> None:
        """Whoever vouches must be alone."""
        keys = KeyRing([Opens(NEW, "one"), Opens(OLD, "two words")])
        with pytest.raises(Unopened):
            keys.decrypt({"tokenSecret": b""}, iv=IV, vouching=lambda *_: True)

    def test_a_secret_that_occurs_twice_counts_once(self) -> None:
        """Two files with one secret do not make it doubtful; slots keep their places."""
        keys = ring(NEW, NEW, OLD)
        _, slot = keys.decrypt(sealed_fields(OLD, tokenSecret="s3cr3t"), iv=IV)
        assert (2, 2) == (len(keys), slot)

    @pytest.mark.parametrize("padding", [Padding.PKCS7, Padding.PKCS5])
    @pytest.mark.parametrize("vouching", [None, lambda *_: True, lambda *_: False])
    def test_a_single_secret_takes_any_text(
        self, vouching: Vouching | None, padding: Padding
    ) -> None:
        """With one secret and PKCS#7 nothing has to be guessed, whatever a signature says."""
        sealed = sealed_fields(OLD, tokenSecret="zwei Wörter")
        plaintexts, slot = ring(OLD, padding=padding).decrypt(sealed, iv=IV, vouching=vouching)
        assert ({"tokenSecret": "zwei Wörter"}, 0) == (revealed(plaintexts), slot)

    @given(
        texts=st.dictionaries(st.sampled_from("ab"), st.text(max_size=20).map(pad), min_size=1),
        blocks=st.dictionaries(st.just("c"), st.binary(min_size=16, max_size=16)),
        padding=st.sampled_from([Padding.PKCS7, Padding.PKCS5]),
    )
    def test_a_single_secret_opens_what_its_key_opens(
        self, texts: dict[str, bytes], blocks: dict[str, bytes], padding: Padding
    ) -> None:
        """Whatever was sealed and whatever was not: the ring adds only the slot."""
        sealed = {name: seal(text, OLD) for name, text in texts.items()} | blocks
        try:
            expected = revealed(PartnerKey(OLD).decrypt(sealed, IV, padding))
        except Unopened:
            with pytest.raises(Unopened):
                ring(OLD, padding=padding).decrypt(sealed, iv=IV)
        else:
            plaintexts, slot = ring(OLD, padding=padding).decrypt(sealed, iv=IV)
            assert (expected, 0) == (revealed(plaintexts), slot)

    def test_zeros_takes_one_secret_only(self) -> None:
        """Without padding to check, nothing would tell a wrong secret."""
        with pytest.raises(ValueError, match="one partner secret only"):
            ring(NEW, OLD, padding=Padding.ZEROS)

    def test_zeros_gives_tokens_only(self) -> None:
        """Its padding proves nothing, so even a single secret must give printable text."""
        keys = ring(OLD, OLD, padding=Padding.ZEROS)
        token = {"tokenSecret": seal(pad("s3cr3t", Padding.ZEROS), OLD)}
        words = {"tokenSecret": seal(pad("zwei Wörter", Padding.ZEROS), OLD)}
        assert {"tokenSecret": "s3cr3t"} == revealed(keys.decrypt(token, iv=IV)[0])
        with pytest.raises(Unopened):
            keys.decrypt(words, iv=IV)

    def test_any_of_its_secrets_vouches(self) -> None:
        """A signature of the older secret is as good while both are configured."""
        signers = [PartnerKey(key) for key in (NEW, OLD, bytes(32))]
        given_ = [signer.sign("text") for signer in signers]
        assert [True, True, False] == [ring(NEW, OLD).vouches("text", each) for each in given_]

    @given(
        tokens=st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)),
        wrong=st.binary(min_size=32, max_size=32).filter(lambda key: key != OLD),
        place=st.integers(min_value=0, max_value=1),
    )
    def test_no_wrong_plaintext_comes_out(
        self, tokens: list[str], wrong: bytes, place: int
    ) -> None:
        """Whatever the other secret is and wherever it stands: the right text, from its slot."""
        fields = {f"field{index}": token for index, token in enumerate(["t", *tokens])}
        keys = [wrong, wrong]
        keys[place] = OLD
        plaintexts, slot = ring(*keys).decrypt(sealed_fields(OLD, **fields), iv=IV)
        assert (fields, place) == (revealed(plaintexts), slot)

    @pytest.mark.parametrize("padding", [Padding.PKCS7, Padding.PKCS5])
    @pytest.mark.parametrize(
        "many", [5_000, pytest.param(50_000, marks=pytest.mark.needs_tools)], ids=str
    )
    def test_no_wrong_plaintext_comes_out_of_many(self, many: int, padding: Padding) -> None:
        """So many tokens, the wrong secret first: each opens, and as what it was."""
        seeded = random.Random(50_000)
        keys = ring(NEW, OLD, padding=padding)
        for _ in range(many):
            token = "".join(seeded.choices("abcXYZ0189-._~+/=", k=seeded.randint(1, 40)))
            plaintexts, slot = keys.decrypt(sealed_fields(OLD, tokenSecret=token), iv=IV)
            assert (token, 1) == (plaintexts["tokenSecret"].reveal(), slot)
