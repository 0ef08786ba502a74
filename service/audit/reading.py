"""Reads streams of records line by line in constant memory: files, gzip, standard input."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from service.audit.chain import take_apart

LONGEST: Final = 1 << 20
"""Octets of a line that are read at once; no record is that long."""
STEP: Final = 4096
"""Lines between two looks at the progress."""
PEEK: Final = 1000
"""Lines at a file's start in which its first record is looked for."""
PREFIX: Final = b'{"seq":'
"""How each record begins."""

Progress = Callable[[int, int], None]
"""Told the octets read and the octets in all (0 if unknown)."""


class Line(NamedTuple):
    """A line without its newline, and where it stands; ``is_other``: it claims to be no record."""

    octets: bytes
    is_whole: bool
    file: str
    number: int
    is_other: bool = False

    @property
    def where(self) -> str:
        """The place for people."""
        return f"{self.file}:{self.number}"


class Unreadable(Exception):
    """A file that cannot be read to its end; says which and why."""


class Damaged(Unreadable):
    """A compressed file that is not what was compressed: somebody's doing, or the medium's."""


def _as_they_are(lines: Iterator[Line]) -> Iterator[Line]:
    return lines


@dataclass(frozen=True, slots=True)
class Source:
    """A file of records, maybe compressed; ``-`` is standard input. ``sift`` judges its lines."""

    name: str
    open_raw: Callable[[], BinaryIO]
    size: int = 0
    sift: Callable[[Iterator[Line]], Iterator[Line]] = _as_they_are

    def lines(self, progress: Progress | None = None) -> Iterator[Line]:
        """Yield the lines; raises ``Unreadable``."""
        try:
            with self.open_raw() as raw:
                yield from self.sift(self._lines(raw, progress))
        except EOFError:
            raise Damaged(f"{self.name}: the compressed data is cut short") from None
        except (gzip.BadGzipFile, zlib.error):
            raise Damaged(f"{self.name}: the compressed data is damaged") from None
        except OSError as error:
            raise Unreadable(f"{self.name}: {error.strerror or 'it cannot be read'}") from None

    def _lines(self, raw: BinaryIO, progress: Progress | None) -> Iterator[Line]:
        stream = _plain(raw)
        for number, octets in enumerate(iter(partial(stream.readline, LONGEST), b""), start=1):
            is_whole = octets[-1:] == b"\n"
            yield Line(octets[:-1] if is_whole else octets, is_whole, self.name, number)
            if progress is not None and number % STEP == 0:
                progress(raw.tell() if self.size else 0, self.size)


def from_path(path: str) -> Source:
    """Return the file at ``path``; raises ``OSError`` if there is none."""
    file = Path(path)
    return Source(path, lambda: file.open("rb"), file.stat().st_size)


def arranged(sources: Sequence[Source]) -> list[Source]:
    """Return ``sources`` in the order of their chains; a rotated set can be named in any order."""
    seen: dict[str, int] = {}
    keyed: list[tuple[int, int, Source]] = []
    for source in sources:
        chain, sequence = _first(source)
        keyed.append((seen.setdefault(chain, len(seen)), sequence, source))
    return [source for _, _, source in sorted(keyed, key=lambda row: row[:2])]


def _first(source: Source) -> tuple[str, int]:
    """Return the chain and number of the first record; the file's own name if it has none."""
    if source.size == 0:
        return source.name, 0
    try:
        for line in source.lines():
            if (link := take_apart(line.octets)) is not None:
                return link.chain, link.sequence
            if line.number >= PEEK:
                break
    except Unreadable:
        pass
    return source.name, 0


def _plain(raw: BinaryIO) -> BinaryIO:
    """Return ``raw`` without compression, whatever its name."""
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(_raw(raw))
    if buffered.peek(2)[:2] == b"\x1f\x8b":
        return cast("BinaryIO", gzip.GzipFile(fileobj=buffered, mode="rb"))
    return cast("BinaryIO", buffered)


def _raw(stream: BinaryIO) -> io.RawIOBase:
    return cast("io.RawIOBase", stream)
