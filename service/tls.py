"""TLS as the API's listener speaks it: contexts from bytes, replaced whole (RFC 8446)."""

import asyncio
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from service.secret import Secret

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2 (RFC 9325 §4.2: forward secret, AEAD); those of TLS 1.3 are all good."""

OPTIONS: Final = (
    ssl.OP_NO_TICKET
    | ssl.OP_NO_COMPRESSION
    | ssl.OP_NO_RENEGOTIATION
    | ssl.OP_CIPHER_SERVER_PREFERENCE
)


class TlsFault(ValueError):
    """The files do not make a TLS configuration; says why, quoting nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """What a context is made of, in PEM; with a ``client_ca`` every peer needs a certificate."""

    certificate: bytes
    key: Secret[bytes]
    client_ca: bytes | None = None


def parse(contents: Sequence[bytes]) -> ssl.SSLContext:
    """Return a context from the contents of certificate, key and (if any) client CA file.

    The ``parse`` of a watched group of files. Raises ``TlsFault``.
    """
    certificate, key, *client_ca = contents
    material = Material(
        certificate=certificate, key=Secret(key), client_ca=client_ca[0] if client_ca else None
    )
    return open_context(material)


def open_context(material: Material) -> ssl.SSLContext:
    """Return a fresh context, which shares no session and no trust with any before it.

    TLS 1.2 or newer, no tickets, no renegotiation, ALPN ``http/1.1``. Raises ``TlsFault``.
    """
    pair = _checked(material)
    context = Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= OPTIONS
    context.num_tickets = 0
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, pair)
    if material.client_ca is not None:
        _trust(context, material.client_ca)
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCertificate:
    """What a peer showed in its handshake: the certificate (DER), and its end in UNIX seconds."""

    der: bytes
    ends: float

    @classmethod
    def of(cls, transport: asyncio.BaseTransport) -> "PeerCertificate | None":
        """Return the certificate that was verified when the connection was made, if any."""
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        der = secured.getpeercert(binary_form=True) if secured is not None else None
        return None if not der else cls(der=der, ends=not_after(der))


def leaf_not_after(chain: bytes) -> float:
    """Return when the first certificate of a chain (PEM) expires, in UNIX seconds."""
    return x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc.timestamp()


def not_after(certificate: bytes) -> float:
    """Return when a certificate (DER) expires, in UNIX seconds."""
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()


class _Object(ssl.SSLObject):
    """Keeps what OpenSSL wanted to say when a handshake failed; event loops drop it."""

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            error.alert = self.outgoing.read()  # type: ignore[attr-defined]  # for alert_of
            raise


class Context(ssl.SSLContext):
    """A context whose failed handshakes leave their alert with the error.

    ``anchors`` are the authorities that it trusts for peers.
    """

    sslobject_class = _Object
    anchors: Sequence[x509.Certificate] = ()

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **options: Any
    ) -> ssl.SSLObject:
        """Return an object for one connection."""
        wrapped = super().wrap_bio(incoming, outgoing, *args, **options)
        if isinstance(wrapped, _Object):
            wrapped.outgoing = outgoing
        return wrapped


def alert_of(error: BaseException) -> bytes:
    """Return the TLS alert (RFC 8446 §6) that tells the peer why, or nothing."""
    alert = getattr(error, "alert", b"")
    return alert if isinstance(alert, bytes) else b""


def _checked(material: Material) -> bytes:
    """Return the chain and its key in one PEM, nothing else. Raises ``TlsFault``."""
    chain = _certificates(material.certificate, "the certificate file does not hold")
    key = _private_key(material.key)
    ours, theirs = (
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for public in (chain[0].public_key(), key.public_key())
    )
    if ours != theirs:
        raise TlsFault("the certificate and the private key do not belong together")
    opened = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return b"".join(each.public_bytes(Encoding.PEM) for each in chain) + opened


def _certificates(pem: bytes, words: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise TlsFault(f"{words} PEM certificates") from None


def _private_key(pem: Secret[bytes]) -> PrivateKeyTypes:
    problem = "the key file does not hold a PEM private key"
    try:
        return load_pem_private_key(pem.reveal(), password=None)
    except (ValueError, UnsupportedAlgorithm):
        pass  # raised below, without what the error may hold
    except TypeError:
        problem = "the private key is encrypted: only one without a passphrase can be used"
    raise TlsFault(problem)


def _load_pair(context: ssl.SSLContext, pair: bytes) -> None:
    with PATH_OF(pair) as path, suppress(ssl.SSLError):
        context.load_cert_chain(path)
        return
    raise TlsFault("TLS cannot be spoken with such a key")


def _trust(context: Context, client_ca: bytes) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    # What the operator lists is what is trusted, be it a root or an issuer below one.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    anchors = _certificates(client_ca, "the client CA file does not hold")
    context.anchors = tuple(anchors)
    context.load_verify_locations(cadata=b"".join(a.public_bytes(Encoding.DER) for a in anchors))


@contextmanager
def in_memory(octets: bytes) -> Iterator[str]:
    """Give OpenSSL, which reads files only, a path to ``octets`` that no disk has seen (Linux)."""
    descriptor = os.memfd_create("pem")
    with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123  # has no path
        file.write(octets)
        yield f"/proc/self/fd/{descriptor}"


@contextmanager
def in_a_file(octets: bytes) -> Iterator[str]:
    """Give it a path to a file of ours alone, which is gone at the end of the block."""
    with NamedTemporaryFile(buffering=0) as named:
        named.write(octets)
        yield named.name


PATH_OF: Final = in_memory if hasattr(os, "memfd_create") else in_a_file
