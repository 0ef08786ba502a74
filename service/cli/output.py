"""What a command writes to: a terminal of any character set, a pipe that may close, a full disk."""

import errno
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

UNREAD: Final = 141
"""As a shell says of what SIGPIPE ended: 0 would say that all was told, and well."""

UNWRITTEN: Final = 2
"""The output has no room, or its device fails."""

WITHOUT_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What only writing meets; whatever else the system refuses is not the output's."""


def told(run: Callable[[], int]) -> int:
    """Return what ``run`` returns; ``UNREAD`` where its reader has gone, as ``head`` does.

    ``UNWRITTEN``, with a word, where the output cannot be written. What the character set of the
    output lacks is escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = run()
        sys.stdout.flush()
    except BrokenPipeError:
        let_go(sys.stdout)
        return UNREAD
    except OSError as error:
        if error.filename is not None or error.errno not in WITHOUT_ROOM:
            raise  # a fault of ours, or of the file by that name
        let_go(sys.stdout)
        with suppress(OSError):
            print(f"the output cannot be written: {error.strerror}", file=sys.stderr)
        return UNWRITTEN
    return status


def let_go(stream: TextIO) -> None:
    """Let what is left to print go nowhere: the interpreter would try it again at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
