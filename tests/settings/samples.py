"""A configuration that uses every key, the files it names, and ways to spoil both."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from service.settings.load import Loaded, ReadFile, load

NOW = datetime(2026, 6, 1, tzinfo=UTC)
GOOD = Path(__file__).with_name("good.yaml").read_text(encoding="utf-8")


def spoiled(*edits: tuple[str, str], text: str = GOOD) -> str:
    """Return the good configuration with each edit's first text, which stands once, replaced."""
    for old, new in edits:
        assert 1 == text.count(old), old
        text = text.replace(old, new)
    return text


def reader(files: Mapping[str, bytes | OSError]) -> ReadFile:
    """Return what reads ``files``: no other exists, and an error is raised."""

    def read(path: str) -> bytes:
        found = files.get(path, FileNotFoundError(2, "none"))
        if isinstance(found, OSError):
            raise found
        return found

    return read


def loaded(text: str | bytes = GOOD, **files: bytes | OSError) -> Loaded:
    """Return what is loaded from ``text`` and the good files, some of them replaced."""
    return load(text, read_file=reader({**good_files(), **files}), now=NOW)


@cache
def good_files() -> Mapping[str, bytes]:
    """Return the contents of every file that the good configuration names."""
    return {
        "tls/certificate.pem": certificate(ec_key()),
        "tls/key.pem": pem(ec_key()),
        "tls/ca.pem": certificate(ec_key(1), is_authority=True),
        "secrets/partner-new": b" " + base64.b64encode(bytes(range(32))) + b"\r\n",
        "secrets/partner-old": base64.b64encode(bytes(range(1, 25))),
        "secrets/rsa-new.pem": pem(rsa_key(2048)),
        "secrets/user-old": base64.b64encode(b"user key's secret") + b"\n",
        "secrets/keys.json": key_set(),
        "secrets/token": b"eyJ.e30.x\n",
        "secrets/proxy": "egress:pässword: ÿ\n".encode(),
        "secrets/audit-new": base64.b64encode(bytes(range(2, 34))),
        "secrets/audit-old": base64.b64encode(bytes(range(3, 51))),
    }


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """Return one RSA key of each size."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    """Return the elliptic-curve key of that number."""
    del number
    return ec.generate_private_key(ec.SECP256R1())


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None
) -> bytes:
    """Return the private key in PKCS#8, encrypted where there is a password."""
    how: KeySerializationEncryption = NoEncryption()
    if password is not None:
        how = BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def certificate(
    key: ec.EllipticCurvePrivateKey,
    *,
    begins: datetime = NOW - timedelta(days=1),
    is_authority: bool | None = False,
) -> bytes:
    """Return a self-signed certificate in PEM that is good for ten days.

    ``is_authority`` is what its basic constraints say; ``None``: it has none.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=begins,
        not_valid_after=begins + timedelta(days=10),
    )
    if is_authority is not None:
        constraints = x509.BasicConstraints(ca=is_authority, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def key_set(**members: Any) -> bytes:
    """Return a JSON Web Key Set of one public key, which has ``members`` too."""
    key = {
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": "1",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }
    return json.dumps({"keys": [{**key, **members}]}).encode()
