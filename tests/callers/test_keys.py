"""Which keys of a key set are used, and what they verify."""

import json
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from service.callers.keys import ALGORITHMS, UnusableKeys, parse_keys
from tests.callers import issuer
from tests.callers.issuer import PrivateKey, jwk, key_set, part, token

SMALL: Final = rsa.generate_private_key(65537, 1024)  # noqa: S505  # too small on purpose
K1: Final = ec.generate_private_key(ec.SECP256K1())
X25519: Final = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
GOOD: Final = jwk(issuer.P256, "good")

PAIRS: Final[dict[str, PrivateKey]] = {
    "RS256": issuer.RSA,
    "RS384": issuer.RSA,
    "RS512": issuer.RSA,
    "PS256": issuer.RSA,
    "PS384": issuer.RSA,
    "PS512": issuer.RSA,
    "ES256": issuer.P256,
    "ES384": issuer.P384,
    "ES512": issuer.P521,
    "EdDSA": issuer.ED25519,
    "Ed25519": issuer.ED25519,
}


class TestVerificationKey:
    def test_every_algorithm_is_tried(self) -> None:
        """Each row of the table has a key that signs by it."""
        assert set(ALGORITHMS) == set(PAIRS)

    def test_no_algorithm_is_symmetric(self) -> None:
        """What could be verified with a secret, or without any key, can never be configured."""
        assert not [name for name in ALGORITHMS if name.startswith(("HS", "no"))]

    @pytest.mark.parametrize("alg", PAIRS)
    def test_verifies(self, alg: str) -> None:
        """A key verifies what its private half signed, and nothing that was changed."""
        keys = parse_keys(key_set(jwk(PAIRS[alg], "one")))
        good = token({"a": 1}, PAIRS[alg], alg=alg)
        head, _, tail = good.split(".")

        assert keys["one"].verifies(good, alg)
        assert not keys["one"].verifies(f"{head}.{part({'a': 2})}.{tail}", alg)
        assert not keys["one"].verifies(f"{head}.{part({'a': 1})}.", alg)

    @pytest.mark.parametrize("alg", PAIRS)
    @pytest.mark.parametrize("other", PAIRS)
    def test_fits_only_its_own(self, alg: str, other: str) -> None:
        """A key is for its type and curve, and for its alg alone where the key set names one."""
        keys = parse_keys(key_set(jwk(PAIRS[alg], "any"), jwk(PAIRS[alg], "own", alg=alg)))

        assert (PAIRS[alg] is PAIRS[other]) == keys["any"].fits(other)
        assert (alg == other) == keys["own"].fits(other)

    @pytest.mark.parametrize("alg", PAIRS)
    def test_unfit_verifies_nothing(self, alg: str) -> None:
        """Even a good signature does not verify by an algorithm that the key is not for."""
        keys = parse_keys(key_set(jwk(PAIRS[alg], "one", alg=alg)))
        other = "ES256" if alg != "ES256" else "RS256"

        assert not keys["one"].verifies(token({}, PAIRS[alg], alg=alg), other)

    def test_ignores_alg_none_of_the_token(self) -> None:
        """The algorithm is the one that was judged, never the one in the text verified."""
        key = parse_keys(key_set(jwk(issuer.RSA, "one")))["one"]
        text = f"{part({'alg': 'none'})}.{part({})}."

        assert not key.verifies(text, "RS256")


PASSED_OVER: Final[dict[str, dict[str, Any]]] = {
    "symmetric": {"kty": "oct", "kid": "k", "k": part(bytes(32)), "alg": "HS256"},
    "symmetric that says RS256": {"kty": "oct", "kid": "k", "k": part(bytes(32)), "alg": "RS256"},
    "small RSA": jwk(SMALL, "k"),
    "huge RSA": {**jwk(issuer.RSA, "k"), "n": part(b"\xff" * 1025)},
    "even RSA exponent": {**jwk(issuer.RSA, "k"), "e": part(b"\x02")},
    "RSA exponent one": {**jwk(issuer.RSA, "k"), "e": part(b"\x01")},
    "RSA without exponent": {"kty": "RSA", "kid": "k", "n": jwk(issuer.RSA, "k")["n"]},
    "RSA with a numeric modulus": {**jwk(issuer.RSA, "k"), "n": 12345},
    "RSA padded": {**jwk(issuer.RSA, "k"), "e": "AQAB=="},
    "secp256k1": {**jwk(issuer.P256, "k"), "crv": "secp256k1"},
    "X25519": {"kty": "OKP", "kid": "k", "crv": "X25519", "x": part(X25519)},
    "Ed448": {"kty": "OKP", "kid": "k", "crv": "Ed448", "x": part(bytes(57))},
    "Ed25519 cut": {"kty": "OKP", "kid": "k", "crv": "Ed25519", "x": part(bytes(31))},
    "point off the curve": {**jwk(issuer.P256, "k"), "x": part(bytes(32))},
    "point of another curve": {**jwk(issuer.P384, "k"), "crv": "P-256"},
    "for encryption": jwk(issuer.RSA, "k", use="enc"),
    "use null": jwk(issuer.RSA, "k", use=None),
    "other operations": jwk(issuer.RSA, "k", key_ops=["encrypt"]),
    "operations a text": jwk(issuer.RSA, "k", key_ops="verify"),
    "for key wrapping": jwk(issuer.RSA, "k", alg="RSA-OAEP"),
    "algorithm of another type": jwk(issuer.RSA, "k", alg="ES256"),
    "algorithm a list": jwk(issuer.RSA, "k", alg=["RS256"]),
    "published private key": jwk(issuer.RSA, "k", d="AQAB"),
    "no kid": {name: value for name, value in GOOD.items() if name != "kid"},
    "kid a number": {**GOOD, "kid": 1},
    "kid empty": jwk(issuer.RSA, ""),
    "post-quantum": {"kty": "AKP", "kid": "k", "alg": "ML-DSA-44", "pub": "AA"},
    "type a list": {**GOOD, "kid": "k", "kty": ["EC"]},
    "type a dictionary": {**GOOD, "kid": "k", "kty": {}},
}


class TestParseKeys:
    @pytest.mark.parametrize("row", PASSED_OVER.values(), ids=PASSED_OVER)
    def test_passes_over(self, row: dict[str, Any]) -> None:
        """A key that could not verify, or must not, is as if it were not there."""
        assert ["good"] == list(parse_keys(key_set(row, GOOD)))

    @pytest.mark.parametrize("row", PASSED_OVER.values(), ids=PASSED_OVER)
    def test_none_left(self, row: dict[str, Any]) -> None:
        """A key set without a usable key is none."""
        with pytest.raises(UnusableKeys):
            parse_keys(key_set(row))

    def test_a_name_that_two_keys_share(self) -> None:
        """Which of them is meant cannot be known, so neither is used."""
        rows = (jwk(issuer.P256, "same"), jwk(issuer.P384, "same"), GOOD)

        assert ["good"] == list(parse_keys(key_set(*rows)))

    @pytest.mark.parametrize(
        "document",
        [b"", b"\xff", b"null", b"[]", b'{"keys": {}}', b'{"keys": [], "keys": []}', b"[" * 5000],
    )
    def test_not_a_key_set(self, document: bytes) -> None:
        """What is not a strict JSON object with a list of keys is refused."""
        with pytest.raises(UnusableKeys):
            parse_keys(document)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["kty", "kid", "n", "e", "crv", "x", "y", "use", "alg", "key_ops"]
                    ),
                    inner | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB"]),
                    max_size=6,
                )
            ),
            max_leaves=12,
        )
    )
    @settings(max_examples=150, deadline=None)
    def test_any_row(self, row: Any) -> None:
        """Whatever a row holds, the others are used and nothing else is raised."""
        assert "good" in parse_keys(json.dumps({"keys": [row, GOOD]}).encode())
