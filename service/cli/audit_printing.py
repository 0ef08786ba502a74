"""How ``audit`` shows records and progress."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from service.audit import controls, search
from service.audit.reading import Line, Source

REDRAW: Final = 0.2
"""Seconds between two pictures of the progress."""
WIPE: Final = "\r\x1b[K"


def sentence(record: search.Record) -> str:
    """Return who was given what, or that it was taken back, on one line."""
    caller = record.get("caller") or {}
    if record.get("kind") == controls.WITHDRAWN:
        said = f"release {record.get('audit_id')} was withdrawn ({record.get('reason')})"
        return printable(f"{record.get('time')} {said}")
    names = ", ".join(map(str, record.get("names_released", ())))
    who = f"{caller.get('name')} ({caller.get('authentication')} {caller.get('subject')}"
    who += f", pod {caller['pod']})" if caller.get("pod") else ")"
    what = f"{names} of {record.get('provider')} at {record.get('site')}"
    rest = f"user {record.get('user')}, rule {record.get('rule')}, audit {record.get('audit_id')}"
    return printable(f"{record.get('time')} {who} from {record.get('peer')} got {what}; {rest}")


def printable(text: str) -> str:
    """Return ``text`` without what would steer a terminal, which stands as JSON escapes it."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def document(record: search.Record) -> str:
    """Return the record as JSON that can be shown."""
    return printable(search.text(record))


class Screen:
    """Results on standard output; remarks, and a bar where it is a terminal, on standard error."""

    def __init__(self) -> None:
        self._is_drawn = False
        self._next_at = 0.0

    def tell(self, line: str) -> None:
        """Print a result."""
        self._wipe()
        print(line)

    def remark(self, line: str) -> None:
        """Say something beside the results."""
        self._wipe()
        print(f"audit: {line}", file=sys.stderr)

    @contextmanager
    def lines_of(self, source: Source) -> Iterator[Iterator[Line]]:
        """Yield the lines of a file, and draw how far they are read."""
        has_bar = sys.stderr.isatty() and source.size > 0
        try:
            yield source.lines(partial(self._draw, source.name) if has_bar else None)
        finally:
            self._wipe()

    def _draw(self, name: str, done: int, size: int) -> None:
        if (now := time.monotonic()) >= self._next_at:
            self._next_at, self._is_drawn = now + REDRAW, True
            share = done / size
            bar = f"{'#' * int(share * 40):<40}"
            print(f"\r{bar} {share:4.0%} {name}", end="", file=sys.stderr, flush=True)

    def _wipe(self) -> None:
        if self._is_drawn:
            self._is_drawn = False
            print(WIPE, end="", file=sys.stderr, flush=True)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
