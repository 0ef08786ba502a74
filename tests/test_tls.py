"""What a TLS context is made of, and what it keeps of a failure."""

import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from service.secret import Secret
from service.tls import (
    Material,
    TlsFault,
    alert_of,
    in_a_file,
    in_memory,
    not_after,
    open_context,
    parse,
)
from tests.pki import HOUR, NOW, SERVER, Authority

AUTHORITY = Authority("authority")
LEAF = AUTHORITY.issue("server", purpose=SERVER)
OTHER = AUTHORITY.issue("other", purpose=SERVER)


def material(
    certificate: bytes = LEAF.certificate, key: bytes = LEAF.key, client_ca: bytes | None = None
) -> Material:
    return Material(certificate=certificate, key=Secret(key), client_ca=client_ca)


def encrypted(key: bytes) -> bytes:
    private = load_pem_private_key(key, password=None)
    locked = BestAvailableEncryption(b"passphrase")
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)


class TestOpenContext:
    def test_is_modern(self) -> None:
        """TLS 1.2 or newer, no tickets, no renegotiation, no compression, forward secrecy."""
        context = open_context(material())
        assert ssl.TLSVersion.TLSv1_2 == context.minimum_version
        assert 0 == context.num_tickets
        for option in (ssl.OP_NO_TICKET, ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_COMPRESSION):
            assert context.options & option
        weak = [c["name"] for c in context.get_ciphers() if not c["aead"]]
        assert [] == weak
        assert {"kx-ecdhe", "kx-any"} == {c["kea"] for c in context.get_ciphers()}

    def test_asks_no_certificate_without_an_authority(self) -> None:
        """Without a client CA callers prove themselves otherwise."""
        assert ssl.CERT_NONE == open_context(material()).verify_mode

    def test_demands_a_certificate_with_an_authority(self) -> None:
        """With one nobody gets in without a certificate, and only what is listed is trusted."""
        context = open_context(material(client_ca=AUTHORITY.pem + Authority("second").pem))
        assert ssl.CERT_REQUIRED == context.verify_mode
        assert {"x509": 2, "crl": 0, "x509_ca": 2} == context.cert_store_stats()

    @pytest.mark.parametrize(
        ("faulty", "words"),
        [
            (material(certificate=b""), "does not hold PEM certificates"),
            (material(certificate=LEAF.key), "does not hold PEM certificates"),
            (material(key=b"hunter2"), "does not hold a PEM private key"),
            (material(key=LEAF.certificate), "does not hold a PEM private key"),
            (material(key=encrypted(LEAF.key)), "is encrypted"),
            (material(key=OTHER.key), "do not belong together"),
            (material(client_ca=b"# none\n"), "client CA file does not hold"),
            (material(client_ca=LEAF.key), "client CA file does not hold"),
        ],
        ids=[
            "no certificate",
            "key for certificate",
            "no key",
            "certificate for key",
            "encrypted key",
            "another key",
            "empty bundle",
            "key for bundle",
        ],
    )
    def test_names_the_fault(self, faulty: Material, words: str) -> None:
        """What cannot be used is refused in a sentence that holds nothing of the key."""
        with pytest.raises(TlsFault, match=words) as caught:
            open_context(faulty)
        assert caught.value.__cause__ is None
        assert "hunter2" not in repr(caught.value)

    def test_refuses_a_key_that_cannot_sign(self) -> None:
        """What only OpenSSL finds wrong is a fault like the others: a key for agreement alone."""
        key = X25519PrivateKey.generate()
        leaf = AUTHORITY.certify(key.public_key(), purpose=SERVER)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(TlsFault, match="cannot be spoken") as caught:
            open_context(material(certificate=leaf, key=pem))
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)

    @pytest.mark.parametrize("path_of", [in_memory, in_a_file])
    def test_takes_its_key_from_where_it_can(
        self, path_of: Callable[[bytes], AbstractContextManager[str]]
    ) -> None:
        """Where there is memory to name, and where there are only files."""
        with path_of(LEAF.certificate + LEAF.key) as path:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
        assert not Path(path).exists()

    def test_takes_certificate_and_key_from_one_file(self) -> None:
        """A file that holds both may be given for both."""
        both = LEAF.certificate + LEAF.key
        assert ssl.CERT_NONE == open_context(material(certificate=both, key=both)).verify_mode

    @pytest.mark.parametrize("bundle", [(), (AUTHORITY.pem,)], ids=["plain", "mutual"])
    def test_is_parsed_from_a_group_of_files(self, bundle: tuple[bytes, ...]) -> None:
        """Certificate, key and client CA come in that order, the last one optional."""
        context = parse((LEAF.certificate, LEAF.key, *bundle))
        assert bool(bundle) == (context.verify_mode is ssl.CERT_REQUIRED)


class TestContext:
    def test_keeps_the_alert(self) -> None:
        """A failed handshake leaves what the peer should be told: alert 70, protocol_version."""
        context = open_context(material())
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with pytest.raises(ssl.SSLWantReadError):
            client.wrap_bio(ssl.MemoryBIO(), incoming, server_hostname="localhost").do_handshake()
        with pytest.raises(ssl.SSLError) as caught:
            context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
        assert bytes([21, 3, 3, 0, 2, 2, 70]) == alert_of(caught.value)

    def test_has_no_alert_for_other_errors(self) -> None:
        """There is nothing to say to a peer that has gone."""
        assert b"" == alert_of(ConnectionResetError())


class TestNotAfter:
    def test_is_the_end_of_the_certificate(self) -> None:
        """The end of a certificate's life is known to the second."""
        assert int((NOW + HOUR).timestamp()) == not_after(LEAF.der)
