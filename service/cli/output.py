"""What a command writes to: a terminal of any character set, or a pipe that may be closed."""

import io
import os
import sys
from collections.abc import Callable
from typing import Final

UNREAD: Final = 141
"""As a shell says of what SIGPIPE ended: 0 would say that all was told, and well."""


def told(run: Callable[[], int]) -> int:
    """Return what ``run`` returns, ``UNREAD`` where its reader has gone, as ``head`` does.

    What the character set of the output lacks is escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter writes once more when it ends, and would complain of the same.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    return status
