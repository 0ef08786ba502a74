"""What changed between two configurations that the running process cannot take."""

from collections.abc import Iterator
from typing import Any, Final

from service.settings.findings import Path, shown
from service.settings.schema import Settings

RELOADED: Final[tuple[Path, ...]] = (("callers",), ("logging", "level"))
"""What is replaced while running; a change anywhere else needs a restart."""

_ABSENT: Final = object()


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """Return the paths outside ``RELOADED`` that differ, at their deepest, if any."""
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    return [shown(path) for path in _changes(was, now, ()) if not _is_reloaded(path)]


def _is_reloaded(path: Path) -> bool:
    return any(path[: len(reloaded)] == reloaded for reloaded in RELOADED)


def _changes(was: Any, now: Any, path: Path) -> Iterator[Path]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            yield from _changes(was.get(key, _ABSENT), now.get(key, _ABSENT), (*path, key))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for at, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _changes(one, other, (*path, at))
    elif was is _ABSENT or now is _ABSENT or was != now:
        yield path
