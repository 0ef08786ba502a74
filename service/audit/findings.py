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
    """Where one chain stands while it is read."""

    name: str
    first: int
    head: Head
    kind: str
    where: str
    records: int = 0


@dataclass(frozen=True, slots=True)
class Tear:
    """Octets that are no record: how many, their SHA-256, and where they begin."""

    octets: int
    sha256: str
    where: str


@dataclass(slots=True, eq=False)
class Lump:
    """Lines that are no records, one after the other, hashed as they come."""

    where: str
    start: bytes
    digest: Any
    octets: int = 0
    is_whole: bool = True

    def add(self, line: Line) -> None:
        """Take one more line."""
        if self.octets:
            self.digest.update(b"\n")
            self.octets += 1
        self.digest.update(line.octets)
        self.octets += len(line.octets)
        self.is_whole = line.is_whole

    @property
    def tear(self) -> Tear:
        """The lump as a record would tell of it."""
        return Tear(self.octets, self.digest.hexdigest(), self.where)
