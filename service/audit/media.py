"""What records are written on: standard output, a file, a unix socket. All of it may block."""

import os
import select
import socket
from dataclasses import dataclass
from typing import Final, Protocol

from service.audit.chain import Link

DELETED: Final = "deleted"
REPLACED: Final = "replaced"
CLOSED: Final = "closed"
DISPLACEMENTS: Final = (DELETED, REPLACED, CLOSED)
"""How a medium can be no longer where its readers look."""


class Moved(OSError):
    """The file under the path is not the one that is open; ``strerror`` says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What was found on opening.

    ``is_fresh``: it holds nothing of this run, so an opening record comes first. ``last`` is the
    last record in it. ``loose`` are the octets after it, a line cut by a failure, and ``is_cut``
    says that the end is not a line's end; ``None`` where the writer must remember by itself. ``at``
    is how many octets the file held before; ``None`` if it is no file.
    """

    is_fresh: bool
    last: Link | None = None
    loose: bytes | None = None
    is_cut: bool | None = None
    at: int | None = None


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
