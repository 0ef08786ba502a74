"""Every credential that must be refused, and the true reason that the record gets."""

import json
from hashlib import sha256
from typing import Any, Final

from service.callers.credentials import LARGEST
from service.callers.refusals import Refusal
from tests.callers import issuer
from tests.callers.certificates import certificate, dns, subject, uri
from tests.callers.house import (
    AUDIENCE,
    EXPIRED_TOKEN,
    STATIC_TOKEN,
    account_claims,
    bearer,
    oidc_claims,
)
from tests.callers.issuer import hmac_token, part, pem, token
from tests.callers.presented import Presented
from tests.virtual_time import EPOCH

SYNC_WORKER: Final = uri("spiffe://prod.example/ns/crm/sa/sync-worker")
GOOD: Final = token(account_claims())


def cluster(**changes: Any) -> Presented:
    """Present a service account's token with claims changed."""
    return bearer(token(account_claims(**changes)))


def headed(key: issuer.PrivateKey = issuer.P256, **header: Any) -> Presented:
    """Present a service account's token with a changed header."""
    return bearer(token(account_claims(), key, **header))


def oidc(**changes: Any) -> Presented:
    """Present an OIDC token with claims changed."""
    return bearer(token(oidc_claims(**changes), issuer.ED25519, alg="EdDSA", kid="ed"))


def kubernetes(**changes: Any) -> Presented:
    """Present a service account's token with its own claims changed."""
    own = account_claims()["kubernetes.io"] | changes
    return cluster(**{"kubernetes.io": own})


def twice(name: str, where: int) -> Presented:
    """Present a well-signed token that says one thing twice."""
    documents = [{"alg": "ES256", "kid": "one"}, account_claims()]
    texts = [json.dumps(document) for document in documents]
    again = json.dumps({name: documents[where][name]})
    texts[where] = texts[where][:-1] + ", " + again[1:]
    text = ".".join(map(part, texts))
    return bearer(f"{text}.{part(issuer.signature(text, issuer.P256, 'ES256'))}")


def spoiled(at: int, by: str) -> Presented:
    """Present the good token with one part replaced."""
    parts = GOOD.split(".")
    parts[at] = by
    return bearer(".".join(parts))


def presented(*headers: bytes, certificate: bytes | None = None) -> Presented:
    """Present headers as they are."""
    return Presented(authorization=headers, certificate=certificate)


def by_certificate(*names: Any, **changes: Any) -> Presented:
    """Present a client certificate."""
    return Presented(certificate=certificate(*names, **changes))


BAD: Final[dict[str, tuple[Presented, Refusal]]] = {
    # headers
    "nothing": (presented(), Refusal.NO_CREDENTIAL),
    "two headers": (
        presented(b"Bearer " + GOOD.encode(), b"Bearer " + GOOD.encode()),
        Refusal.SEVERAL_HEADERS,
    ),
    "two headers, one static": (
        presented(b"Bearer " + STATIC_TOKEN.encode(), b"Basic Og=="),
        Refusal.SEVERAL_HEADERS,
    ),
    "two tokens in one header": (
        presented(b"Bearer " + GOOD.encode() + b", Bearer " + GOOD.encode()),
        Refusal.HEADER_MALFORMED,
    ),
    "empty header": (presented(b""), Refusal.HEADER_MALFORMED),
    "empty bearer": (presented(b"Bearer"), Refusal.BEARER_EMPTY),
    "empty bearer with a space": (presented(b"Bearer "), Refusal.BEARER_EMPTY),
    "empty bearer with spaces": (presented(b"Bearer    "), Refusal.BEARER_EMPTY),
    "basic": (presented(b"Basic dXNlcjpwYXNz"), Refusal.SCHEME_UNSUPPORTED),
    "dpop": (presented(b"DPoP " + GOOD.encode()), Refusal.SCHEME_UNSUPPORTED),
    "token without scheme": (presented(GOOD.encode()), Refusal.HEADER_MALFORMED),
    "not ASCII": (presented("Bearer tökén".encode()), Refusal.HEADER_MALFORMED),
    "scheme not ASCII": (presented("Béarer abc".encode()), Refusal.HEADER_MALFORMED),
    "latin-1": (presented(b"Bearer \xfftoken"), Refusal.HEADER_MALFORMED),
    "a NUL inside": (presented(b"Bearer abc\x00def"), Refusal.HEADER_MALFORMED),
    "a line end inside": (presented(b"Bearer abc\r\ndef"), Refusal.HEADER_MALFORMED),
    "quoted": (presented(b'Bearer "abc"'), Refusal.HEADER_MALFORMED),
    "huge": (bearer("a" * (LARGEST + 1)), Refusal.BEARER_TOO_LARGE),
    "huge and well signed": (cluster(padding="x" * LARGEST), Refusal.BEARER_TOO_LARGE),
    # static tokens
    "unknown static token": (bearer(STATIC_TOKEN + "0"), Refusal.BEARER_UNKNOWN),
    "static token cut short": (bearer(STATIC_TOKEN[:-1]), Refusal.BEARER_UNKNOWN),
    "the digest itself": (
        bearer(sha256(STATIC_TOKEN.encode()).hexdigest()),
        Refusal.BEARER_UNKNOWN,
    ),
    "digest of another token": (
        bearer(sha256(EXPIRED_TOKEN.encode()).hexdigest()),
        Refusal.BEARER_UNKNOWN,
    ),
    "expired static token": (bearer(EXPIRED_TOKEN), Refusal.EXPIRED),
    # shape
    "encrypted": (bearer("a.b.c.d.e"), Refusal.TOKEN_ENCRYPTED),
    "two parts": (bearer(GOOD.rpartition(".")[0]), Refusal.BEARER_UNKNOWN),
    "four parts": (bearer(GOOD + ".e30"), Refusal.BEARER_UNKNOWN),
    "garbage in three parts": (bearer("x.y.z"), Refusal.TOKEN_MALFORMED),
    "empty parts": (bearer("..."[:2]), Refusal.TOKEN_MALFORMED),
    "header not JSON": (spoiled(0, part("nonsense")), Refusal.TOKEN_MALFORMED),
    "header a list": (spoiled(0, part("[]")), Refusal.TOKEN_MALFORMED),
    "claims not JSON": (spoiled(1, part("{")), Refusal.TOKEN_MALFORMED),
    "claims not UTF-8": (spoiled(1, part(b'{"iss": "\xff"}')), Refusal.TOKEN_MALFORMED),
    "claims with NaN": (spoiled(1, part('{"exp": NaN}')), Refusal.TOKEN_MALFORMED),
    "claims deep": (spoiled(1, part("[" * 3000 + "]" * 3000)), Refusal.TOKEN_MALFORMED),
    "padded": (bearer(GOOD + "=="), Refusal.TOKEN_MALFORMED),
    "standard base64": (spoiled(2, "+/+/"), Refusal.TOKEN_MALFORMED),
    "trailing bits": (spoiled(1, "e31"), Refusal.TOKEN_MALFORMED),
    "duplicate claim": (twice("sub", 1), Refusal.TOKEN_MALFORMED),
    "duplicate issuer": (twice("iss", 1), Refusal.TOKEN_MALFORMED),
    "duplicate alg": (twice("alg", 0), Refusal.TOKEN_MALFORMED),
    "duplicate kid": (twice("kid", 0), Refusal.TOKEN_MALFORMED),
    # issuer
    "wrong issuer": (cluster(iss="https://evil.example"), Refusal.ISSUER_UNKNOWN),
    "issuer with a slash": (cluster(iss="https://cluster.example/"), Refusal.ISSUER_UNKNOWN),
    "issuer in capitals": (cluster(iss="https://Cluster.example"), Refusal.ISSUER_UNKNOWN),
    "issuer a list": (cluster(iss=["https://cluster.example"]), Refusal.ISSUER_UNKNOWN),
    "no issuer": (cluster(iss=...), Refusal.ISSUER_UNKNOWN),
    "key of another issuer": (
        bearer(token(oidc_claims(), issuer.P256, kid="one", alg="ES256")),
        Refusal.ALGORITHM_REFUSED,
    ),
    "issuer named by another's key": (
        bearer(token(oidc_claims(), issuer.OTHER_RSA, kid="rsa", alg="RS256")),
        Refusal.SIGNATURE_WRONG,
    ),
    # header
    "alg none": (
        bearer(f"{part({'alg': 'none', 'kid': 'one'})}.{part(account_claims())}."),
        Refusal.ALGORITHM_REFUSED,
    ),
    "alg None": (
        bearer(f"{part({'alg': 'None', 'kid': 'one'})}.{part(account_claims())}."),
        Refusal.ALGORITHM_REFUSED,
    ),
    "no alg": (
        bearer(f"{part({'kid': 'one'})}.{part(account_claims())}.AAAA"),
        Refusal.ALGORITHM_REFUSED,
    ),
    "alg a list": (
        bearer(f"{part({'alg': ['ES256'], 'kid': 'one'})}.{part(account_claims())}.AAAA"),
        Refusal.ALGORITHM_REFUSED,
    ),
    "HS256 with the public key": (
        bearer(hmac_token(account_claims(), pem(issuer.RSA))),
        Refusal.ALGORITHM_REFUSED,
    ),
    "alg known but not configured": (
        headed(issuer.P384, alg="ES384", kid="p384"),
        Refusal.ALGORITHM_REFUSED,
    ),
    "crit": (headed(crit=["exp"], exp=0), Refusal.HEADER_CRITICAL),
    "crit empty": (headed(crit=[]), Refusal.HEADER_CRITICAL),
    "b64 false": (headed(b64=False, crit=["b64"]), Refusal.HEADER_CRITICAL),
    "b64 alone": (headed(b64=True), Refusal.HEADER_CRITICAL),
    "logout token": (headed(typ="logout+jwt"), Refusal.TYPE_UNEXPECTED),
    "typ a number": (headed(typ=1), Refusal.TYPE_UNEXPECTED),
    "no kid": (headed(kid=None), Refusal.KEY_ID_MISSING),
    "kid empty": (headed(kid=""), Refusal.KEY_ID_MISSING),
    "kid a number": (headed(kid=1), Refusal.KEY_ID_MISSING),
    "kid a list": (headed(kid=["one"]), Refusal.KEY_ID_MISSING),
    "kid unknown": (headed(kid="two"), Refusal.KEY_UNKNOWN),
    "kid a path": (headed(kid="../../../dev/null"), Refusal.KEY_UNKNOWN),
    "kid a query": (headed(kid="' OR 1=1 --"), Refusal.KEY_UNKNOWN),
    "kid of a key of another type": (headed(kid="rsa"), Refusal.KEY_UNFIT),
    "kid of a key of another curve": (headed(kid="p384"), Refusal.KEY_UNFIT),
    "key brought along": (
        headed(issuer.OTHER_P256, jwk=issuer.jwk(issuer.OTHER_P256, "one")),
        Refusal.SIGNATURE_WRONG,
    ),
    "key set brought along": (
        headed(issuer.OTHER_P256, kid="evil", jku="https://evil.example/jwks"),
        Refusal.KEY_UNKNOWN,
    ),
    # signature
    "signed by another": (headed(issuer.OTHER_P256), Refusal.SIGNATURE_WRONG),
    "signed by another RSA key": (
        headed(issuer.OTHER_RSA, kid="rsa", alg="RS256"),
        Refusal.SIGNATURE_WRONG,
    ),
    "no signature": (spoiled(2, ""), Refusal.SIGNATURE_WRONG),
    "signature of nothing": (spoiled(2, part(bytes(64))), Refusal.SIGNATURE_WRONG),
    "signature cut": (spoiled(2, part(bytes(60))), Refusal.SIGNATURE_WRONG),
    "claims changed": (
        spoiled(1, part(account_claims(exp=EPOCH + 601))),
        Refusal.SIGNATURE_WRONG,
    ),
    # times
    "expired": (cluster(exp=EPOCH - 30), Refusal.EXPIRED),
    "no exp": (cluster(exp=...), Refusal.EXPIRY_MISSING),
    "exp null": (cluster(exp=None), Refusal.CLAIM_MALFORMED),
    "exp text": (cluster(exp=str(EPOCH + 600)), Refusal.CLAIM_MALFORMED),
    "exp true": (cluster(exp=True), Refusal.CLAIM_MALFORMED),
    "exp false": (cluster(exp=False), Refusal.CLAIM_MALFORMED),
    "nbf false": (cluster(nbf=False), Refusal.CLAIM_MALFORMED),
    "exp beyond time": (cluster(exp=1e300), Refusal.CLAIM_MALFORMED),
    "exp negative": (cluster(exp=-1), Refusal.CLAIM_MALFORMED),
    "not yet valid": (cluster(nbf=EPOCH + 31), Refusal.NOT_YET_VALID),
    "nbf text": (cluster(nbf="0"), Refusal.CLAIM_MALFORMED),
    "iat far ahead": (cluster(iat=EPOCH + 3600), Refusal.ISSUED_IN_FUTURE),
    "iat a list": (cluster(iat=[]), Refusal.CLAIM_MALFORMED),
    "no iat, life limited": (cluster(iat=...), Refusal.ISSUE_MISSING),
    "lives too long": (cluster(exp=EPOCH + 86400), Refusal.LIFE_TOO_LONG),
    # audience
    "wrong audience": (cluster(aud="https://kubernetes.default.svc"), Refusal.AUDIENCE_WRONG),
    "wrong audiences": (cluster(aud=["a", "b"]), Refusal.AUDIENCE_WRONG),
    "audience as part of another": (cluster(aud=f"{AUDIENCE}-2"), Refusal.AUDIENCE_WRONG),
    "audience in capitals": (cluster(aud=AUDIENCE.upper()), Refusal.AUDIENCE_WRONG),
    "no audience": (cluster(aud=...), Refusal.AUDIENCE_MISSING),
    "audience null": (cluster(aud=None), Refusal.AUDIENCE_MISSING),
    "audience empty": (cluster(aud=""), Refusal.AUDIENCE_MISSING),
    "audiences empty": (cluster(aud=[]), Refusal.AUDIENCE_MISSING),
    "audience an object": (cluster(aud={AUDIENCE: 1}), Refusal.CLAIM_MALFORMED),
    "audience a mixed list": (cluster(aud=[AUDIENCE, 1]), Refusal.CLAIM_MALFORMED),
    "audience a nested list": (cluster(aud=[[AUDIENCE]]), Refusal.CLAIM_MALFORMED),
    # whose
    "required claim absent": (oidc(tier=...), Refusal.REQUIRED_CLAIM),
    "required claim differs": (oidc(tier="silver"), Refusal.REQUIRED_CLAIM),
    "required claim in a list": (oidc(tier=["gold"]), Refusal.REQUIRED_CLAIM),
    "no subject": (oidc(sub=...), Refusal.SUBJECT_MALFORMED),
    "subject empty": (oidc(sub=""), Refusal.SUBJECT_MALFORMED),
    "subject a number": (oidc(sub=7), Refusal.SUBJECT_MALFORMED),
    "subject with a space around": (oidc(sub="loyalty "), Refusal.SUBJECT_MALFORMED),
    "subject with a line end": (oidc(sub="loyalty\n"), Refusal.SUBJECT_MALFORMED),
    "subject with look-alikes": (oidc(sub="lоyalty"), Refusal.SUBJECT_MALFORMED),  # noqa: RUF001  # Cyrillic on purpose
    "subject unknown": (oidc(sub="nobody"), Refusal.IDENTITY_UNKNOWN),
    "no kubernetes claims": (cluster(**{"kubernetes.io": ...}), Refusal.NOT_SERVICE_ACCOUNT),
    "kubernetes claims a list": (cluster(**{"kubernetes.io": []}), Refusal.NOT_SERVICE_ACCOUNT),
    "account contradicts sub": (
        kubernetes(serviceaccount={"name": "admin", "uid": "1"}),
        Refusal.NOT_SERVICE_ACCOUNT,
    ),
    "namespace contradicts sub": (kubernetes(namespace="web"), Refusal.NOT_SERVICE_ACCOUNT),
    "namespace with a slash": (
        bearer(
            token(
                account_claims(
                    sub="system:serviceaccount:a/b:c",
                    **{
                        "kubernetes.io": {
                            "namespace": "a/b",
                            "serviceaccount": {"name": "c", "uid": "1"},
                        }
                    },
                )
            )
        ),
        Refusal.NOT_SERVICE_ACCOUNT,
    ),
    "account without uid": (
        kubernetes(serviceaccount={"name": "sync-worker"}),
        Refusal.NOT_SERVICE_ACCOUNT,
    ),
    "pod nameless": (kubernetes(pod={}), Refusal.NOT_SERVICE_ACCOUNT),
    "a user, not an account": (cluster(sub="kubernetes-admin"), Refusal.NOT_SERVICE_ACCOUNT),
    "account unknown": (
        cluster(
            sub="system:serviceaccount:crm:other",
            **{
                "kubernetes.io": {
                    "namespace": "crm",
                    "serviceaccount": {"name": "other", "uid": "1"},
                }
            },
        ),
        Refusal.IDENTITY_UNKNOWN,
    ),
    # certificates
    "certificate garbage": (Presented(certificate=b"\x30\x03abc"), Refusal.CERTIFICATE_MALFORMED),
    "certificate empty": (Presented(certificate=b""), Refusal.CERTIFICATE_MALFORMED),
    "SAN of a kind that nobody reads": (
        by_certificate(san=bytes.fromhex("3006a50481026161")),  # an ediPartyName
        Refusal.CERTIFICATE_MALFORMED,
    ),
    "SAN that is no list": (by_certificate(san=b"\x30\x05abc"), Refusal.CERTIFICATE_MALFORMED),
    "SAN that is not ASCII": (
        by_certificate(san=bytes.fromhex("3004860261ff")),
        Refusal.CERTIFICATE_MALFORMED,
    ),
    "SAN of another kind": (
        by_certificate(dns("sync-worker.crm.svc")),
        Refusal.CERTIFICATE_UNKNOWN,
    ),
    "SPIFFE ID as a DNS name": (
        by_certificate(dns("spiffe://prod.example/ns/crm/sa/sync-worker")),
        Refusal.CERTIFICATE_UNKNOWN,
    ),
    "SPIFFE ID as common name": (
        by_certificate(subject=subject("spiffe://prod.example/ns/crm/sa/sync-worker")),
        Refusal.CERTIFICATE_UNKNOWN,
    ),
    "no SAN": (by_certificate(subject=subject("sync-worker")), Refusal.CERTIFICATE_UNKNOWN),
    "another trust domain": (
        by_certificate(uri("spiffe://test.example/ns/crm/sa/sync-worker")),
        Refusal.CERTIFICATE_UNKNOWN,
    ),
    "two SPIFFE IDs": (
        by_certificate(SYNC_WORKER, uri("spiffe://prod.example/ns/web/sa/shop")),
        Refusal.CERTIFICATE_AMBIGUOUS,
    ),
    "https URI": (
        by_certificate(uri("https://prod.example/ns/crm/sa/sync-worker")),
        Refusal.CERTIFICATE_NAME_REFUSED,
    ),
    "SPIFFE ID without path": (
        by_certificate(uri("spiffe://prod.example")),
        Refusal.CERTIFICATE_NAME_REFUSED,
    ),
    "SPIFFE ID with dots": (
        by_certificate(uri("spiffe://prod.example/ns/web/../crm/sa/sync-worker")),
        Refusal.CERTIFICATE_NAME_REFUSED,
    ),
    "SPIFFE ID with a query": (
        by_certificate(uri("spiffe://prod.example/ns/crm/sa/sync-worker?x")),
        Refusal.CERTIFICATE_NAME_REFUSED,
    ),
    "SPIFFE ID too long": (
        by_certificate(uri("spiffe://prod.example/" + "a" * 2048)),
        Refusal.CERTIFICATE_NAME_REFUSED,
    ),
    "authority": (by_certificate(SYNC_WORKER, is_authority=True), Refusal.CERTIFICATE_OF_AUTHORITY),
    "certificate of a removed authority": (
        Presented(certificate=certificate(SYNC_WORKER), is_distrusted=True),
        Refusal.CERTIFICATE_DISTRUSTED,
    ),
    "certificate over": (by_certificate(SYNC_WORKER, hours=0.5), Refusal.EXPIRED),
    "certificate of nobody": (
        by_certificate(uri("spiffe://prod.example/ns/crm/sa/other")),
        Refusal.IDENTITY_UNKNOWN,
    ),
    # several
    "certificate of one, token of another": (
        presented(
            b"Bearer " + GOOD.encode(),
            certificate=certificate(uri("spiffe://prod.example/ns/web/sa/shop")),
        ),
        Refusal.CALLERS_DIFFER,
    ),
    "good certificate, bad token": (
        presented(b"Bearer nonsense", certificate=certificate(SYNC_WORKER)),
        Refusal.BEARER_UNKNOWN,
    ),
    "good certificate, empty bearer": (
        presented(b"Bearer", certificate=certificate(SYNC_WORKER)),
        Refusal.BEARER_EMPTY,
    ),
    "good token, bad certificate": (
        presented(b"Bearer " + GOOD.encode(), certificate=certificate(dns("a.example"))),
        Refusal.CERTIFICATE_UNKNOWN,
    ),
}
