import base64
import hmac
import json
import re
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qsl, quote

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import RSAKey

from service.gigya import authentication
from service.gigya.authentication import (
    Authenticated,
    Bearer,
    Call,
    Credentials,
    OAuth2,
    PartnerSecret,
    Signed,
    UserKey,
    UserKeySigned,
)
from service.gigya.keys import HmacKey, PartnerKey, RsaKey
from service.secret import Secret

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "gigya.json").read_bytes())
REQUESTS = [pytest.param(each, id=each["name"]) for each in VECTORS["requestSignature"]]
URL = "https://socialize.eu1.gigya.com/socialize.getSessionInfo"
PARAMS = {"UID": "user 123", "provider": "twitter", "format": "json"}
API_KEY, USER_KEY, SECRET = "3_apiKey", "AKuserKey", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
NONCE = "0123456789abcdef0123456789abcdef"
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PKCS1, PKCS8 = (
    PRIVATE.private_bytes(Encoding.PEM, form, NoEncryption())
    for form in (PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8)
)
EACH: dict[str, Credentials] = {
    "bearer": Bearer(user_key=USER_KEY, key=RsaKey.from_pem(PKCS1)),
    "user_key": UserKey(user_key=USER_KEY, secret=Secret(SECRET)),
    "user_key_signed": UserKeySigned(user_key=USER_KEY, key=HmacKey.from_base64(SECRET)),
    "signed": Signed(key=PartnerKey.from_base64(SECRET)),
    "partner_secret": PartnerSecret(secret=Secret(SECRET)),
    "oauth2": OAuth2(secret=Secret(SECRET)),
}


def authenticated(
    credentials: Credentials, params: dict[str, str] = PARAMS, nonce: str = NONCE
) -> Authenticated:
    """Authenticate one call at a fixed moment."""
    call = Call(
        params=params,
        url=URL,
        api_key=API_KEY,
        now=1_700_000_000.9,
        nonce=nonce,
        access_token=Secret("access token"),
    )
    return authentication.authenticate(credentials, call)


def sent(made: Authenticated) -> dict[str, str]:
    """Return the parameters that Gigya reads in the form, each of which stands there once."""
    pairs = parse_qsl(made.form, keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def independent_signature(params: dict[str, str]) -> str:
    """Sign as facts.md §3b describes."""
    query = "&".join(f"{n}={quote(params[n], safe='')}" for n in sorted(params) if n != "sig")
    base = f"POST&{quote(URL, safe='')}&{quote(query, safe='')}"
    signed = hmac.new(base64.b64decode(SECRET), base.encode(), "sha1").digest()
    return base64.b64encode(signed).decode()


class TestWays:
    def test_are_all_there_is(self) -> None:
        """Each kind of credentials has its row, and each row its example here."""
        kinds = {way.credentials for way in authentication.WAYS.values()}
        assert set(get_args(Credentials)) == kinds
        assert {name: way.credentials for name, way in authentication.WAYS.items()} == {
            name: type(credentials) for name, credentials in EACH.items()
        }

    @pytest.mark.parametrize("name", EACH)
    def test_keep_the_parameters(self, name: str) -> None:
        """What was to be sent is sent; the caller's mapping stays as it was."""
        before = dict(PARAMS)
        params = sent(authenticated(EACH[name]))
        assert (before, before) == (PARAMS, {key: params[key] for key in PARAMS})

    @pytest.mark.parametrize("name", EACH)
    @pytest.mark.parametrize("reserved", sorted(authentication.RESERVED))
    def test_refuse_parameters_of_their_own(self, name: str, reserved: str) -> None:
        """Two ways in one request are never mixed."""
        with pytest.raises(ValueError, match="belongs to authentication"):
            authenticated(EACH[name], {**PARAMS, reserved: "x"})

    @pytest.mark.parametrize("name", EACH)
    def test_show_nothing(self, name: str) -> None:
        """Neither credentials nor what they made show a secret, a signature or a token."""
        shown = repr(EACH[name]) + repr(authenticated(EACH[name])) + str(EACH[name])
        assert SECRET not in shown
        assert "access token" not in shown
        assert not re.search(r"Bearer ey|sig'|Authorization", shown)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("bearer", False),
            ("user_key", False),
            ("user_key_signed", False),
            ("signed", True),
            ("partner_secret", True),
            ("oauth2", True),
        ],
    )
    def test_tell_which_are_dead(self, name: str, expected: bool) -> None:  # noqa: FBT001  # a table's column
        """Gigya refuses requests that the partner secret authenticates since 31 January 2023."""
        assert expected == authentication.uses_partner_secret(EACH[name])

    def test_oauth2_with_a_user_key_is_alive(self) -> None:
        """There the secret is the user key's."""
        alive = OAuth2(user_key=USER_KEY, secret=Secret(SECRET))
        assert not authentication.uses_partner_secret(alive)


class TestPlainSecrets:
    def test_user_key_adds_key_and_secret(self) -> None:
        """The site's API key, the user key and its secret, as parameters and nowhere else."""
        added = {"apiKey": API_KEY, "userKey": USER_KEY, "secret": SECRET}
        made = authenticated(EACH["user_key"])
        assert ({**PARAMS, **added}, {}) == (sent(made), made.headers)

    def test_partner_secret_adds_the_secret(self) -> None:
        """The site's API key and the partner secret, as parameters and nowhere else."""
        made = authenticated(EACH["partner_secret"])
        assert ({**PARAMS, "apiKey": API_KEY, "secret": SECRET}, {}) == (sent(made), made.headers)


class TestSignatures:
    @pytest.mark.parametrize("vector", REQUESTS)
    def test_are_those_of_the_official_sdks(self, vector: dict[str, Any]) -> None:
        """Given a vector's time, nonce and parameters, the form has the vector's signature."""
        given_ = vector["params"]
        key = HmacKey.from_base64(vector["secretBase64"])
        user_key = given_.get("userKey")
        call = Call(
            params={n: v for n, v in given_.items() if n not in authentication.RESERVED},
            url=vector["url"],
            api_key=given_["apiKey"],
            now=float(given_["timestamp"]),
            nonce=given_["nonce"],
        )
        made = authentication.authenticate(
            Signed(key=key) if user_key is None else UserKeySigned(user_key=user_key, key=key), call
        )
        assert ({**given_, "sig": vector["sig"]}, {}) == (sent(made), made.headers)

    @pytest.mark.parametrize(
        ("name", "added"),
        [("signed", {}), ("user_key_signed", {"userKey": USER_KEY})],
    )
    def test_replace_the_secret(self, name: str, added: dict[str, str]) -> None:
        """Time in whole seconds, nonce and signature are sent; the secret is not."""
        made = authenticated(EACH[name])
        sig = sent(made)["sig"]
        proof = {"apiKey": API_KEY, "timestamp": "1700000000", "nonce": NONCE, "sig": sig}
        assert ({**PARAMS, **added, **proof}, {}) == (sent(made), made.headers)

    @given(
        values=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=3)
    )
    def test_cover_everything_that_is_sent(self, values: list[str]) -> None:
        """An independent signer, given the form that is posted, comes to the same signature."""
        params = dict(zip(("UID", "cid", "context"), values, strict=True))
        made = sent(authenticated(EACH["user_key_signed"], params))
        assert independent_signature(made) == made["sig"]

    def test_change_with_the_nonce(self) -> None:
        """A retry with a new nonce is a new signature."""
        sigs = {sent(authenticated(EACH["signed"], nonce=nonce))["sig"] for nonce in "ab"}
        assert 2 == len(sigs)


class TestBearer:
    def test_adds_the_api_key_and_a_header(self) -> None:
        """No secret, signature, nonce or timestamp is a parameter."""
        made = authenticated(EACH["bearer"])
        assert {**PARAMS, "apiKey": API_KEY} == sent(made)
        assert ["Authorization"] == list(made.headers)

    @pytest.mark.parametrize("pem", [PKCS1, PKCS8], ids=["PKCS#1", "PKCS#8"])
    def test_is_a_jwt_that_another_library_verifies(self, pem: bytes) -> None:
        """RS256, the user key as ``kid``; ``iat`` in whole seconds, ``jti``, and nothing else."""
        credentials = Bearer(user_key=USER_KEY, key=RsaKey.from_pem(pem))
        scheme, token = authenticated(credentials).headers["Authorization"].split(" ")
        public = RSAKey.import_key(PKCS8)
        verified = jws.deserialize_compact(token, public, algorithms=["RS256"])
        assert ("Bearer", {"alg": "RS256", "typ": "JWT", "kid": USER_KEY}) == (
            scheme,
            verified.headers(),
        )
        assert {"iat": 1_700_000_000, "jti": NONCE} == json.loads(verified.payload)

    def test_is_base64url(self) -> None:
        """Three parts without padding (RFC 7515 §3.1)."""
        header = authenticated(EACH["bearer"]).headers["Authorization"]
        assert re.fullmatch(r"Bearer [\w-]+\.[\w-]+\.[\w-]+", header, re.ASCII)

    def test_quotes_odd_user_keys(self) -> None:
        """A user key with any character is still one JSON string."""
        odd = 'A"\\ü'
        credentials = Bearer(user_key=odd, key=RsaKey.from_pem(PKCS8))
        token = authenticated(credentials).headers["Authorization"].removeprefix("Bearer ")
        verified = jws.deserialize_compact(token, RSAKey.import_key(PKCS8), algorithms=["RS256"])
        assert odd == verified.headers()["kid"]


class TestOAuth2:
    def test_presents_the_token_as_the_sdks_do(self) -> None:
        """The token is a parameter; the API key is not sent, as the token knows its site."""
        made = authenticated(EACH["oauth2"])
        assert ({**PARAMS, "oauth_token": "access token"}, {}) == (sent(made), made.headers)

    def test_needs_a_token(self) -> None:
        """Without one there is nothing to present."""
        call = Call(params=PARAMS, url=URL, api_key=API_KEY, now=0, nonce=NONCE)
        with pytest.raises(ValueError, match="needs an access token"):
            authentication.authenticate(EACH["oauth2"], call)

    def test_asks_for_a_token_with_the_partner_secret(self) -> None:
        """HTTP Basic of API key and partner secret."""
        made = authentication.token_request(
            OAuth2(secret=Secret(SECRET)), {"format": "json"}, api_key=API_KEY
        )
        basic = base64.b64encode(f"{API_KEY}:{SECRET}".encode()).decode()
        assert {"format": "json", "grant_type": "client_credentials"} == sent(made)
        assert {"Authorization": f"Basic {basic}"} == made.headers

    def test_asks_for_a_token_with_a_user_key(self) -> None:
        """The API key as ``client_id``, the user key and its secret, all in the form."""
        made = authentication.token_request(
            OAuth2(user_key=USER_KEY, secret=Secret(SECRET)), {"format": "json"}, api_key=API_KEY
        )
        added = {"client_id": API_KEY, "userKey": USER_KEY, "secret": SECRET}
        form = {"format": "json", "grant_type": "client_credentials", **added}
        assert (form, {}) == (sent(made), made.headers)
