"""What a live check showed, in words: shapes and verdicts, and the switch for each; no values."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from service.errors import UnknownProvider
from service.gigya.live_check import Findings
from service.provider_rows import FAMILIES, OAUTH1, OAUTH2, FieldNames, Naming, Row
from service.providers import names_for
from service.settings.sites import Site

SKEW: Final = 30.0
"""Seconds by which clocks may differ; Gigya's window is not documented, 60 at most is safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the real Gigya is to be asked once."""

    site: str
    provider: str
    uid: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReport:
    """What came of it; ``is_fine`` where the configuration leads to a release."""

    lines: tuple[str, ...]
    is_fine: bool


class Line(NamedTuple):
    """One thing that was settled."""

    about: str
    told: str
    is_fine: bool = True

    def __str__(self) -> str:
        return f"{'ok ' if self.is_fine else 'BAD'} {self.about}: {self.told}"


Mapped = Row | UnknownProvider
"""The row of the provider that was asked for, or why it has none."""

Part = Callable[[Findings, Site, Mapped], Iterator[Line]]


def report(findings: Findings, site: Site, mapping: Mapped) -> LiveReport:
    """Return what ``findings`` mean for ``site`` as it is configured."""
    parts = PARTS if findings.problem is None else (_call, _mapping)
    lines = [line for part in parts for line in part(findings, site, mapping)]
    told = tuple(map(str, lines))
    return LiveReport(lines=told, is_fine=all(line.is_fine for line in lines))


def _call(findings: Findings, _: Site, __: Mapped) -> Iterator[Line]:
    exchange = findings.exchange
    code = "no reply" if exchange.error_code is None else f"errorCode {exchange.error_code}"
    took = f"{code}, {exchange.milliseconds:.0f} ms, call id {exchange.call_id or 'none'}"
    if findings.problem is None:
        yield Line("call", took)
    else:
        yield Line("call", f"{findings.problem} ({took})", is_fine=False)
    if advice := ADVICE.get(findings.reason or ""):
        yield Line("way to Gigya", advice, is_fine=False)
    offset = findings.clock_offset
    if offset is not None:
        yield Line("clock", f"Gigya's is {offset:+.0f} s from ours", abs(offset) <= SKEW)


def _authentication(findings: Findings, site: Site, _: Mapped) -> Iterator[Line]:
    slot = findings.authentication_slot
    if slot is not None:
        way = getattr(site.authentication, slot).method
        yield Line("authentication", f"{slot} ({way}) works", slot == "current")


def _parameters(findings: Findings, _: Site, __: Mapped) -> Iterator[Line]:
    if findings.knows_all_parameters is not None:
        told = "all known" if findings.knows_all_parameters else "some are not known to checkParams"
        yield Line("parameters", told)
    yield Line("ignoredParams", ", ".join(findings.ignored) or "none")
    if findings.context_is_echoed is not None:
        told = "echoed" if findings.context_is_echoed else "another request's"
        yield Line("context", told, findings.context_is_echoed)


def _sealing(findings: Findings, site: Site, _: Mapped) -> Iterator[Line]:
    shapes = ", ".join(f"{name} {shape}" for name, shape in findings.shapes.items())
    yield Line("fields", shapes or "none", "authToken" in findings.shapes)
    is_accepted = site.encryption.mode == "preferred"
    verdicts = {
        "opened": Line("decryption", f"partner_secret_files.{findings.key_slot} opens it"),
        "unopened": Line("decryption", "no partner secret opens it", is_fine=False),
        "plain": Line("decryption", "came back plain: encryption.mode decides", is_accepted),
        "nothing-sealed": Line("decryption", "nothing in this reply was sealed or had to be"),
    }
    if findings.opening is not None:
        yield verdicts[findings.opening]


def _expiries(findings: Findings, site: Site, _: Mapped) -> Iterator[Line]:
    for name, form in findings.expiry_forms.items():
        told, is_fine = form, form != "unknown"
        if form == "seconds-left" and not site.expiries.relative:
            told, is_fine = f"{form}: set expiries.relative: true", False
        elif form == "date-time-without-zone":
            told = f"{form}: expiries.time_zone counts"
        yield Line(name, told, is_fine)


def _signature(findings: Findings, site: Site, _: Mapped) -> Iterator[Line]:
    forms, chosen = findings.signature_forms, site.provider_uid_signature.base_string
    if forms is None:
        yield Line("providerUIDSig", "none came")
    elif not forms:
        yield Line("providerUIDSig", "fits no partner secret in either form", is_fine=False)
    elif chosen != "either" and chosen not in forms:
        told = f"set provider_uid_signature.base_string: {forms[0]}"
        yield Line("providerUIDSig", told, is_fine=False)
    else:
        yield Line("providerUIDSig", f"fits {' and '.join(forms)}")


def _mapping(_: Findings, __: Site, mapping: Mapped) -> Iterator[Line]:
    if isinstance(mapping, UnknownProvider):
        told = f"{mapping.detail} providers under the site gives it names."
        yield Line("mapping", told, is_fine=False)


def _names(findings: Findings, site: Site, mapping: Mapped) -> Iterator[Line]:
    if isinstance(mapping, UnknownProvider) or mapping.names is None:
        return
    has_secret = "tokenSecret" in findings.shapes
    says = OAUTH1 if has_secret else OAUTH2
    used = names_for(mapping, Naming(site.naming), has_token_secret=has_secret)
    holds = f"reply holds {'' if has_secret else 'no '}tokenSecret -> {_family(says)}"
    answer = f"{holds}; table says {_family(mapping.names)}; answered as {_family(used)}"
    if has_secret and used.token_secret is None:
        remedy = "give the row a tokenSecret" if mapping.is_fixed else "set naming: reply"
        yield Line("names", f"{answer}, where it has no name: {remedy}", is_fine=False)
    else:
        yield Line("names", answer)


def _family(names: FieldNames) -> str:
    return next((family for family, column in FAMILIES.items() if column == names), "its own")


ADVICE: Final[Mapping[str, str]] = {
    "unreachable-name-not-found": (
        "DNS does not know the name: check DNS, or set upstream.proxy_url where only a proxy does"
    ),
    "unreachable-refused": (
        "nobody listens at the address, or a firewall refuses: check the way out, "
        "upstream.proxy_url"
    ),
    "unreachable-connect-timeout": (
        "no connection within upstream.connect: check the firewall, upstream.proxy_url"
    ),
    "unreachable-tls": (
        "who answers cannot prove to be Gigya: where a proxy opens TLS its CA belongs into "
        "upstream.ca_file (a simulator's into its ca_file)"
    ),
    "unreachable-proxy": (
        "the proxy is away or refuses: check upstream.proxy_url, proxy_credentials_file"
    ),
    "unreachable-connection-lost": "the connection was closed: look at proxies and firewalls",
    "unreachable-bad-url": "the address cannot be used: check upstream.proxy_url",
    "timeout": "connected, but no answer within upstream.deadline",
    "not-gigya": "something between, or a proxy's page: check upstream.proxy_url",
    "redirect": "something between answers: Gigya never redirects; check upstream.proxy_url",
}
"""What to look at when the call never came to an answer of Gigya's, by the error's reason."""

PARTS: Final[tuple[Part, ...]] = (
    _call,
    _mapping,
    _authentication,
    _parameters,
    _sealing,
    _names,
    _expiries,
    _signature,
)
