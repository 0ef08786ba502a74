"""Text and a file reader to settings, or to everything that is wrong with them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from service.settings.document import Document, read
from service.settings.files import Materials, Reader, ReadFile, file_remarks
from service.settings.findings import Advice, Fault, Faults, Finding, shown
from service.settings.mend import Mended, mend
from service.settings.rules.remarks import Judged, Remark
from service.settings.rules.table import RULES
from service.settings.schema import VERSION, Settings
from service.settings.shapes import NAME

__all__ = ["Loaded", "Materials", "ReadFile", "load"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A configuration without faults; ``materials`` is empty where no files were read."""

    settings: Settings
    materials: Materials = field(repr=False)
    advice: tuple[Advice, ...] = ()


def load(text: str | bytes, *, read_file: ReadFile | None, now: datetime) -> Loaded:
    """Return the configuration in ``text`` (YAML in UTF-8); raises ``Faults`` with every fault.

    ``read_file`` reads the files that it names, ``None`` leaves them alone. ``now`` is an aware
    time, by which certificates and tokens are judged expired.
    """
    document = read(text)
    _require_version(document)
    mended = mend(document.data, document.unknown)
    reader = Reader(read_file) if read_file is not None else None
    settings = mended.settings
    remarks = [] if settings is None else list(_remarks(document.data, settings, reader, now))
    told = [_finding(remark, mended) for remark in remarks if _is_news(remark, mended)]
    advice = [each for each in told if isinstance(each, Advice)]
    faults = [each for each in told if isinstance(each, Fault)]
    faults = _placed([*document.faults, *mended.faults, *faults], document)
    if faults or settings is None:
        raise Faults(faults, _placed(advice, document))
    materials = reader.materials if reader is not None else {}
    return Loaded(settings=settings, materials=materials, advice=tuple(_placed(advice, document)))


def _require_version(document: Document) -> None:
    """Another version may mean anything: nothing else is said about such a file."""
    version = document.data.get("version")
    if type(version) is int and version != VERSION:
        message = f"must be {VERSION}: this release reads no other"
        fault = Fault(path=("version",), message=message, line=document.line(("version",)))
        raise Faults([fault])


def _remarks(
    data: Any, settings: Settings, reader: Reader | None, now: datetime
) -> Iterator[Remark]:
    judged = Judged(
        settings=settings,
        sites=_names(_site_names(data.get("sites"))),
        authentications=_names(_authentication_names(data.get("authentication"))),
        now=now,
    )
    for rule in RULES:
        yield from rule(judged)
    if reader is not None:
        yield from file_remarks(settings, reader, now)


def _names(written: Iterable[Any]) -> frozenset[str]:
    """Return the names in the file that can be names, also of what could not be read."""
    return frozenset(name for name in written if isinstance(name, str) and re.fullmatch(NAME, name))


def _site_names(sites: Any) -> Iterable[Any]:
    return sites if isinstance(sites, dict) else ()


def _authentication_names(rows: Any) -> Iterable[Any]:
    listed = rows if isinstance(rows, list) else []
    return [row.get("name") for row in listed if isinstance(row, dict)]


def _is_news(remark: Remark, mended: Mended) -> bool:
    """Whether neither its place nor what the remark rests on is known to be faulty."""
    if not mended.is_open(mended.original(remark.path)):
        return False
    return all(mended.is_news(mended.original(path)) for path in remark.grounds)


def _finding(remark: Remark, mended: Mended) -> Finding:
    kind = Advice if remark.is_advice else Fault
    message = remark.message
    if remark.named is not None:
        message = message.format(shown(mended.original(remark.named)))
    return kind(path=mended.original(remark.path), message=message)


Kind = TypeVar("Kind", Fault, Advice)


def _placed(findings: Iterable[Kind], document: Document) -> list[Kind]:
    """Return the findings with their lines, in the order of the text, each once."""
    placed = [replace(each, line=document.line(each.path)) for each in dict.fromkeys(findings)]
    return sorted((_traceable(each) for each in placed), key=lambda each: each.line or 0)


def _traceable(finding: Kind) -> Kind:
    """Return the finding with its line in words where its path cannot be shown whole."""
    if "?" not in shown(finding.path):
        return finding
    return replace(finding, message=f"{finding.message} (line {finding.line})")
