"""What proves a caller: subjects that its way can give, and that are one caller's only."""

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Final, NamedTuple

from service.settings.authentication import Authentication, Jwt, MutualTls, Static, TokenReview
from service.settings.callers import IdentityRow
from service.settings.findings import Path
from service.settings.messages import suggestion
from service.settings.rules.remarks import Judged, Remark, advice, fault
from service.subject_patterns import WILDCARD, compile_pattern, overlap


class Form(NamedTuple):
    """What subjects of a way look like, ``*`` included."""

    pattern: re.Pattern[str]
    sentence: str


SERVICE_ACCOUNT: Final = Form(
    re.compile(r"[a-z0-9*]([a-z0-9*-]*[a-z0-9*])?/[a-z0-9*]([a-z0-9*.-]*[a-z0-9*])?"),
    "must be namespace/name, without system:serviceaccount:",
)
SPIFFE: Final = Form(
    re.compile(r"spiffe://[a-z0-9._-]+(/[A-Za-z0-9._*-]+)+"),
    "must be spiffe://trust-domain/path, the trust domain without *",
)
DNS: Final = Form(re.compile(r"[A-Za-z0-9*]([A-Za-z0-9*.-]*[A-Za-z0-9*])?"), "must be a DNS name")
ANY: Final = Form(re.compile(r".+"), "must be a subject")


def form_of(way: Authentication) -> Form:
    """Return what subjects of ``way`` look like."""
    if isinstance(way, TokenReview) or (isinstance(way, Jwt) and way.kind == "service_account"):
        return SERVICE_ACCOUNT
    if isinstance(way, MutualTls):
        return {"spiffe": SPIFFE, "dns": DNS, "subject": ANY}[way.identity]
    return ANY


def identities(judged: Judged) -> Iterator[Remark]:
    """Judge each identity by itself."""
    ways = _ways(judged)
    for path, row in _rows(judged):
        if row.via not in judged.authentications:
            told = "names no authentication" + suggestion(row.via, judged.authentications)
            yield fault((*path, "via"), told)
        if (row.subject is None) == (row.subject_pattern is None):
            told = "must have exactly one of subject and subject_pattern"
            yield fault(path, told, (*path, "subject"), (*path, "subject_pattern"))
        elif row.subject is not None:
            yield from _subject((*path, "subject"), row.subject)
        else:
            yield from _pattern((*path, "subject_pattern"), _text(row))
        if row.via in ways:
            at, way = ways[row.via]
            yield from _form(path, row, way, (*path, "via"), ("authentication", at))


def _ways(judged: Judged) -> dict[str, tuple[int, Authentication]]:
    """Return the ways, with their places, whose name means one way only."""
    ways = list(enumerate(judged.settings.authentication))
    names = [way.name for _, way in ways]
    return {way.name: (at, way) for at, way in ways if names.count(way.name) == 1}


def _subject(path: Path, subject: str) -> Iterator[Remark]:
    if WILDCARD in subject:
        yield fault(path, "holds *, which stands only in subject_pattern")


def _pattern(path: Path, pattern: str) -> Iterator[Remark]:
    if WILDCARD not in pattern:
        yield fault(path, "holds no *: write it as subject")
    elif WILDCARD * 2 in pattern:
        yield fault(path, "holds **: one * matches within one segment, and nothing matches /")
    elif not pattern.strip("*/"):
        yield fault(path, "would match every subject")


def _form(path: Path, row: IdentityRow, way: Authentication, *rests_on: Path) -> Iterator[Remark]:
    place = (*path, "subject" if row.subject is not None else "subject_pattern")
    text = _text(row)
    form = form_of(way)
    if not text.strip("*/"):
        return
    if not form.pattern.fullmatch(text):
        yield fault(place, form.sentence, *rests_on)
    elif form is SERVICE_ACCOUNT and WILDCARD in text.split("/")[0]:
        told = "spans namespaces: whoever may create a matching one becomes this caller"
        yield advice(place, told, *rests_on)
    elif form is SPIFFE and isinstance(way, MutualTls) and not _is_within(text, way.trust_domain):
        yield fault(place, "is outside the trust domain of its authentication", *rests_on)
    if isinstance(way, Static) and not _matches_some(text, way):
        yield fault(place, "is the subject of no token of its authentication", *rests_on)


def _is_within(spiffe_id: str, trust_domain: str | None) -> bool:
    return trust_domain is None or spiffe_id.split("/")[2] == trust_domain


def _matches_some(text: str, way: Static) -> bool:
    pattern = compile_pattern(text)
    return any(pattern.fullmatch(token.subject) for token in way.tokens)


def unused_tokens(judged: Judged) -> Iterator[Remark]:
    """Tell of a token that is nobody's: its owner may be waiting."""
    for at, way in enumerate(judged.settings.authentication):
        if not isinstance(way, Static):
            continue
        mine = [row for _, row in _rows(judged) if row.via == way.name]
        patterns = [compile_pattern(_text(row)) for row in mine]
        for to, token in enumerate(way.tokens):
            if not any(pattern.fullmatch(token.subject) for pattern in patterns):
                path: Path = ("authentication", at, "tokens", to, "subject")
                yield advice(path, "is no caller's identity", ("callers",))


def collisions(judged: Judged) -> Iterator[Remark]:
    """Require that an identity is one caller's; an exact subject may stand inside a pattern."""
    for (first, one), (path, other) in combinations(_rows(judged), 2):
        if one.via != other.via or not overlap(_text(one), _text(other)):
            continue
        is_same_caller = first[:2] == path[:2]
        exact = [row.subject is not None for row in (one, other)]
        if all(exact):
            yield fault(path, "is the same as {}", path, named=first)
        elif not any(exact) and not is_same_caller:
            yield fault(path, "can match the same subject as {}", path, named=first)
        elif not is_same_caller:
            inner, outer = (first, path) if exact[0] else (path, first)
            yield advice(inner, "goes before the pattern of {}", inner, named=outer)


def _text(row: IdentityRow) -> str:
    return row.subject or row.subject_pattern or ""


def _rows(judged: Judged) -> Iterator[tuple[Path, IdentityRow]]:
    for at, caller in enumerate(judged.settings.callers):
        for to, row in enumerate(caller.identities):
            yield ("callers", at, "identities", to), row
