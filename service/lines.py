"""Lines for a descriptor that may be slow, full or gone: taken at once, written by a thread.

Whoever writes a line never waits and never fails; lines come out in the order in which they were
taken, and those for which there is no room, or no reader, are counted.
"""

import errno
import os
import select
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import sleep
from typing import Final, TextIO

MOST: Final = 10_000
"""Lines that wait, and no more: a few megabytes, ten seconds of a busy service."""
PAUSE: Final = 0.02
"""Seconds between two writes: whatever is said meanwhile goes out at once, and wakes nobody."""
PARTING: Final = 1.0
"""Seconds that the last lines have at the end."""
NEWLINE: Final = b"\n"


class Lines:
    """A stream of text, as much as a log needs of one.

    ``descriptor`` is written to as it is. That it does not block is not asked for: the setting is
    shared with whoever has the same file open, and the audit on standard output may be one of them.
    """

    def __init__(self, descriptor: int | None, *, most: int = MOST, pause: float = PAUSE) -> None:
        self._descriptor = descriptor
        self._most = most
        self._pause = pause
        self._waiting: SimpleQueue[str | None] = SimpleQueue()
        self._lost = 0
        self._counting = Lock()
        self._thread = Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """How many lines found no room or no reader."""
        return self._lost

    def write(self, text: str) -> None:
        """Take a line of text, which ends in a newline."""
        if self._waiting.qsize() < self._most:
            self._waiting.put(text)
        else:
            self._lose(1)

    def flush(self) -> None:
        """Do nothing: what is taken goes out by itself."""

    def isatty(self) -> bool:
        """Whether a person reads along."""
        return self._descriptor is not None and os.isatty(self._descriptor)

    def close(self, seconds: float = PARTING) -> None:
        """Take no more, and wait for what is taken to be out, but no longer than ``seconds``."""
        self._most = 0
        self._waiting.put(None)
        self._thread.join(seconds)

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            lines = [first, *self._those_that_wait()]
            # Line by line: all at once would keep the event loop waiting for Python's lock.
            self._write(b"".join([line.encode("utf-8", "backslashreplace") for line in lines]))
            sleep(self._pause)

    def _those_that_wait(self) -> Iterator[str]:
        with suppress(Empty):
            while (line := self._waiting.get_nowait()) is not None:
                yield line
            self._waiting.put(None)  # the end, which must be found once more

    def _write(self, octets: bytes) -> None:
        left = memoryview(octets)
        try:
            while left:
                left = left[self._written(left) :]
        except OSError:  # no reader or no room on the disk; there may be one for what comes next
            self._lose(bytes(left).count(NEWLINE))

    def _written(self, octets: memoryview) -> int:
        if self._descriptor is None:
            raise OSError(errno.EBADF, "there is no such stream")
        try:
            return os.write(self._descriptor, octets)
        except BlockingIOError:  # somebody else's setting
            room = select.poll()
            room.register(self._descriptor, select.POLLOUT)
            room.poll()
            return 0

    def _lose(self, lines: int) -> None:
        with self._counting:
            self._lost += lines


def lines_of(stream: TextIO | None) -> Lines:
    """Return the lines of a standard stream; Python has none where the process was given none.

    Its number may then be another file's, and must not be written to.
    """
    return Lines(None if stream is None else stream.fileno())
