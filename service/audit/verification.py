"""Verifies chains: tells tampering from what crashes, full disks and restarts leave behind."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from service.audit import controls
from service.audit.chain import START, Head, Link, take_apart
from service.audit.exported import forms
from service.audit.findings import ChainState, Finding, Lump, Tear
from service.audit.fingerprints import AuditKey, Keyring
from service.audit.reading import PREFIX, Line

PENDING: Final = 1000
"""Torn lines that may wait for the record that explains them."""
ENDS: Final = {controls.CLOSE, controls.ROTATE}
"""After which a run may begin without a word about the one before."""
UNEXPLAINED: Final = "this is no record, and no failure explains it"
LATER: Final = "chain {} goes on in another file: later files not given"
NEWER: Final = "chain {} has records of version {}; this command knows {}: use a newer one"
UNCLOSED: Final = "chain {} is not closed: still written, killed, or cut"


class Verifier:
    """Reads lines in order and tells what it finds; memory grows with chains, not with records."""

    def __init__(
        self,
        keys: Keyring,
        expected: Sequence[Head],
        tell: Callable[[Finding], None],
        *,
        is_mixed: bool = False,
    ) -> None:
        self._keys = keys
        self._is_mixed = is_mixed
        self._missing = {
            head.sequence: {h for h in expected if h.sequence == head.sequence} for head in expected
        }
        self._tell = tell
        self._lump: Lump | None = None
        self._tears: list[Tear] = []
        self._last_line: Line | None = None
        self._is_first = True
        self._later: str | None = None
        self.chains: dict[str, ChainState] = {}
        """What was read, by the chain's name."""
        self.records = 0
        self.tampering = 0
        self.others = 0
        """Lines that were passed over, where records are mixed with others."""

    def read(self, line: Line) -> None:
        """Judge the next line."""
        if line.is_other:
            self.others += 1
            return
        self._last_line = line
        link = take_apart(line.octets)
        if link is None:
            self._gather(line)
            return
        if self._lump is not None:
            self._set_aside()
        self.records += 1
        self._expect(link)
        key = self._keys.find(link.key_id)
        if key is None:
            self.accuse(line.where, f"record {link.sequence} needs audit key {link.key_id}")
        self._place(link, line, key)
        self._is_first = False
        if self._later not in {None, link.chain}:
            self._later = None
            self.accuse(line.where, f"chain {link.chain} is in a file of another chain")

    def end_of_file(self) -> None:
        """Judge a line that the end of a file cuts."""
        line, lump = self._last_line, self._lump
        self._last_line, self._lump, self._is_first = None, None, True
        self._later = None
        if line is None or line.is_whole:
            self._lump = lump
            self._set_aside()
        elif lump is None:
            self._note(line.where, "the last line has no newline")
        elif lump.is_blank:
            self._note(
                lump.where, "the end is NUL octets: power was lost, as file systems leave it"
            )
        elif lump.start.startswith(PREFIX[: len(lump.start)]):
            self._note(lump.where, "the last line is torn: the writer was stopped in the middle")
        else:
            self.accuse(lump.where, "the end is no record, nor the beginning of one")

    def finish(self) -> None:
        """Judge what only the end can tell."""
        self._set_aside()
        for tear in self._tears:
            self._give_up(tear)
        for state in self.chains.values():
            if state.kind != controls.CLOSE:
                said = LATER if state.kind == controls.ROTATE else UNCLOSED
                self._note(state.where, said.format(state.name))
        for number in sorted(n for n, heads in self._missing.items() if heads):
            self.accuse("--expect", f"record {number} with the exported hash is not here")

    def _place(self, link: Link, line: Line, key: AuditKey | None) -> None:
        state = self.chains.get(link.chain)
        if state is None:
            state = ChainState(link.chain, link.sequence, START, "", line.where)
            self.chains[link.chain] = state
            self._begin(link, line, key)
        elif key is not None:
            self._continue(link, line, key, state)
        if link.sequence > state.head.sequence:
            state.head, state.kind, state.where = link.head, link.kind, line.where
        state.last = self.records
        state.records += 1

    def _begin(self, link: Link, line: Line, key: AuditKey | None) -> None:
        """Take up a chain, which must begin with the opening record of a run or a file."""
        if link.kind != controls.OPEN:
            said = f"chain {link.chain} begins at record {link.sequence} without an opening record"
            self.accuse(line.where, said)
            return
        previous = _previous(link)
        if key is None:
            return
        if (
            previous is None
            or link.sequence != previous.sequence + 1
            or not link.follows(previous.hash, key)
        ):
            self.accuse(line.where, f"record {link.sequence} is changed")
            return
        if previous != START:
            self._begin_later(link, line)
        self._explain(link, line.where)

    def _begin_later(self, link: Link, line: Line) -> None:
        """Take up a chain whose earlier files are not given; where it can, say they should be."""
        members = orjson.loads(link.signed)
        torn = members.get("torn", {"octets": -1})["octets"]
        if members.get("at", 0) > torn + 1:
            self.accuse(line.where, f"the records before {link.sequence} in its file are missing")
        elif not self._is_first:
            said = f"chain {link.chain} begins at record {link.sequence} in the middle of a file"
            self.accuse(line.where, said)
        else:
            self._later = link.chain
            said = f"chain {link.chain} begins at record {link.sequence}; earlier files not given"
            self._note(line.where, said)

    def _continue(self, link: Link, line: Line, key: AuditKey, state: ChainState) -> None:
        missed = _missed(link) if link.kind == controls.GAP else 0
        due = state.head.sequence + 1 + missed
        if link.sequence == due and link.follows(state.head.hash, key):
            if link.kind != "request":
                self._note_control(link, line, state)
        elif link.sequence <= state.head.sequence:
            said = f"record {link.sequence} comes after {state.head.sequence}: replayed or moved"
            self.accuse(line.where, said)
        elif link.sequence > due:
            self.accuse(line.where, f"records {due} to {link.sequence - 1} are missing")
        else:
            self.accuse(line.where, f"record {link.sequence} is changed")

    def _note_control(self, link: Link, line: Line, state: ChainState) -> None:
        self._explain(link, line.where)
        members = orjson.loads(link.signed)
        if link.kind == controls.GAP:
            span = f"{members['from']} to {members['to']}"
            said = f"a gap: records {span} were missed since {members['since']} ({members['why']})"
            self._note(line.where, said)
        elif link.kind == controls.OPEN and members["why"] == "start" and state.kind not in ENDS:
            said = f"chain {state.name} was not closed before record {link.sequence}: killed"
            self._note(line.where, said)

    def _explain(self, link: Link, where: str) -> None:
        """Let a record's word on a torn line explain it, if it is the chain's next record."""
        members = orjson.loads(link.signed)
        if members.get("version", 1) > controls.VERSION:
            self._note(where, NEWER.format(link.chain, members["version"], controls.VERSION))
        torn = members.get("torn")
        if torn is None:
            return
        for tear in self._tears:
            is_it = (tear.octets, tear.sha256) == (torn["octets"], torn["sha256"])
            if is_it and self.chains[link.chain].last <= tear.after:
                self._tears.remove(tear)
                self._note(tear.where, f"a torn line, told by record {link.sequence}")
                return
        if "elsewhere" not in torn:
            self.accuse(where, f"the torn line of which record {link.sequence} tells is missing")

    def _gather(self, line: Line) -> None:
        if self._lump is None:
            start = line.octets[: len(PREFIX)]
            self._lump = Lump(line.where, start, hashlib.sha256(), self.records)
        self._lump.add(line)

    def _set_aside(self) -> None:
        if self._lump is not None:
            self._tears.append(self._lump.tear)
            self._lump = None
        while len(self._tears) > PENDING:
            self._give_up(self._tears.pop(0))

    def _give_up(self, tear: Tear) -> None:
        """Judge what no record explained; among other lines, lone braces are another's."""
        if self._is_mixed and tear.longest < len(PREFIX):
            self.others += tear.lines
        else:
            self.accuse(tear.where, UNEXPLAINED)

    def _expect(self, link: Link) -> None:
        if link.sequence in self._missing:
            self._missing[link.sequence] -= forms(link)

    def accuse(self, where: str, what: str) -> None:
        """Tell of something that only tampering or damage explains."""
        self.tampering += 1
        self._tell(Finding(True, where, what))  # noqa: FBT003  # the record's first member

    def _note(self, where: str, what: str) -> None:
        self._tell(Finding(False, where, what))  # noqa: FBT003  # likewise


def _previous(link: Link) -> Head | None:
    """Return the head that an opening record continues; ``None`` if it makes no sense."""
    try:
        previous = orjson.loads(link.signed).get("previous")
        return START if previous is None else Head.parse(previous)
    except (ValueError, TypeError):
        return None


def _missed(link: Link) -> int:
    """Return how many records a gap stands for; 0 if it makes no sense."""
    try:
        members = orjson.loads(link.signed)
        missed = members["to"] - members["from"] + 1
    except (ValueError, TypeError, KeyError):
        return 0
    return missed if isinstance(missed, int) and members["to"] + 1 == link.sequence else 0
