"""Whatever is presented, somebody is recognised or refused; nothing else ever happens."""

import asyncio
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.callers.refusals import Refusal
from service.errors import Unauthenticated
from tests.callers import issuer
from tests.callers.certificates import certificate
from tests.callers.house import CLUSTER, OIDC, REVIEWED, House, account_claims
from tests.callers.issuer import part, token
from tests.callers.presented import Presented
from tests.virtual_time import EPOCH

LEAF: Final = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
JSON: Final = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
CLAIMS: Final = st.dictionaries(
    st.sampled_from(["aud", "sub", "exp", "nbf", "iat", "tier", "jti", "kubernetes.io"]),
    JSON | st.sampled_from([EPOCH, EPOCH + 60, "gigya-credential-proxy", "loyalty"]),
    max_size=6,
)
ISSUERS: Final = st.sampled_from([CLUSTER, OIDC, REVIEWED])
HEADERS: Final = st.dictionaries(
    st.sampled_from(["typ", "kid", "crit", "b64", "jku", "jwk", "x5c", "cty"]),
    JSON | st.sampled_from(["one", "rsa", "ed", "JWT"]),
    max_size=4,
)


def judged(shown: Presented) -> str:
    """Return whose it is, or the reason of the refusal."""
    try:
        return asyncio.run(House().identify(shown)).name
    except Unauthenticated as refused:
        return Refusal(refused.reason)


def by(text: str) -> Presented:
    """Present a bearer token."""
    return Presented(authorization=(b"Bearer " + text.encode(),))


class TestIdentify:
    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.binary(max_size=60) | st.just(b"Bearer x.y.z"), max_size=2))
    def test_any_header(self, headers: list[bytes]) -> None:
        """Octets that nobody signed are nobody's."""
        assert isinstance(judged(Presented(authorization=tuple(headers))), Refusal)

    @settings(max_examples=120, deadline=None)
    @given(ISSUERS, CLAIMS, HEADERS)
    def test_any_claims(self, iss: str, claims: dict[str, Any], header: dict[str, Any]) -> None:
        """A signed token of any claims is judged by them, and the forged one never passes."""
        said = {**account_claims(iss), **claims}
        forged = token(said, issuer.OTHER_P256, **header)

        assert judged(by(token(said, **header)))
        if iss != REVIEWED:  # there the API server looks at the signature
            assert isinstance(judged(by(forged)), Refusal)

    @settings(max_examples=100, deadline=None)
    @given(JSON, JSON, st.binary(max_size=80))
    def test_any_parts(self, header: Any, claims: Any, signature: bytes) -> None:
        """Three parts of any JSON are refused."""
        assert isinstance(judged(by(f"{part(header)}.{part(claims)}.{part(signature)}")), Refusal)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=40))
    def test_any_names(self, names: bytes) -> None:
        """A certificate whose alternative names are any octets is nobody's."""
        shown = Presented(certificate=certificate(san=names))

        assert isinstance(judged(shown), Refusal)

    # cryptography warns of what it will refuse one day, such as a serial number of zero.
    @pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=200), st.integers(0, 400))
    @example(b"\0", 14)
    def test_any_certificate(self, octets: bytes, at: int) -> None:
        """Nor is one with a hole in it."""
        whole = certificate(san=b"\x30\x00")

        assert isinstance(
            judged(Presented(certificate=whole[:at] + octets + whole[at + len(octets) :])), Refusal
        )
