"""What subjects look like, against those who write them."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from service.subjects import (
    LONGEST_SPIFFE_ID,
    is_claimed,
    is_host_name,
    is_name,
    is_service_account,
    is_spiffe_id,
    types_of,
)

TYPES = st.sampled_from(
    [
        NameOID.COMMON_NAME,
        NameOID.ORGANIZATION_NAME,
        NameOID.USER_ID,
        NameOID.EMAIL_ADDRESS,
        NameOID.SERIAL_NUMBER,
    ]
)
VALUES = st.text('ab ,+="#;<>\\\0ü', min_size=1, max_size=6)
PARTS = st.builds(x509.NameAttribute, TYPES, VALUES)
NAMES = st.lists(
    st.lists(PARTS, min_size=1, max_size=2, unique_by=lambda part: part.oid), min_size=1, max_size=3
).map(lambda rdns: x509.Name([x509.RelativeDistinguishedName(parts) for parts in rdns]))
TEXTS = st.lists(
    st.sampled_from(["UID=", "O=", "1.2.3=", "01.2=", "X=", ",", "+", *'a ="#;<>\\0ü']), max_size=8
).map("".join)


class TestSpiffeId:
    @pytest.mark.parametrize("text", ["spiffe://d/a", "spiffe://a-b.c_d/x/Y.z/..."])
    def test_is_one(self, text: str) -> None:
        """Trust domain in lower case, then path segments (SPIFFE-ID, section 2)."""
        assert is_spiffe_id(text)

    @pytest.mark.parametrize(
        "text",
        [
            "spiffe://",
            "spiffe://d",
            "spiffe://d/",
            "spiffe://d/a/",
            "spiffe://d//a",
            "spiffe://d/./a",
            "spiffe://d/a/..",
            "spiffe://D/a",
            "SPIFFE://d/a",
            "spiffe://d:443/a",
            "spiffe://u@d/a",
            "spiffe://d/a?b",
            "spiffe://d/a#b",
            "spiffe://d/a%2Fb",
            "spiffe://d/a*",
            "spiffe://d/a\n",
            "spiffe:///a",
            "spiffe://d/ä",
            "http://d/a",
            " spiffe://d/a",
        ],
    )
    def test_is_none(self, text: str) -> None:
        """Whatever could be read in two ways is no SPIFFE ID."""
        assert not is_spiffe_id(text)

    def test_is_bounded(self) -> None:
        """Longer than the specification allows is none (section 2.3)."""
        whole = "spiffe://d/".ljust(LONGEST_SPIFFE_ID, "a")
        assert [True, False] == [is_spiffe_id(whole), is_spiffe_id(whole + "a")]


class TestName:
    @given(name=NAMES)
    def test_is_what_certificates_are_read_as(self, name: x509.Name) -> None:
        """However odd a certificate's subject is, it can be granted as it is recorded."""
        assert is_name(name.rfc4514_string())

    @given(text=TEXTS)
    def test_is_nothing_else(self, text: str) -> None:
        """What is read otherwise, or not at all, is no name: such a certificate cannot be."""
        if is_name(text) and "=#" not in text:
            assert text == x509.Name.from_rfc4514_string(text).rfc4514_string()

    @pytest.mark.parametrize(
        "text",
        [
            "CN=sync-worker",
            "CN=sync-worker,OU=crm,O=Acme,C=DE",
            "CN=a common name of more than the sixty-four characters that are recommended",
            r"CN=sync\,O=Acme",
            "CN=a+UID=b,DC=example,DC=com",
            "CN=a+CN=b,CN=a",
            "1.2.840.113549.1.9.1=sync@acme.example,CN=sync",
            "2.5.4.45=#0302",
        ],
    )
    def test_is_one(self, text: str) -> None:
        """Most specific part first, no spaces; OIDs for what RFC 4514 gives no short name."""
        assert is_name(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "sync-worker",
            "CN=sync, O=Acme",
            "CN = sync",
            "cn=sync",
            "/CN=sync/O=Acme",
            "CN=sync;O=Acme",
            "CN=sync,",
            "emailAddress=sync@acme.example",
            "serialNumber=1",
            r"CN=sync\2COps",
            "CN=sync ",
            "CN= sync",
            'CN="sync"',
            "CN=#0C",
            "UID=+UID=",
            "CN=a+UID=b+CN=a",
        ],
    )
    def test_is_none(self, text: str) -> None:
        """OpenSSL's and others' ways to write it, and text that is no subject."""
        assert not is_name(text)

    def test_has_parts(self) -> None:
        """Types are told in the order of the text, and a comma in a value parts nothing."""
        assert ["O", "CN"] == types_of(r"O=Acme\,OU=x,CN=sync")


class TestHostName:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("sync.crm.svc", True),
            ("1.example", True),
            ("Sync.example", False),
            ("*.example", False),
            ("sync.example.", False),
            ("-a.example", False),
            (".".join(["a" * 63] * 3), True),
            ("a" * 64, False),
            (".".join(["a" * 63] * 4), False),
            ("", False),
        ],
    )
    def test_is_in_lower_case(self, *, text: str, expected: bool) -> None:
        """Names of certificates are read in lower case, so only such can be granted."""
        assert expected is is_host_name(text)


class TestServiceAccount:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("crm/sync-worker", True),
            ("crm/sync.worker", True),
            ("crm.eu/sync", False),
            ("crm/sync/worker", False),
            ("crm", False),
            ("crm/", False),
            ("/sync", False),
            ("CRM/sync", False),
            ("a" * 64 + "/sync", False),
            ("crm/" + "a" * 254, False),
        ],
    )
    def test_is_as_kubernetes_names_them(self, *, text: str, expected: bool) -> None:
        """A namespace is a DNS label, an account's name a DNS subdomain."""
        assert expected is is_service_account(text)


class TestClaimed:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [("crm client", True), ("ü", False), (" a", False), ("a" * 512, True), ("a" * 513, False)],
    )
    def test_is_printable_ascii(self, *, text: str, expected: bool) -> None:
        """Nothing that looks like another subject is one."""
        assert expected is is_claimed(text)
