"""Callers that prove themselves with a client certificate, which the handshake has verified."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from service.callers.credentials import Credentials, Proof
from service.callers.refusals import Refusal
from service.deadline import Clock, Deadline
from service.errors import Unauthenticated
from service.model import Identity
from service.subjects import SPIFFE_ID, is_host_name, is_spiffe_id


class Kind(StrEnum):
    """Which name of a certificate is the identity."""

    SPIFFE = "spiffe"
    DNS = "dns"
    SUBJECT = "subject"


def spiffe_ids(certificate: x509.Certificate) -> list[str]:
    """Return the URI names (X.509-SVID, section 2: there is exactly one)."""
    return _alternatives(certificate).get_values_for_type(x509.UniformResourceIdentifier)


def host_names(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names; the common name is never taken for one (RFC 9525)."""
    names = _alternatives(certificate).get_values_for_type(x509.DNSName)
    return [name.lower() for name in names]


def subjects(certificate: x509.Certificate) -> list[str]:
    """Return the subject as RFC 4514 writes it, most specific part first."""
    subject = certificate.subject.rfc4514_string()
    return [subject] if subject else []


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])
    return extension.value


NAMES: Final[Mapping[Kind, Callable[[x509.Certificate], list[str]]]] = {
    Kind.SPIFFE: spiffe_ids,
    Kind.DNS: host_names,
    Kind.SUBJECT: subjects,
}


UNREADABLE: Final = (
    ValueError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What a certificate can make ``cryptography`` raise; some of it OpenSSL had no quarrel with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whom a certificate names, and when it holds."""

    subject: str
    not_before: datetime
    not_after: datetime


def holder_of(der: bytes, kind: Kind, trust_domain: str | None = None) -> Holder | Refusal | None:
    """Return whom the certificate ``der`` names by ``kind``; ``None`` if by no such name."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names, is_authority = NAMES[kind](certificate), _is_authority(certificate)
    except UNREADABLE:
        return Refusal.CERTIFICATE_MALFORMED
    if not names:
        return None
    if is_authority:
        return Refusal.CERTIFICATE_OF_AUTHORITY
    if len(names) > 1:
        return Refusal.CERTIFICATE_AMBIGUOUS
    return _holder(certificate, names[0], kind, trust_domain)


def _holder(
    certificate: x509.Certificate, name: str, kind: Kind, trust_domain: str | None
) -> Holder | Refusal | None:
    if kind is Kind.DNS and not is_host_name(name):
        return Refusal.CERTIFICATE_NAME_REFUSED
    if kind is Kind.SPIFFE:
        found = SPIFFE_ID.fullmatch(name)
        if found is None or not is_spiffe_id(name):
            return Refusal.CERTIFICATE_NAME_REFUSED
        if trust_domain not in {None, found["trust_domain"]}:
            return None
    return Holder(
        subject=name,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS)
    except x509.ExtensionNotFound:
        return False
    return isinstance(extension.value, x509.BasicConstraints) and extension.value.ca


class MutualTls:
    """Reads the identity out of the certificate of the connection."""

    def __init__(
        self, *, name: str, kind: Kind, clock: Clock, trust_domain: str | None = None
    ) -> None:
        self.name = name
        self._clock = clock
        # a connection brings the same certificate with each request
        self._holder = lru_cache(1024)(lambda der: holder_of(der, kind, trust_domain))

    def authenticate(self, credentials: Credentials, deadline: Deadline) -> Proof | None:
        """Prove the holder; raises ``Unauthenticated`` also when its time ran out meanwhile."""
        del deadline
        if credentials.certificate is None:
            return None
        holder = self._holder(credentials.certificate)
        if holder is None:
            return None
        if isinstance(holder, Refusal):
            raise Unauthenticated(holder)
        now = datetime.fromtimestamp(self._clock.wall(), UTC)
        if now > holder.not_after:
            raise Unauthenticated(Refusal.EXPIRED)
        if now < holder.not_before:
            raise Unauthenticated(Refusal.NOT_YET_VALID)
        identity = Identity(via=self.name, subject=holder.subject)
        return Proof(identity=identity, expires_at=holder.not_after)
