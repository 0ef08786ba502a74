"""Why nobody was recognised: every reason there is, for the audit record and nowhere else."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from service.errors import AuthenticationUnavailable


class Refusal(StrEnum):
    """The true reason of a 401; outwardly all of them look the same."""

    NO_CREDENTIAL = "no-credential"
    SEVERAL_HEADERS = "several-authorization-headers"
    HEADER_MALFORMED = "authorization-malformed"
    SCHEME_UNSUPPORTED = "scheme-unsupported"
    BEARER_EMPTY = "bearer-empty"
    BEARER_TOO_LARGE = "bearer-too-large"
    BEARER_UNKNOWN = "bearer-unknown"
    TOKEN_MALFORMED = "token-malformed"  # noqa: S105  # a reason
    TOKEN_ENCRYPTED = "token-encrypted"  # noqa: S105  # a reason
    ISSUER_UNKNOWN = "issuer-unknown"
    ALGORITHM_REFUSED = "algorithm-refused"
    HEADER_CRITICAL = "header-critical"
    TYPE_UNEXPECTED = "type-unexpected"
    KEY_ID_MISSING = "key-id-missing"
    KEY_UNKNOWN = "key-unknown"
    KEY_UNFIT = "key-unfit"
    SIGNATURE_WRONG = "signature-wrong"
    CLAIM_MALFORMED = "claim-malformed"
    EXPIRY_MISSING = "expiry-missing"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    ISSUED_IN_FUTURE = "issued-in-future"
    ISSUE_MISSING = "issue-missing"
    LIFE_TOO_LONG = "life-too-long"
    AUDIENCE_MISSING = "audience-missing"
    AUDIENCE_WRONG = "audience-wrong"
    REQUIRED_CLAIM = "required-claim"
    SUBJECT_MALFORMED = "subject-malformed"
    NOT_SERVICE_ACCOUNT = "not-service-account"
    REVIEW_REFUSED = "review-refused"
    REVIEW_AUDIENCE = "review-audience"
    REVIEW_USER = "review-user"
    CERTIFICATE_UNKNOWN = "certificate-unknown"
    CERTIFICATE_MALFORMED = "certificate-malformed"
    CERTIFICATE_OF_AUTHORITY = "certificate-of-authority"
    CERTIFICATE_DISTRUSTED = "certificate-distrusted"
    CERTIFICATE_AMBIGUOUS = "certificate-ambiguous"
    CERTIFICATE_NAME_REFUSED = "certificate-name-refused"
    IDENTITY_UNKNOWN = "identity-unknown"
    CALLERS_DIFFER = "callers-differ"


MEANINGS: Final[Mapping[Refusal, str]] = {
    Refusal.NO_CREDENTIAL: "neither a bearer token nor a client certificate was presented",
    Refusal.SEVERAL_HEADERS: "more than one Authorization header",
    Refusal.HEADER_MALFORMED: "the Authorization header is not one scheme and one token68",
    Refusal.SCHEME_UNSUPPORTED: "a scheme other than Bearer",
    Refusal.BEARER_EMPTY: "the scheme is Bearer and nothing follows",
    Refusal.BEARER_TOO_LARGE: "a bearer token over 16 KiB",
    Refusal.BEARER_UNKNOWN: "no static token has this digest, and it is not a JWT",
    Refusal.TOKEN_MALFORMED: "three parts, but not strict base64url of strict JSON objects",
    Refusal.TOKEN_ENCRYPTED: "five parts: an encrypted token (JWE)",
    Refusal.ISSUER_UNKNOWN: "no authentication is configured for this issuer",
    Refusal.ALGORITHM_REFUSED: "an algorithm that is not configured (none and HS* never are)",
    Refusal.HEADER_CRITICAL: "the header has crit or b64",
    Refusal.TYPE_UNEXPECTED: "typ is not that of an access or ID token",
    Refusal.KEY_ID_MISSING: "no kid, or one that is not a string",
    Refusal.KEY_UNKNOWN: "the issuer's current key set has no such kid",
    Refusal.KEY_UNFIT: "the key of that kid is not for that algorithm",
    Refusal.SIGNATURE_WRONG: "the signature does not verify",
    Refusal.CLAIM_MALFORMED: "a time or audience claim is of the wrong type",
    Refusal.EXPIRY_MISSING: "no exp",
    Refusal.EXPIRED: "exp, notAfter or the configured expiry is past",
    Refusal.NOT_YET_VALID: "nbf or notBefore is ahead",
    Refusal.ISSUED_IN_FUTURE: "iat is ahead",
    Refusal.ISSUE_MISSING: "a maximum life is configured and there is no iat",
    Refusal.LIFE_TOO_LONG: "exp - iat is over the configured maximum life",
    Refusal.AUDIENCE_MISSING: "no aud, or an empty one",
    Refusal.AUDIENCE_WRONG: "aud names none of the configured audiences",
    Refusal.REQUIRED_CLAIM: "a required claim is absent or differs",
    Refusal.SUBJECT_MALFORMED: "the subject claim is absent, empty, long or unprintable",
    Refusal.NOT_SERVICE_ACCOUNT: "the kubernetes.io claims are absent or contradict sub",
    Refusal.REVIEW_REFUSED: "the API server does not authenticate this token",
    Refusal.REVIEW_AUDIENCE: "the API server authenticated it for other audiences",
    Refusal.REVIEW_USER: "the API server says it is somebody else's",
    Refusal.CERTIFICATE_UNKNOWN: "the certificate has no name of a configured kind",
    Refusal.CERTIFICATE_MALFORMED: "the certificate cannot be parsed",
    Refusal.CERTIFICATE_OF_AUTHORITY: "the certificate is that of an authority",
    Refusal.CERTIFICATE_DISTRUSTED: "its authority was taken out since the connection was made",
    Refusal.CERTIFICATE_AMBIGUOUS: "the certificate has several names of the configured kind",
    Refusal.CERTIFICATE_NAME_REFUSED: "the name is not a SPIFFE ID or host name as specified",
    Refusal.IDENTITY_UNKNOWN: "the credential is good, and no caller has that identity",
    Refusal.CALLERS_DIFFER: "two good credentials of two callers",
}
"""What each reason means, for the table in the README."""


class Unavailable(StrEnum):
    """The true reason of a 503 ``authentication-unavailable``."""

    KEYS_UNAVAILABLE = "keys-unavailable"
    KEYS_OVERLOADED = "keys-overloaded"
    REVIEW_UNAVAILABLE = "review-unavailable"
    REVIEW_FORBIDDEN = "review-forbidden"
    REVIEW_INVALID = "review-invalid"
    REVIEW_OVERLOADED = "review-overloaded"
    OWN_TOKEN_UNREADABLE = "own-token-unreadable"  # noqa: S105  # a reason


DETAILS: Final[Mapping[Unavailable, str]] = {
    Unavailable.KEYS_UNAVAILABLE: "The issuer's keys cannot be had at the moment.",
    Unavailable.KEYS_OVERLOADED: "Too many credentials wait for the issuer's keys at the moment.",
    Unavailable.REVIEW_UNAVAILABLE: "The API server that reviews tokens did not answer.",
    Unavailable.REVIEW_FORBIDDEN: "The API server does not let this service review tokens.",
    Unavailable.REVIEW_INVALID: "The API server's review could not be understood.",
    Unavailable.REVIEW_OVERLOADED: "Too many tokens are being reviewed at the moment.",
    Unavailable.OWN_TOKEN_UNREADABLE: "This service cannot read its own token for the API server.",
}
"""What the caller is told."""


def unavailable(reason: Unavailable, wait: float = 1.0) -> AuthenticationUnavailable:
    """Return the refusal to judge at the moment, to be asked again in ``wait`` seconds."""
    return AuthenticationUnavailable(DETAILS[reason], reason=reason, retry_after=wait)
