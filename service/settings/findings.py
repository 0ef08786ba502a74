"""What is said about a configuration: where, and what is wrong, never a value."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Path = tuple[str | int, ...]
"""Keys and list positions (from 0) down to the place."""

_PLAIN_KEY: Final = re.compile(r"(--)?[A-Za-z][A-Za-z0-9_.-]{0,39}")
"""Keys that can be shown; a secret pasted where a key belongs does not look like one."""

WHOLE_FILE: Final = "configuration"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Finding:
    """One sentence about one place; ``line`` (from 1) is where it stands in the text, if known."""

    path: Path
    message: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.message}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"  # a path may hold what was pasted as a key


class Fault(Finding):
    """A mistake: nothing starts with it."""

    __slots__ = ()


class Advice(Finding):
    """Something allowed that its owner should know."""

    __slots__ = ()


class Faults(Exception):
    """A configuration that cannot be used, with everything that is wrong with it."""

    def __init__(self, faults: Iterable[Fault], advice: Iterable[Advice] = ()) -> None:
        self.faults = tuple(faults)
        self.advice = tuple(advice)
        super().__init__("\n".join(map(str, self.faults)))


def shown(path: Path) -> str:
    """Return ``path`` as people read it: ``sites.shop.api_key``, ``callers.0.grants.1``."""
    return ".".join(map(_part, path)) or WHOLE_FILE


def _part(part: str | int) -> str:
    if isinstance(part, int):
        return str(part)
    return part if _PLAIN_KEY.fullmatch(part) else "?"
