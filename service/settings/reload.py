"""What changed between two configurations that the running process cannot take."""

from collections.abc import Iterator
from typing import Any, Final

from service.settings.findings import Path, shown
from service.settings.schema import Settings

RELOADED: Final = frozenset({"callers"})
"""Sections that are replaced while running; a change anywhere else needs a restart."""

_ABSENT: Final = object()


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """Return the paths outside ``callers`` that differ, at their deepest; none: it can be taken."""
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    return [shown(path) for path in _changes(was, now, ()) if path[0] not in RELOADED]


def _changes(was: Any, now: Any, path: Path) -> Iterator[Path]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            yield from _changes(was.get(key, _ABSENT), now.get(key, _ABSENT), (*path, key))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for at, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _changes(one, other, (*path, at))
    elif was is _ABSENT or now is _ABSENT or was != now:
        yield path
