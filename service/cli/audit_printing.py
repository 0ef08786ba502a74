"""How ``audit`` shows records and progress."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.audit import controls, search
from service.audit.reading import Progress, Source

REDRAW: Final = 0.2
"""Seconds between two pictures of the progress."""


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
    """Return ``text`` without what would steer a terminal."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def document(record: search.Record) -> str:
    """Return the record as JSON that can be shown."""
    return printable(search.text(record))


@contextmanager
def progress_of(source: Source) -> Iterator[Progress | None]:
    """Draw a bar on standard error while a file is read, if that is a terminal."""
    if not sys.stderr.isatty() or not source.size:
        yield None
        return
    next_at = 0.0

    def draw(done: int, size: int) -> None:
        nonlocal next_at
        if (now := time.monotonic()) >= next_at:
            next_at = now + REDRAW
            share = done / size
            bar = "#" * int(share * 40)
            print(f"\r{bar:<40} {share:4.0%} {source.name}", end="", file=sys.stderr, flush=True)

    try:
        yield draw
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
