"""Public keys out of a key set (RFC 7517, RFC 8037), and what they verify (RFC 7515, RFC 7518)."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from service.callers.tokens import octets
from service.strict_json import NotStrictJson, loads

RSA_BITS: Final = range(2048, 8192 + 1)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What a signature algorithm asks of a key."""

    kty: str
    crv: str | None
    registry: jws.JWSRegistry


class _Registry(jws.JWSRegistry):
    """Knows one algorithm under one name, and refuses a text that names another."""

    max_header_length = 8192
    max_signature_length = 2048

    def __init__(self, name: str, model: str) -> None:
        super().__init__(strict_check_header=False)
        self._name, self._model = name, self.algorithms[model]

    def get_alg(self, name: str) -> Any:
        """Return the one algorithm if that is what the text names."""
        if name != self._name:
            raise UnsupportedAlgorithmError
        return self._model


def _algorithm(kty: str, crv: str | None, name: str, model: str | None = None) -> Algorithm:
    return Algorithm(kty, crv, _Registry(name, model or name))


ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "RS256": _algorithm("RSA", None, "RS256"),
    "RS384": _algorithm("RSA", None, "RS384"),
    "RS512": _algorithm("RSA", None, "RS512"),
    "PS256": _algorithm("RSA", None, "PS256"),
    "PS384": _algorithm("RSA", None, "PS384"),
    "PS512": _algorithm("RSA", None, "PS512"),
    "ES256": _algorithm("EC", "P-256", "ES256"),
    "ES384": _algorithm("EC", "P-384", "ES384"),
    "ES512": _algorithm("EC", "P-521", "ES512"),
    "EdDSA": _algorithm("OKP", "Ed25519", "EdDSA", "Ed25519"),  # renamed by RFC 9864
    "Ed25519": _algorithm("OKP", "Ed25519", "Ed25519"),
}
"""Every algorithm that can be configured; a row whose key both sides know can never be here."""


class UnusableKeys(ValueError):
    """The document is no key set, or has no key that could verify anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """A public key that verifies, and for which algorithms it does."""

    kid: str
    kty: str
    crv: str | None
    alg: str | None
    thumbprint: str
    key: RSAKey | ECKey | OKPKey = field(repr=False, compare=False)

    def fits(self, alg: str) -> bool:
        """Whether ``alg``, a row of ``ALGORITHMS``, may be used with this key."""
        asked = ALGORITHMS[alg]
        return (self.kty, self.crv) == (asked.kty, asked.crv) and self.alg in {None, alg}

    def verifies(self, text: str, alg: str) -> bool:
        """Whether this key made the signature of the compact JWS ``text`` by ``alg``."""
        if not self.fits(alg):
            return False
        try:
            jws.deserialize_compact(text, self.key, registry=ALGORITHMS[alg].registry)
        except (JoseError, ValueError):
            return False
        return True


Keys = Mapping[str, VerificationKey]
"""By ``kid``."""


def parse_keys(document: bytes) -> Keys:
    """Return the usable keys of a key set; raises ``UnusableKeys``, which quotes nothing.

    What cannot be used is passed over (RFC 7517, section 5): other types (``oct`` above all),
    curves and sizes, other uses, no ``kid``, private keys (a published one proves nothing), and
    a ``kid`` that two usable keys share.
    """
    keys = [key for row in _rows(document) if (key := _key(row)) is not None]
    times = [key.kid for key in keys]
    usable = {key.kid: key for key in keys if times.count(key.kid) == 1}
    if not usable:
        raise UnusableKeys("no usable key")
    return MappingProxyType(usable)


def _rows(document: bytes) -> Collection[Any]:
    rows: Any = None
    with suppress(NotStrictJson):
        content = loads(document)
        rows = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise UnusableKeys("not a key set")
    return rows


MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("kty", "n", "e"),
    "EC": ("kty", "crv", "x", "y"),
    "OKP": ("kty", "crv", "x"),
}
"""The public members of each type; nothing else of a row reaches a library."""

TYPES: Final[Mapping[str, type[RSAKey | ECKey | OKPKey]]] = {
    "RSA": RSAKey,
    "EC": ECKey,
    "OKP": OKPKey,
}


def _key(row: Any) -> VerificationKey | None:
    if not isinstance(row, dict) or not _is_for_verifying(row):
        return None
    kty, crv, alg = row["kty"], row.get("crv") if row["kty"] != "RSA" else None, row.get("alg")
    material = {name: row.get(name) for name in MEMBERS[kty]}
    if not all(isinstance(value, str) for value in material.values()):
        return None
    if not any(_may(name, kty, crv, alg) for name in ALGORITHMS) or not _is_sized(material):
        return None
    try:
        key = TYPES[kty].import_key(material)  # type: ignore[arg-type]  # all values are strings
    except (JoseError, ValueError):
        return None
    return VerificationKey(
        kid=row["kid"], kty=kty, crv=crv, alg=alg, thumbprint=key.thumbprint(), key=key
    )


def _is_for_verifying(row: Mapping[str, Any]) -> bool:
    kid, operations = row.get("kid"), row.get("key_ops", ["verify"])
    return (
        row.get("kty") in tuple(MEMBERS)
        and isinstance(kid, str)
        and kid != ""
        and row.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in row
    )


def _may(name: str, kty: str, crv: Any, alg: Any) -> bool:
    row = ALGORITHMS[name]
    return (kty, crv) == (row.kty, row.crv) and alg in (None, name)


def _is_sized(material: Mapping[str, Any]) -> bool:
    if material["kty"] != "RSA":
        return True
    modulus, exponent = (octets(material[name]) for name in ("n", "e"))
    if modulus is None or exponent is None:
        return False
    public = int.from_bytes(exponent)
    return int.from_bytes(modulus).bit_length() in RSA_BITS and public > 1 and public % 2 == 1
