import base64
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gigya import signature
from service.gigya.keys import PartnerKey
from service.gigya.signature import BaseString, NotBase64, ProviderUidSignature
from service.model import Uid, UidSignature
from service.secret import Secret

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "gigya.json").read_bytes())
REQUESTS = [pytest.param(each, id=each["name"]) for each in VECTORS["requestSignature"]]
UIDS = [pytest.param(each, id=each["UID"]) for each in VECTORS["uidSignature"]]
PROVIDER_UIDS = [
    pytest.param(each, form, id=f"{each['provider']}-{form}")
    for each in VECTORS["providerUIDSig"]["vectors"]
    for form in ("formA_getSessionInfo_doc", "formB_identity_doc")
]
FORMS = {
    "formA_getSessionInfo_doc": BaseString.SESSION_INFO,
    "formB_identity_doc": BaseString.IDENTITY,
}
KEY = bytes(range(32))
MAC = signature.mac_of(KEY)
NOW = 1_700_000_000
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
UNRESERVED = st.text("AZaz09-._~", max_size=20)
NAMED = st.dictionaries(UNRESERVED.filter(bool), UNRESERVED | TEXT, max_size=6)
PARAMS = st.dictionaries(TEXT.filter(bool), TEXT, max_size=6) | NAMED


def independent_base_string(method: str, url: str, params: dict[str, str]) -> str:
    """Return what facts.md §3b describes, written anew and without short cuts."""
    names = sorted(params, key=lambda name: name.encode("utf-8"))
    query = "&".join(name + "=" + quote(params[name], safe="~") for name in names)
    return "&".join([method, quote(url, safe="~"), quote(query, safe="~")])


def signed_text(method: str, url: str, params: dict[str, str]) -> str:
    """Return the base string of a request with these parameters."""
    return signature.base_string(method, url, signature.encoded_form(params))


class TestBaseString:
    @pytest.mark.parametrize("vector", REQUESTS)
    def test_is_that_of_the_official_sdks(self, vector: dict[str, Any]) -> None:
        """Three SDKs agree on the base string of each vector, and so do we."""
        base = signed_text(vector["httpMethod"], vector["url"], vector["params"])
        assert vector["baseString"] == base

    @pytest.mark.parametrize("vector", REQUESTS)
    def test_leads_to_the_signature_of_the_official_sdks(self, vector: dict[str, Any]) -> None:
        """Signed with the vector's secret, it gives the vector's signature."""
        base = signed_text(vector["httpMethod"], vector["url"], vector["params"])
        mac = signature.mac_of(base64.b64decode(vector["secretBase64"]))
        assert vector["sig"] == signature.sign(base, mac)

    @pytest.mark.parametrize(
        ("url", "signed"),
        [
            ("https://socialize.eu1.gigya.com/a.b", "https://socialize.eu1.gigya.com/a.b"),
            ("HTTPS://Socialize.EU1.gigya.com/A.b", "https://socialize.eu1.gigya.com/A.b"),
            ("https://h:443/m", "https://h/m"),
            ("http://h:80/m", "http://h/m"),
            ("http://h:443/m", "http://h:443/m"),
            ("https://h:80/m", "https://h:80/m"),
            ("http://127.0.0.1:9321/m", "http://127.0.0.1:9321/m"),
            ("http://[::1]:9321/m", "http://[::1]:9321/m"),
            ("http://[::1]/m", "http://[::1]/m"),
            ("https://h/m?x=1#y", "https://h/m"),
            ("https://h", "https://h"),
        ],
    )
    def test_names_scheme_host_and_path(self, url: str, signed: str) -> None:
        """Scheme and host in lower case, a port that is not the default, the path as it is."""
        assert f"POST&{quote(signed, safe='')}&" == signed_text("post", url, {})

    @given(params=NAMED)
    def test_is_the_documented_one_for_any_parameters(self, params: dict[str, str]) -> None:
        """Any text, non-BMP characters included, is signed as the rules say.

        No SDK encodes names at the first level; as names hold no reserved characters, none shows.
        """
        url = "https://socialize.us1.gigya.com/socialize.getSessionInfo"
        base = signed_text("POST", url, params)
        assert independent_base_string("POST", url, params) == base

    @given(values=st.lists(TEXT, min_size=3, max_size=3))
    def test_loses_nothing_of_the_values(self, values: list[str]) -> None:
        """Each value can be read back, so no two requests share a base string."""
        params = dict(zip("abc", values, strict=True))
        query = unquote(signed_text("POST", "https://h/m", params).split("&")[2])
        pairs = (pair.split("=") for pair in query.split("&"))
        assert params == {name: unquote(value) for name, value in pairs}


class TestEncodedForm:
    @given(params=PARAMS)
    def test_is_read_as_it_was_written(self, params: dict[str, str]) -> None:
        """Whatever the values, who decodes the form has them back, sorted by name."""
        form = signature.encoded_form(params)
        assert sorted(params.items()) == parse_qsl(
            form, keep_blank_values=True, strict_parsing=bool(params)
        )

    @given(params=PARAMS)
    def test_is_each_name_and_value_encoded_by_itself(self, params: dict[str, str]) -> None:
        """Whether anything in the whole form has to be encoded makes no difference to the rest."""
        pairs = (f"{quote(name, safe='~')}={quote(params[name], safe='~')}" for name in params)
        assert sorted(pairs) == sorted(signature.encoded_form(params).split("&") if params else [])

    def test_leaves_alone_what_needs_no_encoding(self) -> None:
        """RFC 3986: unreserved characters stand for themselves, a space is never a plus."""
        params = {"a": "AZaz09-._~", "b": "a b+c&d=e/%", "c": "", "d": "\u00fc\U0001f600"}
        expected = "a=AZaz09-._~&b=a%20b%2Bc%26d%3De%2F%25&c=&d=%C3%BC%F0%9F%98%80"
        assert expected == signature.encoded_form(params)


class TestOctetsOf:
    @given(octets=st.binary(max_size=40))
    def test_decodes_what_was_encoded(self, octets: bytes) -> None:
        """Base64 of RFC 4648 §4 gives its octets."""
        assert octets == signature.octets_of(base64.b64encode(octets).decode())

    @pytest.mark.parametrize(
        "text",
        [
            "A",
            "QQ",
            "QQ=",
            "QQ===",
            "QR==",
            "QQ==\n",
            " QQ==",
            "Q Q==",
            "-_-_",
            "QQ==QQ==",
            "é",
            "=",
        ],
    )
    def test_refuses_what_decoders_forgive(self, text: str) -> None:
        """Missing padding, spare bits, white space and other alphabets are refused."""
        with pytest.raises(NotBase64) as caught:
            signature.octets_of(text)
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)


class TestIsSignature:
    @given(text=TEXT, key=st.binary(min_size=1, max_size=64))
    def test_accepts_the_standard_hmac(self, text: str, key: bytes) -> None:
        """HMAC-SHA1 of RFC 2104 over UTF-8, in base64, however often one MAC is used."""
        expected = base64.b64encode(hmac.new(key, text.encode(), "sha1").digest()).decode()
        mac = signature.mac_of(key)
        assert [(expected, True)] * 2 == [
            (signature.sign(text, mac), signature.is_signature(text, mac, expected))
            for _ in ("first", "again")
        ]

    @given(bit=st.integers(min_value=0, max_value=159))
    def test_refuses_any_other(self, bit: int) -> None:
        """One bit off is another signature."""
        octets = bytearray(signature.digest("text", MAC))
        octets[bit // 8] ^= 1 << bit % 8
        assert not signature.is_signature("text", MAC, base64.b64encode(octets).decode())

    @pytest.mark.parametrize("given_", ["", "QQ==", "not base64", "é", " ", "=" * 28])
    def test_refuses_what_is_no_signature(self, given_: str) -> None:
        """What does not decode, or is too short, never matches."""
        assert not signature.is_signature("text", MAC, given_)

    def test_refuses_white_space(self) -> None:
        """A signature with a line end is not that signature."""
        assert not signature.is_signature("text", MAC, signature.sign("text", MAC) + "\n")


class TestIsFresh:
    @pytest.mark.parametrize(
        ("timestamp", "fresh"),
        [
            (str(NOW), True),
            (str(NOW - 180), True),
            (str(NOW + 180), True),
            (str(NOW - 181), False),
            (str(NOW + 181), False),
            ("", False),
            (f"{NOW}_x", False),
            (f"{NOW}.0", False),
            (f"-{NOW}", False),
            (f" {NOW}", False),
            (f"{NOW}\n", False),
            ("٣" * 10, False),
            (f"{NOW}000", False),
            ("9" * 5000, False),
        ],
    )
    def test_takes_digits_within_the_window(self, timestamp: str, fresh: bool) -> None:  # noqa: FBT001  # a table's column
        """UNIX seconds, at most the window away on either side; anything else is not fresh."""
        assert fresh == signature.is_fresh(timestamp, now=NOW, window=180)


class TestProvesUser:
    @pytest.mark.parametrize("vector", UIDS)
    def test_accepts_the_signatures_of_the_official_sdks(self, vector: dict[str, Any]) -> None:
        """A UID signed as the SDKs sign it proves that user."""
        proof = UidSignature(timestamp=vector["timestamp"], signature=vector["signature"])
        uid = Uid(vector["UID"])
        assert signature.proves_user(proof, uid, PartnerKey(KEY), now=NOW, window=180)

    @pytest.mark.parametrize(
        ("uid", "timestamp", "now"),
        [
            ("other", str(NOW), NOW),
            ("user123", str(NOW + 1), NOW),
            ("user123", str(NOW), NOW + 181),
            ("user123", str(NOW), NOW - 181),
        ],
        ids=["another user", "another time", "too old", "from the future"],
    )
    def test_refuses_what_was_not_signed_now_and_for_him(
        self, uid: str, timestamp: str, now: int
    ) -> None:
        """Another user, another time, or a moment outside the window."""
        proof = UidSignature(timestamp=timestamp, signature="cCzQ1SEL/rzz6Gekt3KGRZiZUAs=")
        assert not signature.proves_user(proof, Uid(uid), PartnerKey(KEY), now=now, window=180)

    def test_the_time_cannot_borrow_from_the_user(self) -> None:
        """A signature for user ``a_b`` does not serve user ``b`` by a longer timestamp."""
        signed = signature.sign(signature.uid_text(timestamp=str(NOW), uid="a_b"), MAC)
        proof = UidSignature(timestamp=f"{NOW}_a", signature=signed)
        assert not signature.proves_user(proof, Uid("b"), PartnerKey(KEY), now=NOW, window=180)


def provider_uid_signature(
    vector: dict[str, Any], form: str, base_string: BaseString
) -> ProviderUidSignature:
    """Return a vector's signature as a reply would carry it."""
    return ProviderUidSignature(
        base_string=base_string,
        provider=vector["provider"],
        timestamp=vector["timestamp"],
        signature=vector[form]["signature"],
    )


class TestProviderUidSignature:
    @pytest.mark.parametrize(("vector", "form"), PROVIDER_UIDS)
    def test_accepts_the_documented_form(self, vector: dict[str, Any], form: str) -> None:
        """Each of the two documented base strings is verified where it is configured."""
        signed = provider_uid_signature(vector, form, FORMS[form])
        assert signed.is_of(Secret(vector["providerUID"]), PartnerKey(KEY))

    @pytest.mark.parametrize(("vector", "form"), PROVIDER_UIDS)
    def test_accepts_both_where_either_will_do(self, vector: dict[str, Any], form: str) -> None:
        """``either`` is the default as long as nobody knows which one Gigya means."""
        signed = provider_uid_signature(vector, form, BaseString.EITHER)
        assert signed.is_of(Secret(vector["providerUID"]), PartnerKey(KEY))

    @pytest.mark.parametrize(("vector", "form"), PROVIDER_UIDS)
    def test_refuses_the_other_form(self, vector: dict[str, Any], form: str) -> None:
        """A configured base string is not the other one."""
        (other,) = set(FORMS.values()) - {FORMS[form]}
        signed = provider_uid_signature(vector, form, other)
        assert not signed.is_of(Secret(vector["providerUID"]), PartnerKey(KEY))

    @pytest.mark.parametrize(("vector", "form"), PROVIDER_UIDS)
    def test_refuses_another_id_and_another_key(self, vector: dict[str, Any], form: str) -> None:
        """It is bound to the provider UID and to the secret."""
        signed = provider_uid_signature(vector, form, BaseString.EITHER)
        uid = vector["providerUID"]
        assert [False, False] == [
            signed.is_of(Secret(uid + "1"), PartnerKey(KEY)),
            signed.is_of(Secret(uid), PartnerKey(bytes(32))),
        ]

    @pytest.mark.parametrize(("late", "proved"), [(0, True), (180, True), (181, False)])
    def test_proves_only_while_fresh(self, late: int, proved: bool) -> None:  # noqa: FBT001  # a table's column
        """A genuine signature proves nothing once its window is over."""
        vector = VECTORS["providerUIDSig"]["vectors"][0]
        signed = provider_uid_signature(vector, "formB_identity_doc", BaseString.EITHER)
        uid = Secret(vector["providerUID"])
        key = PartnerKey(KEY)
        assert proved == signed.proves(uid, key, now=NOW + late, window=180)

    def test_does_not_show_its_signature(self) -> None:
        """The signature is valid somewhere, so no representation has it."""
        vector = VECTORS["providerUIDSig"]["vectors"][0]
        signed = provider_uid_signature(vector, "formB_identity_doc", BaseString.EITHER)
        assert vector["formB_identity_doc"]["signature"] not in repr(signed)
