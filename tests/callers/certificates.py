"""Client certificates, as an authority would have issued them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtensionOID, NameOID

from tests.callers.issuer import P256
from tests.virtual_time import EPOCH

BEGIN = datetime.fromtimestamp(EPOCH, UTC) - timedelta(hours=1)


def uri(text: str) -> x509.GeneralName:
    """Make a URI name."""
    return x509.UniformResourceIdentifier(text)


def dns(text: str) -> x509.GeneralName:
    """Make a DNS name."""
    return x509.DNSName(text)


def subject(*parts: str) -> x509.Name:
    """Make a distinguished name: the last part is the common name, those before organisations."""
    *organisations, common = parts
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organisations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def certificate(
    *names: x509.GeneralName,
    subject: x509.Name | None = None,
    hours: float = 2,
    is_authority: bool | None = False,
    begin: datetime = BEGIN,
    san: bytes | None = None,
) -> bytes:
    """Make a certificate in DER that lives ``hours`` from ``begin``.

    It says whether it is an authority's, or nothing of that if ``is_authority`` is ``None``.
    ``san`` is DER that stands in place of alternative names.
    """
    builder: Any = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .public_key(P256.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(hours=hours))
    )
    if is_authority is not None:
        constraints = x509.BasicConstraints(is_authority, None)
        builder = builder.add_extension(constraints, critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if san is not None:
        raw = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, san)
        builder = builder.add_extension(raw, critical=False)
    made: x509.Certificate = builder.sign(P256, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)
