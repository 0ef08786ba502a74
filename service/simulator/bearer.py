"""The RS256 token of a user key: ``kid`` in its header, ``iat`` and ``jti`` its claims (§3e)."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from service.simulator.codes import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A well-formed token; whether its signature holds is not known yet."""

    kid: str
    iat: float
    jti: str
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def is_signed_by(self, key: RSAPublicKey) -> bool:
        """Whether the holder of ``key`` made it."""
        try:
            key.verify(self.signature, self.signed, PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


def read(text: str) -> Token:
    """Return the token in ``text``; 400001 for anything that is not exactly one such token."""
    try:
        head, body, signature = (_octets(part) for part in text.split("."))
        header, claims = _members(head), _members(body)
        return Token(
            kid=_text(header, "kid"),
            iat=_number(claims, "iat"),
            jti=_text(claims, "jti"),
            signed=text.rpartition(".")[0].encode(),
            signature=signature,
        )
    except (ValueError, KeyError):
        raise Refusal(400001, "The bearer token is malformed") from None


def _octets(part: str) -> bytes:
    # The .NET SDK sends the standard alphabet with its padding, and Gigya takes it.
    plain = part.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def _members(octets: bytes) -> dict[str, Any]:
    document = json.loads(octets)
    if not isinstance(document, dict) or document.get("alg", "RS256") != "RS256":
        raise ValueError("not an object, or another algorithm")
    return document


def _text(members: dict[str, Any], name: str) -> str:
    if not isinstance(members[name], str) or not members[name]:
        raise ValueError(name)
    return str(members[name])


def _number(members: dict[str, Any], name: str) -> float:
    if type(members[name]) not in {int, float}:
        raise ValueError(name)
    return float(members[name])
