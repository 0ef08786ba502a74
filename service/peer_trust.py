"""Whether a peer that shook hands under older authorities would be let in by those of now."""

import asyncio
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from service.tls import Context

LONGEST_CHAIN: Final = 10
"""Certificates above a peer's that are looked at; OpenSSL's chains are no longer in practice."""

DER: Final = 2
"""``ssl``'s own number for it."""


def trusts(context: ssl.SSLContext, transport: asyncio.BaseTransport) -> bool:
    """Whether ``context`` would let in a peer that shook hands under an older one, by its issuers.

    Certificates that were verified then are not verified again but for what is to be proved: that
    one of the authorities that are trusted now has issued the peer's, or what issued it.
    """
    anchors = context.anchors if isinstance(context, Context) else ()
    leaf, *others = _chain_of(transport)
    return leaf in anchors or _is_issued_by(anchors, leaf, others[:LONGEST_CHAIN])


def _chain_of(transport: asyncio.BaseTransport) -> list[x509.Certificate]:
    """Return the peer's certificate and those above it, as OpenSSL has verified them.

    A resumed session (TLS 1.2) has none that are verified, but what the peer once sent.
    """
    secured = transport.get_extra_info("ssl_object")
    inner: Any = secured._sslobj  # noqa: SLF001  # public only since Python 3.13
    above = inner.get_verified_chain() or inner.get_unverified_chain()
    ders = dict.fromkeys(each.public_bytes(DER) for each in above)
    leaf = secured.getpeercert(binary_form=True)
    return [x509.load_der_x509_certificate(leaf), *_readable(der for der in ders if der != leaf)]


def _readable(ders: Iterable[bytes]) -> Iterator[x509.Certificate]:
    for der in ders:
        with suppress(ValueError):
            yield x509.load_der_x509_certificate(der)


def _is_issued_by(
    anchors: Sequence[x509.Certificate],
    held: x509.Certificate,
    others: Sequence[x509.Certificate],
) -> bool:
    """Whether a way leads from ``held`` over ``others`` to an anchor; each is taken once."""
    ways, left = [held], list(others)
    while ways:
        held = ways.pop()
        if any(_has_issued(anchor, held) for anchor in anchors):
            return True
        issuers = [each for each in left if _is_authority(each) and _has_issued(each, held)]
        left = [each for each in left if each not in issuers]
        ways += issuers
    return False


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if issuer.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (ValueError, x509.ExtensionNotFound):
        return False
    return found.value.ca
