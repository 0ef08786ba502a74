"""What the named files must hold; each check names what is wrong and quotes nothing."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from service.gigya.keys import WHITE_SPACE, HmacKey, PartnerKey, RsaKey
from service.gigya.signature import octets_of
from service.proxy_credentials import ProxyCredentials
from service.strict_json import NotStrictJson, loads

LARGEST: Final = 1_048_576
"""Octets; a Secret cannot be larger."""
AUDIT_KEY: Final = 32
"""Octets that an audit key has at least."""

Given = TypeVar("Given")
Made = TypeVar("Made")

Check = Callable[[bytes], None]
"""Raises ``ValueError`` whose text says what the file must hold."""


def _text(octets: bytes) -> str:
    """Return what a key's file holds but for the white space that the keys forgive, no other."""
    text = octets.decode("ascii", "replace").strip(WHITE_SPACE)
    if not text:
        raise ValueError("holds nothing")
    return text


def partner_secret(octets: bytes) -> None:
    """Check for base64 of 16, 24 or 32 octets."""
    _attempt(PartnerKey.from_base64, _text(octets), "must hold base64 of 16, 24 or 32 octets")


def user_secret(octets: bytes) -> None:
    """Check for base64."""
    _attempt(HmacKey.from_base64, _text(octets), "must hold base64")


def audit_key(octets: bytes) -> None:
    """Check for base64 of 32 octets or more."""
    told = f"must hold base64 of {AUDIT_KEY} octets or more"
    if len(_attempt(octets_of, _text(octets), told)) < AUDIT_KEY:
        raise ValueError(told)


def proxy_credentials(octets: bytes) -> None:
    """Check for user name and password."""
    _text(octets)
    ProxyCredentials.from_file(octets)


def token(octets: bytes) -> None:
    """Check for anything."""
    _text(octets)


def rsa_key(octets: bytes) -> None:
    """Check for an RSA private key that can sign."""
    _text(octets)
    try:
        RsaKey.from_pem(octets)
    except ValueError as error:
        problem = str(error)
    else:
        return
    raise ValueError(f"does not hold a usable key: {problem}")


def certificates(octets: bytes) -> None:
    """Check for certificates in PEM."""
    _chain(octets)


def private_key(octets: bytes) -> None:
    """Check for a private key in PEM that needs no passphrase."""
    _public_half(octets)


def key_set(octets: bytes) -> None:
    """Check for a JSON Web Key Set (RFC 7517) of public keys."""
    _text(octets)
    try:
        document = loads(octets)
    except NotStrictJson:
        document = None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ValueError("must hold a JSON Web Key Set with a key")
    if not all(isinstance(key, dict) and "d" not in key and "k" not in key for key in keys):
        raise ValueError("must hold public keys only")


def is_pair(certificate: bytes, key: bytes) -> bool:
    """Whether a certificate and a private key belong together; both have been checked."""
    public = _chain(certificate)[0].public_key()
    return public.public_bytes(*_SPKI) == _public_half(key)


def dates(octets: bytes, now: datetime) -> Iterator[str]:
    """Yield what is to be said of checked certificates' dates."""
    for certificate in _chain(octets):
        if certificate.not_valid_after_utc <= now:
            yield "holds a certificate that has expired"
        if certificate.not_valid_before_utc > now:
            yield "holds a certificate that is not valid yet"


def has_authority(octets: bytes) -> bool:
    """Whether a checked certificate is one that may sign others (RFC 5280, section 4.2.1.9)."""
    return any(map(_is_authority, _chain(octets)))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


_SPKI: Final = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _chain(octets: bytes) -> list[x509.Certificate]:
    return _attempt(x509.load_pem_x509_certificates, octets, "must hold certificates in PEM")


def _public_half(octets: bytes) -> bytes:
    told = "must hold one private key in PEM, not encrypted"
    key = _attempt(lambda pem: load_pem_private_key(pem, password=None), octets, told)
    return key.public_key().public_bytes(*_SPKI)


def _attempt(make: Callable[[Given], Made], given: Given, told: str) -> Made:
    """Return what ``make`` makes; raises ``ValueError(told)``, which chains nothing."""
    try:
        return make(given)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    raise ValueError(told)
