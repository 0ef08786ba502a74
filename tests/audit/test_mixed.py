import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Final

import pytest

from service.audit.findings import Finding
from service.audit.mixed import sift
from service.audit.orders import Gap
from service.audit.reading import LONGEST
from service.audit.scribe import Scribe
from service.audit.verification import Verifier
from tests.audit.fakes import KEYS, Paper, surroundings
from tests.audit.streams import chained, source

BODY: Final = b'{"kind":"request","outcome":"denied"}'
NOISE: Final = (
    b'{"event":"request","level":"info"}',
    b"Traceback (most recent call last):",
    b"",
    b"}",
    b"\xff\0",
    b"2026-01-31T08:00:00Z INFO ready",
)
BRACES: Final = (b"{", b'{"')
"""What may be another's line, or the torn beginning of a record."""


def text(records: int = 6) -> bytes:
    return chained([b'{"kind":"open","why":"start"}', *[BODY] * (records - 2), b'{"kind":"close"}'])


def read(mixed: bytes) -> tuple[Verifier, list[Finding]]:
    findings: list[Finding] = []
    verifier = Verifier(KEYS, [], findings.append, is_mixed=True)
    for line in replace(source(mixed), sift=sift).lines():
        verifier.read(line)
    verifier.end_of_file()
    verifier.finish()
    return verifier, findings


def accusations(mixed: bytes) -> list[str]:
    return [finding.what for finding in read(mixed)[1] if finding.is_tampering]


def among(
    lines: Sequence[bytes], dice: random.Random, noise: Sequence[bytes] = (*NOISE, *BRACES)
) -> bytes:
    """Put noise between whole lines, as a collector does that reads two outputs."""
    mixed = b""
    for line in lines:
        mixed += b"".join(dice.choice(noise) + b"\n" for _ in range(dice.randrange(3))) + line
    return mixed


def framed(lines: Sequence[bytes], *, size: int = 10**6, output: bytes = b"stdout") -> bytes:
    """Frame each line as a container runtime does that splits after ``size`` octets."""
    found, moment = b"", count()
    for line in lines:
        parts = list(_parts(line.rstrip(b"\n"), size))
        for part in parts:
            tag = b"F" if part is parts[-1] else b"P"
            time = b"2026-01-31T08:00:00.%09dZ" % next(moment)
            found += b"%b %b %b %b\n" % (time, output, tag, part)
    return found


def _parts(line: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(line), size):
        yield line[at : at + size]


class TestMixed:
    def test_other_lines(self) -> None:
        """Lines of the application's log between the records are passed over, and counted."""
        lines = text().splitlines(keepends=True)
        verifier, findings = read(
            b"starting\n" + lines[0] + b'{"event":"x"}\n' + b"".join(lines[1:])
        )
        assert ([], 6, 2) == (findings, verifier.records, verifier.others)

    def test_frames(self) -> None:
        """The frame of the container runtime is taken off; what the other output said is passed."""
        log = framed([b'{"event":"x"}'], output=b"stderr")
        verifier, findings = read(log + framed(text().splitlines()) + log)
        assert ([], 6, 2) == (findings, verifier.records, verifier.others)

    @pytest.mark.parametrize("size", [1, 7, 100])
    def test_parts(self, size: int) -> None:
        """A line that the runtime split is put together, whatever the other output said between."""
        lines = framed(text().splitlines(), size=size).splitlines(keepends=True)
        between = framed([b"half"], output=b"stderr").replace(b" F ", b" P ")
        assert ([], 6) == (accusations(between.join(lines)), read(between.join(lines))[0].records)

    def test_a_part_without_its_rest(self) -> None:
        """A line whose rest was not collected is torn, as one in a file is."""
        cut = framed(text().splitlines(), size=100).splitlines(keepends=True)[:-1]
        findings = [finding.what for finding in read(b"".join(cut))[1]]
        assert "the last line is torn: the writer was stopped in the middle" in findings

    def test_parts_without_end(self) -> None:
        """Parts without an end do not fill the memory."""
        part = b"2026-01-31T08:00:00Z stdout P " + b"x" * (LONGEST // 2) + b"\n"
        found = [len(line.octets) for line in sift(source(part * 10).lines())]
        assert [LONGEST] * 5 == found

    @pytest.mark.parametrize("seed", range(100))
    def test_no_false_alarm(self, seed: int) -> None:
        """A stream that was cut by failures, among other lines and framed or not, is intact."""
        dice, paper = random.Random(seed), Paper()
        writer = Scribe(paper, surroundings())
        for _ in range(8):
            paper.room = dice.choice([None, None, dice.randrange(200)])
            report = writer.inscribe([BODY])
            while report.fault is not None:
                paper.room = dice.choice([None, dice.randrange(100)])
                report = writer.inscribe([Gap(1, 0.0, report.fault)])
        lines = paper.octets.splitlines(keepends=True)
        mixed = among(lines, dice, NOISE)
        assert [] == accusations(mixed)
        assert [] == accusations(framed(mixed.splitlines(), size=dice.choice([9, 999])))

    @pytest.mark.parametrize("seed", range(20))
    def test_braces(self, seed: int) -> None:
        """A line that could be a torn record's first octets, and is another's, accuses nobody."""
        mixed = among(text().splitlines(keepends=True), random.Random(seed))
        verifier, findings = read(mixed)
        assert ([], len(mixed.splitlines()) - 6) == (findings, verifier.others)

    @pytest.mark.parametrize("seed", range(200))
    def test_hides_no_edit(self, seed: int) -> None:
        """An edit of a record, be it of how it begins, shows in the ones behind it."""
        dice, lines = random.Random(seed), text(8).splitlines(keepends=True)
        at = dice.randrange(len(lines) - 1)  # without a head nothing shows that the last is missing
        line = bytearray(lines[at])
        spot = dice.randrange(dice.choice([8, len(line)]))
        line[spot] = (line[spot] + dice.randrange(1, 255)) % 256
        edited = [*lines[:at], bytes(line), *lines[at + 1 :]]
        assert [] != accusations(among(edited, dice))
        assert [] != accusations(framed(b"".join(edited).splitlines()))

    def test_without_being_asked(self) -> None:
        """Where nobody said that lines are mixed, a line that is no record accuses somebody."""
        lines = text().splitlines(keepends=True)
        verifier = Verifier(KEYS, [], lambda _: None)
        for line in source(b"".join([lines[0], b"{\n", *lines[1:]])).lines():
            verifier.read(line)
        verifier.finish()
        assert 1 == verifier.tampering
