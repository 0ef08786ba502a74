import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from service.gigya.cipher import Unopened
from service.gigya.keys import KeyRing, PartnerKey
from service.gigya.replies import Reply
from service.gigya.sealing import JUDGED, CameBackPlain, Mode, Scope, Sealing, unsealed
from service.secret import Secret

KEY, WRONG = bytes(range(32)), bytes(range(32, 64))
IV = bytes(range(16))
NAMES = ("authToken", "tokenSecret", "sessionHandle", "providerUID", "tokenExpiration")
HEX = "0123456789abcdef" * 4

texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
looks = texts | st.just(HEX) | st.binary(min_size=16, max_size=16).map(lambda b: b.hex())


def seal(text: str, key: bytes = KEY) -> str:
    """Seal a text by the book: AES-CBC, PKCS#7, base64."""
    missing = 16 - len(text.encode()) % 16
    encryptor = Cipher(AES(key), CBC(IV)).encryptor()
    octets = encryptor.update(text.encode() + bytes([missing]) * missing)
    return base64.b64encode(octets).decode()


def reply(fields: dict[str, str], *ignored: str, iv: bool = True) -> Reply:
    """Return a reply with these fields."""
    all_fields = fields | ({"IV": base64.b64encode(IV).decode()} if iv else {})
    secrets = {name: Secret(text) for name, text in all_fields.items()}
    return Reply(error_code=0, fields=secrets, ignored=ignored)


def shown(fields: Any) -> dict[str, str]:
    """Return fields, revealed, without the IV."""
    return {name: each.reveal() for name, each in fields.items() if name != "IV"}


class TestUnsealed:
    @given(
        st.dictionaries(st.sampled_from(NAMES[:4]), looks),
        st.sampled_from(Scope),
        st.sampled_from(Mode),
        st.sampled_from([(KEY,), (KEY, WRONG)]),
    )
    def test_undoes_sealing(
        self, fields: dict[str, str], scope: Scope, mode: Mode, keys: tuple[bytes, ...]
    ) -> None:
        """What was sealed as asked comes out as it went in."""
        sealed = {n: seal(t) if n in JUDGED[scope] else t for n, t in fields.items()}
        ring = KeyRing([PartnerKey(key) for key in keys])
        opened, slot = unsealed(reply(sealed), Sealing(scope=scope, mode=mode), ring)
        assert fields == shown(opened)
        assert (0 if set(fields) & set(JUDGED[scope]) else None) == slot

    @given(
        fields=st.dictionaries(st.sampled_from(NAMES), looks),
        scope=st.sampled_from(Scope),
        ignored=st.booleans(),
    )
    def test_required_hands_out_nothing_that_was_not_sealed(
        self, fields: dict[str, str], scope: Scope, *, ignored: bool
    ) -> None:
        """Where sealing is required, a reply with a plain secret is refused in some way."""
        sealing = Sealing(scope=scope)
        given_reply = reply(fields, *([sealing.switch] if ignored else []))
        judged = set(fields) & set(JUDGED[scope])
        try:
            unsealed(given_reply, sealing, KeyRing([PartnerKey(KEY)]))
        except (CameBackPlain, Unopened):
            assert judged
        else:
            assert not judged

    @given(texts, st.sampled_from(Mode), st.sampled_from(Scope))
    def test_never_hands_out_ciphertext(self, text: str, mode: Mode, scope: Scope) -> None:
        """What another key sealed is refused, whatever is preferred."""
        sealed = {name: seal(text, WRONG) for name in JUDGED[scope]}
        with pytest.raises(Unopened):
            unsealed(reply(sealed), Sealing(scope=scope, mode=mode), KeyRing([PartnerKey(KEY)]))

    @given(st.dictionaries(st.sampled_from(NAMES), looks))
    def test_preferred_takes_plain_where_gigya_says_so(self, fields: dict[str, str]) -> None:
        """With Gigya's word that it ignored the switch, plain is plain."""
        sealing = Sealing(mode=Mode.PREFERRED)
        given_reply = reply(fields, "encrypt")
        opened, slot = unsealed(given_reply, sealing, KeyRing([PartnerKey(KEY)]))
        assert (fields, None) == (shown(opened), slot)

    @given(fields=st.dictionaries(st.sampled_from(NAMES), looks), iv=st.booleans())
    def test_without_a_key_only_what_cannot_be_sealed_passes(
        self, fields: dict[str, str], *, iv: bool
    ) -> None:
        """Nobody's key opens nothing: what may be ciphertext ends it, ignored or not."""
        sealing = Sealing(mode=Mode.PREFERRED)
        try:
            opened, _ = unsealed(reply(fields, "encrypt", iv=iv), sealing, KeyRing([]))
        except Unopened:
            assert iv
        else:
            assert fields == shown(opened)

    def test_opens_what_is_sealed_beside_what_is_plain(self) -> None:
        """Where plain is accepted, each value is judged by itself."""
        fields = {"tokenSecret": seal("secret"), "sessionHandle": "plain-handle"}
        sealing = Sealing(mode=Mode.PREFERRED)
        opened, slot = unsealed(reply(fields), sealing, KeyRing([PartnerKey(KEY)]))
        expected = {"tokenSecret": "secret", "sessionHandle": "plain-handle"}
        assert (expected, 0) == (shown(opened), slot)
