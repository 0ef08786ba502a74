"""What records are written on: standard output, a file, a unix socket. All of it may block."""

import os
import select
import socket
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Protocol

from service.audit.chain import Link, take_apart
from service.audit.filesystem import FileSystem, Place

TAIL: Final = 1 << 20
"""Octets from the end in which the last record of a file is looked for."""


class Moved(OSError):
    """The file under the path is not the one that is open; ``strerror`` says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What was found on opening.

    ``is_fresh``: it holds nothing of this run, so an opening record comes first. ``last`` is the
    last record in it. ``loose`` are the octets after it, a line cut by a failure, and ``is_cut``
    says that the end is not a line's end; ``None`` where the writer must remember by itself.
    """

    is_fresh: bool
    last: Link | None = None
    loose: bytes | None = None
    is_cut: bool | None = None


class Medium(Protocol):
    """Where a scribe writes; each method raises ``OSError``."""

    def open(self) -> Arrival:
        """Open, or open again."""

    def displaced(self) -> str | None:
        """Say how the medium is no longer where its readers look, or ``None``."""

    def is_full(self, octets: int) -> bool:
        """Whether that many octets more call for a new file."""

    def write(self, octets: memoryview) -> int:
        """Write some of it; returns how many octets."""

    def settle(self) -> None:
        """Return when what was written is as durable as promised and in its place."""

    def aside(self, sequence: int, moment: str) -> str | None:
        """Return the name under which a full file would be put aside; ``None``: no files here."""

    def turn(self, name: str) -> None:
        """Put the file aside under ``name`` and open a new one."""

    def close(self) -> None:
        """Close."""


class Stream:
    """A descriptor that stays: standard output."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_fresh = True

    def open(self) -> Arrival:
        """Say whether this is the first time."""
        is_fresh, self._is_fresh = self._is_fresh, False
        return Arrival(is_fresh=is_fresh)

    def displaced(self) -> str | None:
        """Return nothing: a stream has no place."""

    def is_full(self, octets: int) -> bool:  # noqa: ARG002  # the port's signature
        """Return False: a stream is never full."""
        return False

    def write(self, octets: memoryview) -> int:
        """Write, and wait where somebody made the stream non-blocking."""
        while True:
            try:
                return os.write(self._descriptor, octets)
            except BlockingIOError:
                select.select([], [self._descriptor], [])

    def settle(self) -> None:
        """Return at once: the reader has it."""

    def aside(self, sequence: int, moment: str) -> str | None:
        """Return nothing: there is no file."""

    def turn(self, name: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: the descriptor is the process's."""


class UnixSocket(Stream):
    """A stream socket; each connection begins with an opening record."""

    def __init__(self, path: str, *, timeout: float) -> None:
        super().__init__(-1)
        self._path = path
        self._timeout = timeout
        self._socket: socket.socket | None = None

    def open(self) -> Arrival:
        """Connect anew."""
        self.close()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        self._socket = connection
        return Arrival(is_fresh=True, is_cut=False)

    def write(self, octets: memoryview) -> int:
        """Send some of it within the timeout."""
        if self._socket is None:
            raise BrokenPipeError
        return self._socket.send(octets)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


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
        self._place: Place | None = None
        self._size = 0
        self._limit = rules.rotate_bytes

    def open(self) -> Arrival:
        """Open the path's file and read where it ends."""
        self.close()
        before = self._place
        self._begin()
        tail = self._files.tail(self._rules.path, TAIL)
        last, loose, is_cut = _ending(tail)
        if before is None and not tail:
            last = self._last_aside()
        is_same = before is not None and before[:2] == self._identity()
        return Arrival(is_fresh=not is_same, last=last, loose=loose, is_cut=is_cut)

    def displaced(self) -> str | None:
        """Compare what is open with what stands at the path."""
        if self._descriptor is None:
            return "closed"
        try:
            there = self._files.stat(self._rules.path)
        except FileNotFoundError:
            return "deleted"
        return None if there[:2] == self._identity() else "replaced"

    def is_full(self, octets: int) -> bool:
        """Whether the file has something and would grow over its size."""
        return self._size > 0 and self._size + octets > self._limit

    def write(self, octets: memoryview) -> int:
        """Append."""
        if self._descriptor is None:
            raise Moved(0, "closed")
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
        return f"{self._rules.path}.{moment}.{sequence}"

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

    def _identity(self) -> tuple[int, int]:
        if self._place is None:
            return (0, 0)
        return self._place[:2]

    def _last_aside(self) -> Link | None:
        """Return the last record put aside: a crash can fall between two files."""
        path = PurePath(self._rules.path)
        asides = [n for n in self._files.names(str(path.parent)) if _is_aside(n, path.name)]
        if not asides:
            return None
        return _ending(self._files.tail(str(path.parent / max(asides)), TAIL))[0]


def _is_aside(name: str, base: str) -> bool:
    moment, _, sequence = name.removeprefix(base + ".").partition(".")
    return name.startswith(base + ".") and moment.endswith("Z") and sequence.isdecimal()


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
