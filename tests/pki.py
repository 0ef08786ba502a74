"""A small certificate authority for tests that shake hands for real."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A certificate and its key, as PEM; what issued it may follow the certificate."""

    certificate: bytes
    key: bytes

    @property
    def der(self) -> bytes:
        """The certificate alone, in DER."""
        return x509.load_pem_x509_certificates(self.certificate)[0].public_bytes(Encoding.DER)


class Authority:
    """Issues certificates; ``under`` another one it is an intermediate, ``key`` is another's."""

    def __init__(
        self,
        name: str,
        under: "Authority | None" = None,
        *,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(by=under or self)

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        name: str = "caller",
        *,
        purpose: ObjectIdentifier = CLIENT,
        begin: datetime = NOW - HOUR,
        end: datetime = NOW + HOUR,
    ) -> Leaf:
        """Issue a certificate for ``localhost`` with a common name, both ends of its life given."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Leaf(
            certificate=self.certify(key.public_key(), name, purpose=purpose, life=(begin, end)),
            key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )

    def certify(
        self,
        key: CertificatePublicKeyTypes,
        name: str = "caller",
        *,
        purpose: ObjectIdentifier = CLIENT,
        life: tuple[datetime, datetime] = (NOW - HOUR, NOW + HOUR),
    ) -> bytes:
        """Sign a certificate for any kind of key, as PEM."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(life[0])
            .not_valid_after(life[1])
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _sign(self, by: "Authority") -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(by.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 2 * HOUR)
            .not_valid_after(NOW + 2 * HOUR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(by.key, hashes.SHA256())
        )


def client_context(trusted: Authority, leaf: Leaf | None, directory: Path) -> ssl.SSLContext:
    """Return what a caller uses: it trusts one authority and shows ``leaf`` if it is asked."""
    context = ssl.create_default_context(cadata=trusted.pem.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # our authority is a plain one
    if leaf is not None:
        file = directory / f"{hash(leaf)}.pem"
        file.write_bytes(leaf.certificate + leaf.key)
        context.load_cert_chain(file)
    return context
