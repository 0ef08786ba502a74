"""A file system in memory, with failures on demand."""

import errno
from collections.abc import Iterator

from service.audit.filesystem import Place


class MemoryFiles:
    """A file system in memory that writes down what it was asked for, in order."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int, bytearray]] = {}
        self.calls: list[str] = []
        self.faults: dict[str, OSError] = {}
        self.room: int | None = None
        self._open: dict[int, tuple[int, bytearray]] = {}
        self.numbers: Iterator[int] = iter(range(3, 10_000))

    def open(self, path: str) -> int:
        """Open or make."""
        self._do("open")
        number = next(self.numbers)
        self.files.setdefault(path, (number, bytearray()))
        self._open[number] = self.files[path]
        return number

    def write(self, descriptor: int, octets: memoryview | bytes) -> int:
        """Append what there is room for."""
        self._do("write")
        taken = len(octets) if self.room is None else min(self.room, len(octets))
        if self.room == 0:
            raise OSError(errno.ENOSPC, "full")
        self._open[descriptor][1].extend(octets[:taken])
        self.room = None if self.room is None else self.room - taken
        return taken

    def sync(self, descriptor: int) -> None:  # noqa: ARG002  # the port's signature
        """Write it down."""
        self._do("sync")

    def sync_directory(self, path: str) -> None:
        """Write it down."""
        self._do(f"sync_directory {path}")

    def rename(self, old: str, new: str) -> None:
        """Rename."""
        self._do("rename")
        self.files[new] = self.files.pop(old)

    def stat(self, path: str) -> Place:
        """Say what stands there."""
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "missing")
        return _place(self.files[path])

    def fstat(self, descriptor: int) -> Place:
        """Say what is open."""
        return _place(self._open[descriptor])

    def tail(self, path: str, octets: int) -> bytes:
        """Return the end."""
        return bytes(self.files[path][1][-octets:])

    def names(self, path: str) -> list[str]:
        """Return the names."""
        return [name.removeprefix(path + "/") for name in self.files]

    def close(self, descriptor: int) -> None:
        """Close."""
        self.calls.append("close")
        del self._open[descriptor]

    def text(self, path: str) -> bytes:
        """Return what a file holds."""
        return bytes(self.files[path][1])

    def _do(self, call: str) -> None:
        self.calls.append(call)
        if (fault := self.faults.get(call)) is not None:
            raise fault


def _place(file: tuple[int, bytearray]) -> Place:
    return Place(0, file[0], len(file[1]))
