import gzip
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from service.audit.chain import Head
from service.audit.controls import VERSION
from service.audit.files import File, FileRules
from service.audit.fingerprints import Keyring
from service.audit.orders import Gap, Order, Turn
from service.audit.reading import Unreadable, arranged
from service.audit.scribe import Scribe
from tests.audit.fakes import KEY, KEYS, OLD_KEY, surroundings
from tests.audit.memory_files import MemoryFiles
from tests.audit.streams import chained, source, verdict, verified

BODY = b'{"kind":"request","outcome":"denied","milliseconds":1.5}'
PATH = "/var/audit/a"


def real_log(seed: int) -> tuple[list[bytes], list[Head]]:
    """Return files with rotations, gaps, torn lines and restarts, and the first and last head."""
    dice = random.Random(seed)
    files, around = MemoryFiles(), replace(surroundings(), random=dice.randbytes)
    writer = Scribe(File(FileRules(path=PATH), files), around)
    first = writer.inscribe([]).head
    for _ in range(dice.randrange(3, 12)):
        bodies: list[Order] = [b'{"kind":"request","n":%d}' % n for n in range(dice.randrange(5))]
        event = dice.choice(["write", "write", "rotate", "full", "restart", "cut"])
        if event == "rotate":
            bodies.append(Turn("size"))
        if event == "full":
            files.room = dice.randrange(400)
        report = writer.inscribe(bodies)
        files.room = None
        if report.fault is not None:
            writer.inscribe([Gap(len(bodies) - report.landed, 0.0, report.fault)])
        text = files.files[PATH][1]
        if event == "cut" and len(text) > 500:
            del text[len(text) - dice.randrange(1, 60) :]
        if event in {"restart", "cut"}:
            writer = Scribe(File(FileRules(path=PATH), files), around)
    last = writer.inscribe([BODY, BODY]).head
    asides = sorted(name for name in files.files if name != PATH)
    return [files.text(name) for name in [*asides, PATH]], [first, last]


Mutation = Callable[[list[bytes], random.Random], list[bytes]]


def edit(lines: list[bytes], dice: random.Random) -> list[bytes]:
    """Change one octet of one line."""
    at = dice.randrange(len(lines))
    line = bytearray(lines[at])
    spot = dice.randrange(len(line))
    line[spot] = (line[spot] + dice.randrange(1, 255)) % 256
    return [*lines[:at], bytes(line), *lines[at + 1 :]]


def drop(lines: list[bytes], dice: random.Random) -> list[bytes]:
    """Take a run of lines out."""
    at = dice.randrange(len(lines))
    return lines[:at] + lines[at + dice.randrange(1, 4) :]


def swap(lines: list[bytes], dice: random.Random) -> list[bytes]:
    """Let two lines change places."""
    one, other = sorted(dice.sample(range(len(lines)), 2))
    changed = list(lines)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


def splice(lines: list[bytes], dice: random.Random) -> list[bytes]:
    """Put in lines of another genuine log."""
    files, _ = real_log(dice.randrange(10_000, 20_000))
    foreign = b"".join(files).splitlines(keepends=True)
    start = dice.randrange(1, len(foreign))
    at = dice.randrange(len(lines))
    return [*lines[:at], *foreign[start : start + dice.randrange(1, 5)], *lines[at:]]


def replay(lines: list[bytes], dice: random.Random) -> list[bytes]:
    """Put a run of lines in again somewhere later."""
    start = dice.randrange(len(lines))
    end = min(len(lines), start + dice.randrange(1, 4))
    at = dice.randrange(end, len(lines) + 1)
    return [*lines[:at], *lines[start:end], *lines[at:]]


def truncate(lines: list[bytes], dice: random.Random) -> list[bytes]:
    """Cut the end off, in a line or between two."""
    text = b"".join(lines)
    return text[: dice.randrange(len(text) - 1)].splitlines(keepends=True)


def insert(lines: list[bytes], dice: random.Random) -> list[bytes]:
    """Put in something that is no record."""
    at = dice.randrange(len(lines) + 1)
    junk = dice.choice([b"\n", b"{}\n", b"junk\n", b'{"seq":3}\n', b"\0\0\n"])
    return [*lines[:at], junk, *lines[at:]]


MUTATIONS: list[Mutation] = [edit, drop, swap, splice, replay, truncate, insert]


class TestMutations:
    @pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutation: mutation.__name__)
    def test_all_found(self, mutate: Mutation) -> None:
        """1,000 random changes of logs that were really written are all found (7 x 143)."""
        missed = [seed for seed in range(143) if not self.finds(mutate, seed)]
        assert [] == missed

    def finds(self, mutate: Mutation, seed: int, *, with_heads: bool = True) -> bool:
        dice = random.Random(seed)
        files, heads = real_log(seed)
        at = dice.randrange(len(files))
        lines = files[at].splitlines(keepends=True)
        if len(lines) < 2:
            at, lines = len(files) - 1, files[-1].splitlines(keepends=True)
        changed = b"".join(mutate(lines, dice))
        if changed == files[at]:
            return True
        files[at] = changed
        return verdict(*files, expect=heads if with_heads else []) == "TAMPERED"

    @pytest.mark.parametrize(
        "mutate", [edit, swap, splice, replay, insert], ids=lambda mutation: mutation.__name__
    )
    def test_found_without_heads(self, mutate: Mutation) -> None:
        """Only a tail that is cut needs an exported head to be seen; all else is found without."""
        missed = [seed for seed in range(143) if not self.finds(mutate, seed, with_heads=False)]
        assert [] == missed

    @pytest.mark.parametrize("seed", range(100))
    def test_no_false_alarm(self, seed: int) -> None:
        """100 rotated, gapped, torn and restarted logs are found intact."""
        files, heads = real_log(seed)
        _, findings = verified(*files, expect=heads)
        assert [] == [finding for finding in findings if finding.is_tampering]


class TestVerifier:
    def findings(self, *texts: bytes, keys: Keyring = KEYS) -> list[str]:
        return [finding.what for finding in verified(*texts, keys=keys)[1]]

    def text(self, count: int = 5) -> bytes:
        opening = b'{"kind":"open","why":"start","build":"1"}'
        return chained([opening, *[BODY] * (count - 2), b'{"kind":"close"}'])

    def test_intact(self) -> None:
        """A closed chain has nothing to tell."""
        assert [] == self.findings(self.text())

    def test_counts(self) -> None:
        """Records and heads are told for each chain."""
        verifier, _ = verified(self.text(5))
        state = verifier.chains["0" * 16]
        assert (5, 5, 1, 5) == (
            verifier.records,
            state.records,
            state.first,
            state.head.sequence,
        )

    def test_dropped(self) -> None:
        """Missing records are named by their numbers."""
        lines = self.text(9).splitlines(keepends=True)
        assert ["records 3 to 5 are missing"] == self.findings(b"".join(lines[:2] + lines[5:]))

    def test_changed(self) -> None:
        """A changed record is named, once."""
        text = self.text(9).replace(b"denied", b"danced", 1)
        assert ["record 2 is changed"] == self.findings(text)

    def test_replayed(self) -> None:
        """A record that comes again is named."""
        lines = self.text().splitlines(keepends=True)
        found = self.findings(b"".join([*lines[:3], lines[1], *lines[3:]]))
        assert ["record 2 comes after 3: replayed or moved"] == found

    def test_unclosed(self) -> None:
        """A chain without its closing record is told, and is no tampering."""
        text = b"".join(self.text().splitlines(keepends=True)[:-1])
        said = "chain 0000000000000000 is not closed: still written, killed, or cut"
        assert [said] == self.findings(text)

    def test_later_files_not_given(self) -> None:
        """A chain that ends where its file was put aside goes on elsewhere, and that is told."""
        files = MemoryFiles()
        writer = Scribe(File(FileRules(path=PATH), files), surroundings())
        writer.inscribe([BODY, Turn("size"), BODY])
        aside = next(name for name in files.files if name != PATH)
        said = "chain 0000000000000001 goes on in another file: later files not given"
        assert [said] == self.findings(files.text(aside))

    def test_torn_end(self) -> None:
        """A last line without its end is told, and is no tampering."""
        found = self.findings(self.text()[:-20])
        assert "the last line is torn: the writer was stopped in the middle" in found
        assert "intact" == verdict(self.text()[:-20])

    def test_no_newline(self) -> None:
        """A last record that lacks only its newline counts."""
        assert ["the last line has no newline"] == self.findings(self.text()[:-1])

    def test_end_that_is_no_record(self) -> None:
        """An end that never was the beginning of a record is not a torn line."""
        assert "TAMPERED" == verdict(self.text() + b"hello")

    def test_truncated_against_a_head(self) -> None:
        """What the file alone cannot show, an exported head does."""
        text = self.text()
        cut = b"".join(text.splitlines(keepends=True)[:-2])
        head = verified(text)[0].chains["0" * 16].head
        assert "intact" == verdict(cut)
        assert "TAMPERED" == verdict(cut, expect=[head])

    def test_head_without_its_key(self) -> None:
        """A head may be given without the id of the key."""
        head = verified(self.text())[0].chains["0" * 16].head
        bare = Head(head.sequence, head.hash.partition(":")[2])
        assert "intact" == verdict(self.text(), expect=[head, bare])

    def test_two_heads_of_one_number(self) -> None:
        """Two chains can have been exported with the same number; both are looked for."""
        one, other = self.text(), chained([b'{"kind":"open","why":"start"}'] * 5, "1" * 16)
        heads = [state.head for state in verified(one, other)[0].chains.values()]
        assert "intact" == verdict(one, other, expect=heads)
        assert "TAMPERED" == verdict(one, expect=heads)

    def test_newer_version(self) -> None:
        """Records of a version that this command does not know are told; they may mean more."""
        opening = b'{"kind":"open","version":%d,"why":"start"}'
        text = chained([opening % (VERSION + 1), b'{"kind":"close"}'])
        said = (
            f"chain {'0' * 16} has records of version {VERSION + 1}; this command knows {VERSION}"
        )
        assert [f"{said}: use a newer one"] == self.findings(text)
        assert [] == self.findings(chained([opening % VERSION, b'{"kind":"close"}']))

    def test_front_cut(self) -> None:
        """A chain that begins without its opening record has lost its front."""
        lines = self.text().splitlines(keepends=True)
        assert "TAMPERED" == verdict(b"".join(lines[1:]))

    def test_earlier_files_not_given(self) -> None:
        """A file whose opening continues another's head is told, and is no tampering."""
        files = MemoryFiles()
        writer = Scribe(File(FileRules(path=PATH), files), surroundings())
        writer.inscribe([BODY, Turn("size"), BODY])
        said = "chain 0000000000000001 begins at record 4; earlier files not given"
        assert said in self.findings(files.text(PATH))

    def test_other_key(self) -> None:
        """Records of a key that is not given cannot be vouched for."""
        found = self.findings(self.text(), keys=Keyring((OLD_KEY,)))
        assert f"record 1 needs audit key {KEY.id}" == found[0]

    def test_rotated_key(self) -> None:
        """A chain may change its key; all keys are given, in any order."""
        files, around = MemoryFiles(), surroundings()
        writer = Scribe(File(FileRules(path=PATH), files), around)
        writer.inscribe([BODY])
        around.keys.replace(Keyring((OLD_KEY, KEY)))
        writer.inscribe([BODY])
        found = self.findings(files.text(PATH), keys=Keyring((KEY, OLD_KEY)))
        assert ["chain 0000000000000001 is not closed: still written, killed, or cut"] == found

    def test_interleaved_chains(self) -> None:
        """Chains of several processes that a collector mixed are told apart."""
        one = self.text(6).splitlines(keepends=True)
        other = chained([b'{"kind":"open","why":"start"}', *[BODY] * 5], "1" * 16)
        both = [x for pair in zip(one, other.splitlines(keepends=True), strict=True) for x in pair]
        assert "intact" == verdict(b"".join(both))

    def test_forged_control_records(self) -> None:
        """Control records with senseless members are found, not stumbled over."""
        forged = [
            b'{"kind":"open","previous":7}',
            b'{"kind":"open","previous":"x"}',
            b'{"kind":"open","torn":3}',
            b'{"kind":"gap","from":"a","to":[]}',
            b'{"kind":"gap"}',
            b'{"kind":"checkpoint","torn":{}}',
        ]
        for body in forged:
            text = chained([body], keys=Keyring((OLD_KEY,)))
            text = text.replace(OLD_KEY.id.encode(), KEY.id.encode())
            assert "TAMPERED" == verdict(text)
            assert "TAMPERED" == verdict(self.text() + text.replace(b'"seq":1', b'"seq":6'))

    def test_two_chains_in_a_later_file(self) -> None:
        """A file that continues a chain holds that chain and no other."""
        files = MemoryFiles()
        writer = Scribe(File(FileRules(path=PATH), files), surroundings())
        writer.inscribe([BODY, Turn("size"), BODY])
        said = "chain 0000000000000000 is in a file of another chain"
        assert said in self.findings(files.text(PATH) + self.text())

    def test_much_junk(self) -> None:
        """However much junk there is, it is told, in constant memory."""
        record = self.text().splitlines(keepends=True)
        junk = b"".join(b"junk\n" + record[1] for _ in range(1200))
        found = self.findings(b"".join(record) + junk)
        assert 1200 == found.count("this is no record, and no failure explains it")

    def test_gap(self) -> None:
        """A gap is told with what it stands for."""
        files = MemoryFiles()
        writer = Scribe(File(FileRules(path=PATH), files), surroundings())
        writer.inscribe([BODY])
        writer.inscribe([Gap(3, 0.0, "late"), BODY])
        said = "a gap: records 3 to 5 were missed since 1970-01-01T00:00:00.000000Z (late)"
        assert said in self.findings(files.text(PATH))


class TestReading:
    def test_gzip(self) -> None:
        """Compressed files are read as they are, whatever their names."""
        text = chained([b'{"kind":"open","why":"start"}', BODY])
        lines = list(source(gzip.compress(text)).lines())
        assert text.splitlines() == [line.octets for line in lines]

    @pytest.mark.parametrize("cut", [5, 40])
    def test_damaged_gzip(self, cut: int) -> None:
        """Compressed data that is cut or damaged is told as that."""
        text = gzip.compress(chained([BODY] * 50))
        with pytest.raises(Unreadable, match="f: the compressed data is cut short"):
            list(source(text[:-cut]).lines())
        with pytest.raises(Unreadable, match="damaged"):
            list(source(text[:30] + bytes(30) + text[60:]).lines())

    def test_arranged(self) -> None:
        """A rotated set is read in the order of its chain, however it was named."""
        files, _ = real_log(2)
        assert len(files) > 1
        named = [source(text, str(number)) for number, text in enumerate(files)]
        assert list("0123456789"[: len(files)]) == [s.name for s in arranged(named[::-1])]

    def test_arranged_keeps_strangers(self) -> None:
        """Files that hold no record stay where they were named."""
        strangers = [source(b"x\n" * 100, "x"), source(b"", "y"), source(b"\x1f\x8b", "z")]
        assert strangers == arranged(strangers)

    def test_progress(self) -> None:
        """How far the reading is is told now and then."""
        told: list[tuple[int, int]] = []
        text = b"x\n" * 5000
        list(source(text).lines(lambda done, size: told.append((done, size))))
        assert [10_000] == [size for _, size in told]

    def test_long_lines(self) -> None:
        """A line without an end does not fill the memory."""
        lines = list(source(b"x" * 3_000_000).lines())
        assert [1 << 20, 1 << 20, 3_000_000 - (2 << 20)] == [len(line.octets) for line in lines]
