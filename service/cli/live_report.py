"""What a live check showed, in words: shapes and verdicts, and the switch for each; no values."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from service.gigya.live_check import Findings
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


def report(findings: Findings, site: Site) -> LiveReport:
    """Return what ``findings`` mean for ``site`` as it is configured."""
    parts = (_call,) if findings.problem is not None else PARTS
    lines = [line for part in parts for line in part(findings, site)]
    told = tuple(map(str, lines))
    return LiveReport(lines=told, is_fine=all(line.is_fine for line in lines))


def _call(findings: Findings, _: Site) -> Iterator[Line]:
    exchange = findings.exchange
    code = "no reply" if exchange.error_code is None else f"errorCode {exchange.error_code}"
    took = f"{code}, {exchange.milliseconds:.0f} ms, call id {exchange.call_id or 'none'}"
    if findings.problem is None:
        yield Line("call", took)
    else:
        yield Line("call", f"{findings.problem} ({took})", is_fine=False)
    offset = findings.clock_offset
    if offset is not None:
        yield Line("clock", f"Gigya's is {offset:+.0f} s from ours", abs(offset) <= SKEW)


def _authentication(findings: Findings, site: Site) -> Iterator[Line]:
    slot = findings.authentication_slot
    if slot is not None:
        way = getattr(site.authentication, slot).method
        yield Line("authentication", f"{slot} ({way}) works", slot == "current")


def _parameters(findings: Findings, _: Site) -> Iterator[Line]:
    if findings.knows_all_parameters is not None:
        told = "all known" if findings.knows_all_parameters else "some are not known to checkParams"
        yield Line("parameters", told)
    yield Line("ignoredParams", ", ".join(findings.ignored) or "none")
    if findings.context_is_echoed is not None:
        told = "echoed" if findings.context_is_echoed else "another request's"
        yield Line("context", told, findings.context_is_echoed)


def _sealing(findings: Findings, site: Site) -> Iterator[Line]:
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


def _expiries(findings: Findings, site: Site) -> Iterator[Line]:
    for name, form in findings.expiry_forms.items():
        told, is_fine = form, form != "unknown"
        if form == "seconds-left" and not site.expiries.relative:
            told, is_fine = f"{form}: set expiries.relative: true", False
        elif form == "date-time-without-zone":
            told = f"{form}: expiries.time_zone counts"
        yield Line(name, told, is_fine)


def _signature(findings: Findings, site: Site) -> Iterator[Line]:
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


PARTS: Final[tuple[Callable[[Findings, Site], Iterator[Line]], ...]] = (
    _call,
    _authentication,
    _parameters,
    _sealing,
    _expiries,
    _signature,
)
