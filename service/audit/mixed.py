"""Finds records among other lines, as containers' logs are collected: both outputs in one stream.

A container runtime frames each line as ``<time> <stdout|stderr> <F|P> <octets>`` (Kubernetes'
Container Runtime Interface); P: the next line of that output goes on with it.
"""

import re
from collections.abc import Iterator
from typing import Final

from service.audit.reading import LONGEST, PREFIX, Line

_FRAME: Final = re.compile(
    rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)"
    rb" (stdout|stderr) ([FP])(?::[^ ]*)? "
)


def sift(lines: Iterator[Line]) -> Iterator[Line]:
    """Yield ``lines`` without frames; those that do not begin as a record does are others."""
    parts: dict[bytes, Line] = {}
    for line in lines:
        framed = _FRAME.match(line.octets)
        if framed is None:
            yield _judged(line)
            continue
        output, tag = framed.groups()
        before = parts.pop(output, None)
        octets = line.octets[framed.end() :]
        whole = line._replace(octets=octets if before is None else before.octets + octets)
        if tag == b"P" and len(whole.octets) < LONGEST:
            parts[output] = whole
        else:
            yield _judged(whole)
    for part in parts.values():
        yield _judged(part._replace(is_whole=False))


def _judged(line: Line) -> Line:
    """Return ``line``, said to be an other unless it is a record's beginning, however short."""
    start = line.octets[: len(PREFIX)]
    return line if start and PREFIX.startswith(start) else line._replace(is_other=True)
