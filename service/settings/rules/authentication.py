"""What the ways to prove a caller must be, alone and beside each other."""

import hashlib
from collections.abc import Iterator
from typing import Final

from service.settings.authentication import Jwt, MutualTls, Static, TokenReview
from service.settings.callers import IdentityRow
from service.settings.findings import Path
from service.settings.rules.remarks import Judged, Remark, advice, fault, items, repeated

_TLS: Final[Path] = ("listeners", "api", "tls")
FETCHING: Final = frozenset({"ca_file", "keys_max_staleness", "keys_refresh", "token_file"})
"""What says how an issuer's keys are fetched, and nothing of keys in a file."""

_NOTHING: Final = {hashlib.sha256(octets).hexdigest() for octets in (b"", b"\n", b"\r\n")}


def names(judged: Judged) -> Iterator[Remark]:
    """Require that a name is one way's, and that some caller is identified by it."""
    rows = [(("authentication", at, "name"), row.name) for at, row in _rows(judged)]
    for path, first in repeated(rows):
        yield fault(path, "is the same as {}", named=first)
    used = {row.via for _, row in _identities(judged)} | {
        jwt.name for _, _, _, jwt in _pairs(judged)
    }
    for path, name in rows:
        if name not in used:
            yield advice(path, "is a way in which no caller is identified", ("callers",))


def static_tokens(judged: Judged) -> Iterator[Remark]:
    """Require that a digest is one token's, and not that of nothing."""
    rows = [
        (("authentication", at, "tokens", to), token)
        for at, row in _rows(judged)
        if isinstance(row, Static)
        for to, token in enumerate(row.tokens)
    ]
    for path, first in repeated(((*path, "sha256"), token.sha256) for path, token in rows):
        yield fault(path, "is the same as {}", named=first)
    for path, token in rows:
        if token.sha256 in _NOTHING:
            yield fault((*path, "sha256"), "is the digest of nothing: of an empty line or file")
        if token.expires <= judged.now:
            yield advice((*path, "expires"), "has passed: the token is no longer accepted")


def issuers(judged: Judged) -> Iterator[Remark]:
    """Require an issuer of its own for each way of a kind: it is chosen by exact name."""
    for kind in (Jwt, TokenReview):
        rows = (
            (("authentication", at, "issuer"), row.issuer)
            for at, row in _rows(judged)
            if isinstance(row, kind)
        )
        for path, first in repeated(rows):
            yield fault(path, "is the same as {}: a token would have two meanings", named=first)


def verifiers(judged: Judged) -> Iterator[Remark]:
    """Judge each jwt of a token_review's issuer: it verifies, and that one says who is calling."""
    for at, review, to, jwt in _pairs(judged):
        path: Path = ("authentication", at)
        first: Path = ("authentication", to)
        issuers = (*path, "issuer"), (*first, "issuer")
        if jwt.kind != "service_account":
            told = "must be service_account, as {} asks about the same tokens"
            yield fault((*first, "kind"), told, *issuers, named=path)
        if review.audience not in jwt.audiences:
            told = "must be among {}, which come first"
            yield fault((*path, "audience"), told, *issuers, named=(*first, "audiences"))
        for place, row in _identities(judged):
            if row.via == jwt.name:
                told = "names a way that only verifies: {} says who is calling"
                yield fault((*place, "via"), told, *issuers, named=path)


def tokens(judged: Judged) -> Iterator[Remark]:
    """Judge each issuer of tokens by itself."""
    for at, row in _rows(judged):
        if isinstance(row, Jwt):
            yield from _jwt(("authentication", at), row)


def _jwt(path: Path, row: Jwt) -> Iterator[Remark]:
    sources = (row.keys.discovery, row.keys.jwks_uri, row.keys.file)
    if sum(source is not None for source in sources) != 1:
        keys = (*path, "keys")
        yield fault(keys, "must have exactly one of discovery, jwks_uri and file", keys)
    if row.keys.file is not None:
        for key in sorted(row.model_fields_set & FETCHING):
            told = "has no effect with keys.file: nothing is fetched"
            yield advice((*path, key), told, (*path, "keys"))
    if row.kind == "service_account" and row.subject_claim != "sub":
        told = "must be sub for a service account"
        yield fault((*path, "subject_claim"), told, (*path, "kind"))
    if row.keys_max_staleness < row.keys_refresh:
        told = "must be keys_refresh or more"
        yield fault((*path, "keys_max_staleness"), told, (*path, "keys_refresh"))
    for key, values in (("audiences", row.audiences), ("algorithms", row.algorithms)):
        for place, first in repeated(items((*path, key), values)):
            yield fault(place, "is the same as {}", named=first)


def certificates(judged: Judged) -> Iterator[Remark]:
    """Require that certificates are asked for where they count, and count where asked for."""
    tls = judged.settings.listeners.api.tls
    has_ca = tls is not None and tls.client_ca_file is not None
    rows = [(at, row) for at, row in _rows(judged) if isinstance(row, MutualTls)]
    for at, row in rows:
        path: Path = ("authentication", at)
        if not has_ca:
            yield fault(path, "needs listeners.api.tls.client_ca_file", _TLS)
        if row.trust_domain is not None and row.identity != "spiffe":
            told = "is only for identity: spiffe"
            yield fault((*path, "trust_domain"), told, (*path, "identity"))
    kinds = ((("authentication", at), (row.identity, row.trust_domain)) for at, row in rows)
    for path, first in repeated(kinds):
        yield fault(path, "reads the same identity as {}", path, named=first)
    if has_ca and not rows:
        told = "makes every caller show a certificate, but no authentication is mutual_tls"
        yield advice((*_TLS, "client_ca_file"), told, ("authentication",))
    if tls is None:
        told = "is plain HTTP: credentials and tokens are safe only if something ends TLS before it"
        yield advice(("listeners", "api"), told, _TLS)


def _pairs(judged: Judged) -> Iterator[tuple[int, TokenReview, int, Jwt]]:
    """Yield each token_review and the jwt of the same issuer, with their places."""
    verifying = {row.issuer: (at, row) for at, row in _rows(judged) if isinstance(row, Jwt)}
    for at, row in _rows(judged):
        if isinstance(row, TokenReview) and row.issuer in verifying:
            yield at, row, *verifying[row.issuer]


def _identities(judged: Judged) -> Iterator[tuple[Path, IdentityRow]]:
    for at, caller in enumerate(judged.settings.callers):
        for to, row in enumerate(caller.identities):
            yield ("callers", at, "identities", to), row


def _rows(judged: Judged) -> Iterator[tuple[int, Static | Jwt | TokenReview | MutualTls]]:
    return enumerate(judged.settings.authentication)
