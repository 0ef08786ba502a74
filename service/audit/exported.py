"""Heads where the keeper of a stream cannot change them: ``SEQ:HASH`` in logs, numbers as metrics.

A metric's value is a float: it holds the sequence number and, as another metric, the first 48 bits
of the hash, both exactly. An expected head is given as it was exported: ``SEQ:HASH``, or
``SEQ:NUMBER`` with the metric's number as Prometheus writes it.
"""

import re
from decimal import Decimal
from typing import Final

from service.audit.chain import Head, Link

DIGITS: Final = 12
"""Hex digits of a hash that a float holds exactly: 48 of its 53 bits."""

_NUMBERS: Final = re.compile(
    r"([1-9][0-9]{0,18}):([0-9]{1,15}|[0-9](?:\.[0-9]{1,14})?e\+?[0-9]{2})"
)


def number(head: Head) -> int:
    """Return what the metric says of the head's hash; 0 before the first record."""
    return int(head.hash.rpartition(":")[2][:DIGITS] or "0", 16)


def expected(text: str) -> Head:
    """Return the head that was exported as ``text``; raises ``ValueError``."""
    found = _NUMBERS.fullmatch(text)
    if found is None:
        return Head.parse(text)
    value = Decimal(found[2])
    if value != int(value) or value >= 1 << 4 * DIGITS:
        raise ValueError("the number of a head is whole and has at most 48 bits")
    return Head(int(found[1]), str(int(value)))


def forms(link: Link) -> set[Head]:
    """Return the head after ``link`` in each form in which it can be expected."""
    head = link.head
    return {head, Head(link.sequence, link.digest), Head(link.sequence, str(number(head)))}
