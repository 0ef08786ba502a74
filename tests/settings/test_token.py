import argparse
import hashlib
import re
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cli import token
from service.settings.document import read
from tests.settings.samples import GOOD, loaded, spoiled

NOW = datetime(2026, 6, 1, 12, 30, 15, 999, tzinfo=UTC)


def arguments(*words: str) -> argparse.Namespace:
    """Return what the command line holds."""
    parser = argparse.ArgumentParser()
    token.add_parser(parser.add_subparsers())
    return parser.parse_args(["token", "new", *words])


class TestNew:
    def test_the_token_stands_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The token alone is on standard output; its row on standard error holds its digest."""
        args = arguments("--name", "crm", "--expires", "90d")
        assert 0 == token.run(args, random=bytes, now=NOW)
        told = capsys.readouterr()
        secret = told.out.removesuffix("\n")
        digest = hashlib.sha256(secret.encode()).hexdigest()
        row = f"- {{subject: 'crm', sha256: '{digest}', expires: 2026-08-30T12:30:15Z}}\n"
        assert (row, True) == (told.err, token.is_token(secret))

    def test_two_tokens_differ(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Each call draws 256 bits of its own."""
        for _ in range(2):
            args = arguments("--name", "crm", "--expires", "12h")
            assert 0 == args.run(args)
        one, other = capsys.readouterr().out.split()
        assert one != other

    def test_the_row_fits_the_configuration(self) -> None:
        """The row can be pasted under `tokens` whatever the subject is."""
        row = token.row("t", "it's: {a} #1", NOW)
        old = GOOD[GOOD.index("      - subject: crm\n") : GOOD.index("  - name: cluster\n")]
        text = spoiled((old, f"      {row}\n"), ("subject: crm}", 'subject: "it\'s: {a} #1"}'))
        assert "it's: {a} #1" == loaded(text).settings.authentication[0].tokens[0].subject  # type: ignore[union-attr]  # static

    @pytest.mark.parametrize(
        ("written", "meant"),
        [("90d", timedelta(days=90)), ("12h", timedelta(hours=12)), ("52w", timedelta(weeks=52))],
    )
    def test_life(self, written: str, meant: timedelta) -> None:
        """A token's life is told in hours, days or weeks."""
        assert meant == token.life(written)

    @pytest.mark.parametrize("written", ["", "90", "d", "0d", "-1d", "1y", "9999d", "1.5d", "90 d"])
    def test_no_life(self, written: str) -> None:
        """Every token expires, in two years at the latest."""
        with pytest.raises(argparse.ArgumentTypeError):
            token.life(written)

    @pytest.mark.parametrize("written", ["", " crm", "a\nb"])
    def test_no_subject(self, written: str) -> None:
        """A subject is one line of text."""
        with pytest.raises(argparse.ArgumentTypeError):
            token.subject(written)


class TestShape:
    @given(st.binary(min_size=32, max_size=32))
    def test_scanners_can_tell(self, octets: bytes) -> None:
        """A token has the fixed prefix and length, and its last six characters check the rest."""
        made = token.new_token(octets)
        assert re.fullmatch(r"gigyaproxy_[0-9A-Za-z]{49}", made)
        assert token.is_token(made)

    @given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
    def test_octets_are_kept(self, one: bytes, other: bytes) -> None:
        """Different random octets give different tokens."""
        assert (one == other) is (token.new_token(one) == token.new_token(other))

    @given(st.binary(min_size=32, max_size=32), st.integers(11, 59), st.sampled_from("0Az"))
    def test_a_slip_is_seen(self, octets: bytes, at: int, char: str) -> None:
        """One changed character is always noticed (a CRC finds every burst within 32 bits)."""
        made = token.new_token(octets)
        changed = made[:at] + char + made[at + 1 :]
        assert (changed == made) is token.is_token(changed)

    def test_the_checksum_is_documented(self) -> None:
        """The checksum is the CRC-32 of all before it, in base 62 with digits before letters."""
        made = token.new_token(bytes(32))
        assert f"gigyaproxy_{'0' * 43}" == made[:-6]
        number = 0
        for char in made[-6:]:
            number = number * 62 + token._ALPHABET.index(char)
        assert zlib.crc32(made[:-6].encode()) == number

    def test_yaml_reads_the_digest_as_text(self) -> None:
        """A digest of digits alone stays text: the row quotes it."""
        assert "'" in token.row("t", "crm", NOW)
        assert isinstance(read(f"x:\n  {token.row('t', 'crm', NOW)}\n").data["x"][0]["sha256"], str)
