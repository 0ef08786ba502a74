"""What a rule is given, and what it says."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from service.settings.findings import Path
from service.settings.schema import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The settings, and every name in the file, even of what could not be read."""

    settings: Settings
    sites: frozenset[str]
    authentications: frozenset[str]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One sentence about one place, and the other places that it rests on.

    ``named`` is the place that ``{}`` in the message stands for; it rests on that, too.
    """

    path: Path
    message: str
    is_advice: bool = False
    rests_on: tuple[Path, ...] = ()
    named: Path | None = None

    @property
    def grounds(self) -> tuple[Path, ...]:
        """Every place that must be sound for it to hold."""
        return self.rests_on if self.named is None else (*self.rests_on, self.named)


Rule = Callable[[Judged], Iterable[Remark]]


def fault(path: Path, message: str, *rests_on: Path, named: Path | None = None) -> Remark:
    """Return a remark that nothing starts with."""
    return Remark(path=path, message=message, rests_on=rests_on, named=named)


def advice(path: Path, message: str, *rests_on: Path, named: Path | None = None) -> Remark:
    """Return a remark that the owner should know."""
    return Remark(path=path, message=message, is_advice=True, rests_on=rests_on, named=named)


def repeated(values: Iterable[tuple[Path, Hashable]]) -> Iterator[tuple[Path, Path]]:
    """Yield each place whose value stood before, and where it stood first."""
    first: dict[Hashable, Path] = {}
    for path, value in values:
        if value in first:
            yield path, first[value]
        first.setdefault(value, path)


def items(path: Path, values: Iterable[Hashable]) -> Iterator[tuple[Path, Hashable]]:
    """Yield the items of the list at ``path``, each with its own path."""
    return (((*path, at), value) for at, value in enumerate(values))
