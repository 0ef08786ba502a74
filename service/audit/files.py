"""Records in a file: it only grows, is put aside when full, and its loss is noticed."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from service.audit.chain import Link, take_apart
from service.audit.filesystem import FileSystem, Place
from service.audit.media import CLOSED, DELETED, REPLACED, Arrival, Moved

TAIL: Final = 1 << 20
"""Octets from the end in which the last record of a file is looked for."""


NOWHERE: Final = Place(-1, -1, 0)
"""Before a file was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRules:
    """How a file sink keeps its file: on disk before the answer or not, and how large."""

    path: str
    is_synced: bool = False
    rotate_bytes: int = 1 << 28


class File:
    """A file that only grows, and the files that were put aside next to it."""

    def __init__(self, rules: FileRules, files: FileSystem) -> None:
        self._rules = rules
        self._files = files
        self._descriptor: int | None = None
        self._place = NOWHERE
        self._size = 0
        self._limit = rules.rotate_bytes

    def open(self) -> Arrival:
        """Open the path's file and read where it ends."""
        self.close()
        before = self._place
        self._begin()
        tail = self._files.tail(self._rules.path, TAIL)
        last, loose, is_cut = _ending(tail)
        if before is NOWHERE and last is None:
            last = self._last_aside()
        # An empty file is new even with the old number: the deleted one's can be given again.
        is_fresh = not tail or before[:2] != self._place[:2]
        return Arrival(is_fresh=is_fresh, last=last, loose=loose, is_cut=is_cut, at=self._size)

    def displaced(self) -> str | None:
        """Compare what is open with what stands at the path."""
        if self._descriptor is None:
            return CLOSED
        try:
            there = self._files.stat(self._rules.path)
        except FileNotFoundError:
            return DELETED
        return None if there[:2] == self._place[:2] else REPLACED

    def is_full(self, octets: int) -> bool:
        """Whether the file has something and would grow over its size."""
        return self._size > 0 and self._size + octets > self._limit

    def write(self, octets: memoryview) -> int:
        """Append."""
        if self._descriptor is None:
            raise Moved(0, CLOSED)
        taken = self._files.write(self._descriptor, octets)
        self._size += taken
        return taken

    def settle(self) -> None:
        """Sync if that is promised; raises ``Moved`` where no reader would find the records."""
        if self._rules.is_synced and self._descriptor is not None:
            self._files.sync(self._descriptor)
        if (how := self.displaced()) is not None:
            raise Moved(0, how)

    def aside(self, sequence: int, moment: str) -> str | None:
        """Return the path with the moment and the sequence number of its last record."""
        return f"{self._rules.path}.{moment}.{sequence:012}"

    def turn(self, name: str) -> None:
        """Rename the file and begin another; where that fails, try again much later."""
        self._limit += self._rules.rotate_bytes
        self._files.rename(self._rules.path, name)
        self._limit = self._rules.rotate_bytes
        self.close()
        self._begin()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            self._files.close(self._descriptor)
            self._descriptor = None

    def _begin(self) -> None:
        self._descriptor = self._files.open(self._rules.path)
        self._place = self._files.fstat(self._descriptor)
        self._size = self._place.size
        if self._rules.is_synced and self._size == 0:
            self._files.sync_directory(str(PurePath(self._rules.path).parent))

    def _last_aside(self) -> Link | None:
        """Return the last record put aside: a crash can fall between two files."""
        path = PurePath(self._rules.path)
        asides = [n for n in self._files.names(str(path.parent)) if _is_aside(n, path.name)]
        if not asides:
            return None
        last = max(asides, key=_aside_sequence)
        return _ending(self._files.tail(str(path.parent / last), TAIL))[0]


def _is_aside(name: str, base: str) -> bool:
    moment, _, sequence = name.removeprefix(base + ".").partition(".")
    return name.startswith(base + ".") and moment.endswith("Z") and sequence.isdecimal()


def _aside_sequence(name: str) -> tuple[int, str]:
    """Return the number of the last record of a file put aside: unlike clocks, it only grows."""
    return int(name.rpartition(".")[2]), name


def _ending(tail: bytes) -> tuple[Link | None, bytes, bool]:
    """Return the last record in ``tail``, the octets after its line, and whether it is cut."""
    is_cut = tail[-1:] not in {b"", b"\n"}
    end = len(tail) if is_cut else len(tail) - 1
    while end > 0:
        start = tail.rfind(b"\n", 0, end) + 1
        if (found := take_apart(tail[start:end])) is not None:
            return found, tail[end + 1 :], is_cut
        end = start - 1
    return None, tail, is_cut
