"""YAML 1.2 as far as a configuration needs it: one document, one meaning, no surprises.

Text is typed by YAML's core schema (https://yaml.org/spec/1.2.2/#103-core-schema) without its
rarities: ``yes``, ``0o17``, ``1:30``, ``.inf`` and dates stay text. Refused: aliases, anchors,
tags, merge keys, duplicate keys, several documents, tabs, and what is too large or too deep.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from service.settings.findings import Fault, Faults, Path

LARGEST: Final = 1_048_576
"""Octets; a ConfigMap cannot be larger."""
DEEPEST: Final = 24
"""Levels of nesting."""

_SCALARS: Final[tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?(0|[1-9][0-9]{0,17})"), int),
    (re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?"), float),
)


class Document:
    """Plain data, the line of each place, and the faults of its form."""

    def __init__(self) -> None:
        self.data: Any = None
        self.lines: dict[Path, int] = {}
        self.faults: list[Fault] = []
        self.unknown: set[Path] = set()
        """Places whose value was not taken."""

    def line(self, path: Path) -> int | None:
        """Return the line (from 1) of ``path`` or of the nearest place around it."""
        around = (path[:length] for length in range(len(path), -1, -1))
        return next((self.lines[place] for place in around if place in self.lines), None)


def read(source: str | bytes) -> Document:
    """Return the one mapping that ``source`` holds; raises ``Faults`` where there is none."""
    text = _text(source)
    events = _events(text)
    document = Document()
    builder = _Builder(document, events)
    documents = 0
    for event in events:
        if not isinstance(event, DocumentStartEvent):
            continue
        documents += 1
        if documents > 1:
            raise _fault("holds more than one document", event)
        document.data = builder.value(next(events), ())
    if documents == 0 or document.data is None:
        raise Faults([Fault(path=(), message="is empty")])
    if not isinstance(document.data, dict):
        raise Faults([Fault(path=(), message="must be a mapping (key: value)", line=1)])
    return document


def _text(source: str | bytes) -> str:
    octets = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(octets) > LARGEST:
        raise Faults([Fault(path=(), message=f"is larger than {LARGEST} octets")])
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        problem = Fault(path=(), message="is not UTF-8")
    raise Faults([problem])


def _events(text: str) -> Iterator[Event]:
    """Yield YAML's events; a syntax error becomes a fault that quotes nothing."""
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = (0, 0, 0) if mark is None else (mark.line, mark.column, mark.index)
        fault = _syntax_fault(text, *at)
    except yaml.YAMLError:
        fault = Fault(path=(), message="holds a character that YAML does not allow")
    else:
        return
    raise Faults([fault])


def _syntax_fault(text: str, line: int, column: int, index: int) -> Fault:
    why = "a tab, where YAML wants spaces" if text[index : index + 1] == "\t" else "not YAML"
    return Fault(path=(), message=f"line {line + 1}, column {column + 1}: {why}", line=line + 1)


def _line(event: Event) -> int:
    return 0 if event.start_mark is None else event.start_mark.line + 1


def _fault(message: str, event: Event) -> Faults:
    line = _line(event)
    return Faults([Fault(path=(), message=f"line {line}: {message}", line=line)])


class _Builder:
    """Makes plain data of events, noting what has more than one meaning."""

    def __init__(self, document: Document, events: Iterator[Event]) -> None:
        self._document = document
        self._events = events

    def value(self, event: Event, path: Path) -> Any:
        """Return what ``event`` begins, at ``path``."""
        line = self._document.lines.setdefault(path, _line(event))
        if len(path) > DEEPEST:
            raise _fault("is nested too deeply", event)
        if isinstance(event, AliasEvent):
            self._document.unknown.add(path)
            self._note(path, "is an alias; write the value out", line)
            return None
        if getattr(event, "anchor", None) is not None:
            self._note(path, "has an anchor; anchors and aliases are not accepted", line)
        if getattr(event, "tag", None) is not None:
            self._note(path, "has a tag; tags are not accepted", line)
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        return _scalar(event) if isinstance(event, ScalarEvent) else None

    def _note(self, path: Path, message: str, line: int) -> None:
        self._document.faults.append(Fault(path=path, message=message, line=line))

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self.value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, path)
            line = _line(event)
            place = (*path, key)
            if key in members:
                self._note(place, "occurs more than once", line)
            self._document.lines[place] = line
            members[key] = self.value(next(self._events), place)
        return members

    def _key(self, event: Event, path: Path) -> str:
        if isinstance(event, ScalarEvent) and event.tag is None and event.anchor is None:
            return str(event.value)
        if not isinstance(event, ScalarEvent):
            raise _fault("has a key that is not text", event)
        self._note((*path, event.value), "has a tag or an anchor", _line(event))
        return str(event.value)


def _scalar(event: ScalarEvent) -> Any:
    if event.style is not None:  # quoted, or a block: text as it stands
        return event.value
    return next(
        (convert(event.value) for form, convert in _SCALARS if form.fullmatch(event.value)),
        event.value,
    )
