"""What verification finds, and what it remembers while it reads."""

from dataclasses import dataclass
from typing import Any

from service.audit.chain import Head
from service.audit.reading import Line


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell: tampering, or a note about what looks like it and is not."""

    is_tampering: bool
    where: str
    what: str


@dataclass(slots=True, eq=False)
class ChainState:
    """Where one chain stands while it is read; ``last`` counts the records of all chains."""

    name: str
    first: int
    head: Head
    kind: str
    where: str
    last: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class Tear:
    """Octets that are no record: how many, their SHA-256, where, and after how many records.

    They stand on so many ``lines``, of which the ``longest`` has so many.
    """

    octets: int
    sha256: str
    where: str
    after: int
    lines: int
    longest: int


@dataclass(slots=True, eq=False)
class Lump:
    """Lines that are no records, one after the other, hashed as they come."""

    where: str
    start: bytes
    digest: Any
    after: int
    octets: int = -1
    lines: int = 0
    longest: int = 0
    is_whole: bool = True
    is_blank: bool = True

    def add(self, line: Line) -> None:
        """Take one more line."""
        if self.octets >= 0:
            self.digest.update(b"\n")
        self.digest.update(line.octets)
        self.octets += len(line.octets) + 1
        self.lines += 1
        self.longest = max(self.longest, len(line.octets))
        self.is_whole = line.is_whole
        self.is_blank = self.is_blank and not line.octets.strip(b"\0")

    @property
    def tear(self) -> Tear:
        """The lump as a record would tell of it."""
        sha256 = self.digest.hexdigest()
        return Tear(self.octets, sha256, self.where, self.after, self.lines, self.longest)
