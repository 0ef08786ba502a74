import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.simulator import signing
from service.simulator.signing import ProviderUidForm

VECTORS: Final[dict[str, Any]] = json.loads(
    Path(__file__).parents[1].joinpath("vectors/gigya.json").read_text("utf-8")
)
SECRET: Final = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
UNRESERVED: Final = "ABCXYZabcxyz0189-._~"


@pytest.mark.parametrize("vector", VECTORS["requestSignature"], ids=lambda v: v["name"])
class TestRequestVectors:
    def test_base_string(self, vector: dict[str, Any]) -> None:
        """The base string is what three official SDKs make."""
        made = signing.base_string(vector["httpMethod"], vector["url"], vector["params"])
        assert vector["baseString"] == made

    def test_signature(self, vector: dict[str, Any]) -> None:
        """The signature is what three official SDKs make."""
        assert vector["sig"] == signing.sign(vector["baseString"], vector["secretBase64"])

    def test_leaves_out_sig(self, vector: dict[str, Any]) -> None:
        """What is signed is everything sent but the signature itself."""
        sent = {**vector["params"], "sig": vector["sig"]}
        made = signing.base_string(vector["httpMethod"], vector["url"], sent)
        assert vector["baseString"] == made


class TestUidVectors:
    @pytest.mark.parametrize("vector", VECTORS["uidSignature"], ids=lambda v: v["UID"])
    def test_uid(self, vector: dict[str, Any]) -> None:
        """A UID is signed as ``timestamp_UID``."""
        made = signing.sign_uid(vector["UID"], vector["timestamp"], SECRET)
        assert vector["signature"] == made

    @pytest.mark.parametrize(
        ("form", "member"),
        [
            (ProviderUidForm.SESSION_INFO, "formA_getSessionInfo_doc"),
            (ProviderUidForm.IDENTITY, "formB_identity_doc"),
        ],
    )
    @pytest.mark.parametrize(
        "vector", VECTORS["providerUIDSig"]["vectors"], ids=lambda v: v["provider"]
    )
    def test_provider_uid(self, vector: dict[str, Any], form: ProviderUidForm, member: str) -> None:
        """A provider UID is signed in either of the two documented forms."""
        made = signing.sign_provider_uid(
            form,
            provider=vector["provider"],
            provider_uid=vector["providerUID"],
            timestamp=vector["timestamp"],
            secret=SECRET,
        )
        assert vector[member]["signature"] == made


class TestEncode:
    @given(st.text(st.characters(codec="utf-8")))
    def test_rfc_3986(self, text: str) -> None:
        """Each octet of the UTF-8 stands for itself if unreserved, else as %XX in upper case."""
        expected = "".join(
            chr(octet) if (chr(octet).isalnum() and octet < 128) or chr(octet) in "-._~"
            else f"%{octet:02X}"
            for octet in text.encode()
        )  # fmt: skip
        assert expected == signing.encode(text)


class TestNormalised:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("HTTP://LocalHost:80/A?b=c", "http://localhost/A"),
            ("https://h:443/x", "https://h/x"),
            ("http://h:443/x", "http://h:443/x"),
            ("https://h:8443/x", "https://h:8443/x"),
            ("http://[::1]:9321/x", "http://[::1]:9321/x"),
        ],
    )
    def test_url(self, url: str, expected: str) -> None:
        """Scheme and host in lower case, the port if it is not the scheme's, no query."""
        assert expected == signing.normalised(url)


class TestSame:
    def test_equal(self) -> None:
        """Two texts of the same octets are the same signature."""
        assert signing.same("qm/Em/t2qtna6qYuahhg6AR18xM=", "qm/Em/t2qtna6qYuahhg6AR18xM=")

    @pytest.mark.parametrize("wrong", ["", "?", "qm/Em", "AAAA", "rm/Em/t2qtna6qYuahhg6AR18xM="])
    def test_different(self, wrong: str) -> None:
        """Anything else is not, and what is no base64 is nothing."""
        assert not signing.same(wrong, "qm/Em/t2qtna6qYuahhg6AR18xM=")
