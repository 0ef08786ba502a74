"""An issuer of the tests' own; it signs with ``cryptography`` alone, so as to share no mistake."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

RSA: Final = rsa.generate_private_key(65537, 2048)
OTHER_RSA: Final = rsa.generate_private_key(65537, 2048)
P256: Final = ec.generate_private_key(ec.SECP256R1())
OTHER_P256: Final = ec.generate_private_key(ec.SECP256R1())
P384: Final = ec.generate_private_key(ec.SECP384R1())
P521: Final = ec.generate_private_key(ec.SECP521R1())
ED25519: Final = ed25519.Ed25519PrivateKey.generate()

CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
HASHES: Final[Mapping[str, Callable[[], hashes.HashAlgorithm]]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}


def part(value: Any) -> str:
    """Encode octets, text or JSON as base64url without padding."""
    octets = value if isinstance(value, bytes) else None
    if octets is None:
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        octets = text.encode()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def signature(text: str, key: PrivateKey, alg: str) -> bytes:
    """Sign ``text`` as ``alg`` says."""
    octets = text.encode()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(octets)
    hashed = HASHES[alg[2:]]()
    if isinstance(key, rsa.RSAPrivateKey) and alg.startswith("PS"):
        pss = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
        return key.sign(octets, pss, hashed)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(octets, padding.PKCS1v15(), hashed)
    size = (key.curve.key_size + 7) // 8
    r, s = utils.decode_dss_signature(key.sign(octets, ec.ECDSA(hashed)))
    return r.to_bytes(size) + s.to_bytes(size)


def token(claims: Any, key: PrivateKey = P256, **header: Any) -> str:
    """Make a token; a header member that is ``None`` is left out."""
    members = {"alg": "ES256", "kid": "one", **header}
    said = {name: value for name, value in members.items() if value is not None}
    text = f"{part(said)}.{part(claims)}"
    return f"{text}.{part(signature(text, key, members['alg']))}"


def hmac_token(claims: Any, secret: bytes, **header: Any) -> str:
    """Make a token by HMAC, as if the public key were a shared secret."""
    text = f"{part({'alg': 'HS256', 'kid': 'rsa', **header})}.{part(claims)}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def pem(key: PrivateKey) -> bytes:
    """Write the public half as PEM."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def jwk(key: PrivateKey, kid: str, **members: Any) -> dict[str, Any]:
    """Write the public half as a JWK."""
    return {"kid": kid, "use": "sig", **_material(key), **members}


def _material(key: PrivateKey) -> dict[str, Any]:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raw = key.public_key().public_bytes_raw()
        return {"kty": "OKP", "crv": "Ed25519", "x": part(raw)}
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_numbers()
        n, e = (number.to_bytes((number.bit_length() + 7) // 8) for number in (public.n, public.e))
        return {"kty": "RSA", "n": part(n), "e": part(e)}
    size = (key.curve.key_size + 7) // 8
    point = key.public_key().public_numbers()
    x, y = point.x.to_bytes(size), point.y.to_bytes(size)
    return {"kty": "EC", "crv": CURVES[key.curve.name], "x": part(x), "y": part(y)}


def key_set(*rows: Mapping[str, Any]) -> bytes:
    """Write a key set."""
    return json.dumps({"keys": list(rows)}).encode()
