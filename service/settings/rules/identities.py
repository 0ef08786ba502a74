"""What proves a caller: subjects that its way can give, and that are one caller's only."""

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Final, NamedTuple

from service.settings.authentication import (
    Authentication,
    Jwt,
    MutualTls,
    Static,
    TokenReview,
    separator_of,
)
from service.settings.callers import IdentityRow
from service.settings.findings import Path
from service.settings.messages import suggestion
from service.settings.rules.remarks import Judged, Remark, advice, fault
from service.subject_patterns import SLASH, WILDCARD, compile_pattern, overlap
from service.subjects import (
    is_claimed,
    is_host_name,
    is_name,
    is_service_account,
    is_spiffe_id,
    types_of,
)


class Form(NamedTuple):
    """What subjects of a way look like, judged as whoever reads them there judges.

    ``filler`` stands for ``*`` when a pattern is judged: something that a subject can have there.
    """

    fits: Callable[[str], bool]
    sentence: str
    filler: str = "a"


SERVICE_ACCOUNT: Final = Form(
    is_service_account, "must be namespace/name, without system:serviceaccount:"
)
SPIFFE: Final = Form(
    is_spiffe_id,
    "must be spiffe://trust-domain/path, the trust domain without *",
    filler="A",  # stands in a path, and in no trust domain
)
DNS: Final = Form(is_host_name, "must be a DNS name in lower case")
NAME: Final = Form(
    is_name,
    "must be the subject as RFC 4514 writes it, such as CN=sync-worker,O=Acme: most specific part"
    " first, no spaces between parts, types other than CN, L, ST, O, OU, C, STREET, DC and UID by"
    " their number",
)
CLAIMED: Final = Form(is_claimed, "must be printable ASCII: no token has another subject")
ANY: Final = Form(bool, "must be a subject")

OF_CERTIFICATES: Final[Mapping[str, Form]] = {"spiffe": SPIFFE, "dns": DNS, "subject": NAME}


def form_of(way: Authentication) -> Form:
    """Return what subjects of ``way`` look like."""
    if isinstance(way, MutualTls):
        return OF_CERTIFICATES[way.identity]
    if isinstance(way, TokenReview) or (isinstance(way, Jwt) and way.kind == "service_account"):
        return SERVICE_ACCOUNT
    return CLAIMED if isinstance(way, Jwt) else ANY


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
            separator = _separator(row, ways)
            yield from _pattern((*path, "subject_pattern"), _text(row), separator)
        if row.via in ways:
            at, way = ways[row.via]
            yield from _form(path, row, way, (*path, "via"), ("authentication", at))


def _ways(judged: Judged) -> dict[str, tuple[int, Authentication]]:
    """Return the ways, with their places, whose name means one way only."""
    ways = list(enumerate(judged.settings.authentication))
    names = [way.name for _, way in ways]
    return {way.name: (at, way) for at, way in ways if names.count(way.name) == 1}


def _separator(row: IdentityRow, ways: dict[str, tuple[int, Authentication]]) -> str:
    return separator_of(ways[row.via][1]) if row.via in ways else SLASH


def _subject(path: Path, subject: str) -> Iterator[Remark]:
    if WILDCARD in subject:
        yield fault(path, "holds *, which stands only in subject_pattern")


def _pattern(path: Path, pattern: str, separator: str) -> Iterator[Remark]:
    if WILDCARD not in pattern:
        yield fault(path, "holds no *: write it as subject")
    elif WILDCARD * 2 in pattern:
        told = f"holds **: one * matches within one segment, and nothing matches {separator}"
        yield fault(path, told)
    elif not pattern.strip(WILDCARD + separator):
        yield fault(path, "would match every subject")


def _form(path: Path, row: IdentityRow, way: Authentication, *rests_on: Path) -> Iterator[Remark]:
    place = (*path, "subject" if row.subject is not None else "subject_pattern")
    text = _text(row)
    form = form_of(way)
    if row.subject is None and not text.strip(WILDCARD + separator_of(way)):
        return
    if form is NAME and row.subject is None:
        told = "is not for identity: subject, where * would reach from one part into the next"
        yield fault(place, told, *rests_on)
    elif not _fits(text, form):
        yield fault(place, form.sentence, *rests_on)
    elif form is SERVICE_ACCOUNT and WILDCARD in text.split("/")[0]:
        told = "spans namespaces: whoever may create a matching one becomes this caller"
        yield advice(place, told, *rests_on)
    elif form is NAME and types_of(text)[-1] == "CN" != types_of(text)[0]:
        told = "ends with CN, and RFC 4514 writes the most specific part first: check the order"
        yield advice(place, told, *rests_on)
    elif form is SPIFFE and isinstance(way, MutualTls) and not _is_within(text, way.trust_domain):
        yield fault(place, "is outside the trust domain of its authentication", *rests_on)
    if isinstance(way, Static) and not _matches_some(text, way):
        yield fault(place, "is the subject of no token of its authentication", *rests_on)


def _fits(text: str, form: Form) -> bool:
    """Whether it is a subject, or one with something for each ``*``, be it nothing."""
    return any(form.fits(text.replace(WILDCARD, each)) for each in (form.filler, ""))


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
    ways = _ways(judged)
    for (first, one), (path, other) in combinations(_rows(judged), 2):
        separator = _separator(one, ways)
        if one.via != other.via or not overlap(_text(one), _text(other), separator):
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
