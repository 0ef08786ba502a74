import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.settings.document import DEEPEST, LARGEST, read
from service.settings.findings import Faults


def data_of(text: str | bytes) -> object:
    """Return the plain data under ``x``."""
    return read(text).data["x"]


class TestScalars:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("", None),
            ("~", None),
            ("null", None),
            ("true", True),
            ("False", False),
            ("yes", "yes"),
            ("off", "off"),
            ("0", 0),
            ("-12", -12),
            ("010", "010"),
            ("0o17", "0o17"),
            ("0x1F", "0x1F"),
            ("1_000", "1_000"),
            ("3_1", "3_1"),
            ("1:30", "1:30"),
            ("1.5", 1.5),
            ("1e3", 1000.0),
            ("1e400", "1e400"),
            (".inf", ".inf"),
            (".nan", ".nan"),
            ("2027-01-31", "2027-01-31"),
            ("2027-01-31T00:00:00Z", "2027-01-31T00:00:00Z"),
            ("'1'", "1"),
            ('"true"', "true"),
            ("9" * 30, "9" * 30),
            ("=", "="),
            ("|\n  a\n  b\n", "a\nb\n"),
        ],
    )
    def test_text_is_typed_by_yaml_1_2(self, written: str, meant: object) -> None:
        """Only what YAML 1.2's core schema types, without its rarities, is not text."""
        assert (type(meant), meant) == (type(data_of(f"x: {written}")), data_of(f"x: {written}"))


class TestForm:
    def test_octets_must_be_utf_8(self) -> None:
        """Text in another encoding is refused."""
        with pytest.raises(Faults, match=r"^configuration: is not UTF-8$"):
            read(b"x: \xff")

    def test_half_a_surrogate_is_not_text(self) -> None:
        """Half a surrogate pair is refused like any text that is not UTF-8."""
        with pytest.raises(Faults, match=r"^configuration: is not UTF-8$"):
            read("x: \ud800")

    def test_size_is_capped(self) -> None:
        """What no ConfigMap could hold is not even looked at."""
        with pytest.raises(Faults, match=rf"^configuration: is larger than {LARGEST} octets$"):
            read("x: " + "y" * LARGEST)

    def test_laughs_stay_few(self) -> None:
        """Aliases are refused where they stand and never followed."""
        bomb = "a: &a [x]\n" + "".join(f"b{n}: [*a, *a]\n" for n in range(5))
        assert 1 + 10 == len(read(bomb).faults)

    def test_depth_is_capped(self) -> None:
        """Nesting ends at a depth that no section needs."""
        read("x: " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))
        with pytest.raises(Faults, match="line 1: is nested too deeply"):
            read("x: " + "[" * 100_000)

    def test_every_duplicate_is_told(self) -> None:
        """Each key that stands again is told with its path and line."""
        found = read("x: {a: 1, a: 2}\ny: [{b: 1}, {b: 1,\n  b: 2, b: 3}]\nx: 1\n").faults
        assert [
            (("x", "a"), 1),
            (("y", 1, "b"), 3),
            (("y", 1, "b"), 3),
            (("x",), 4),
        ] == [(fault.path, fault.line) for fault in found]

    def test_keys_are_text(self) -> None:
        """A key is the text that stands there, whatever it looks like."""
        assert {"1": 1, "true": 2, "~": 3} == read("1: 1\ntrue: 2\n~: 3\n").data

    @pytest.mark.parametrize("key", ["!t x", "&a x"])
    def test_keys_are_plain(self, key: str) -> None:
        """A key with a tag or an anchor is a fault."""
        assert ["x: has a tag or an anchor"] == list(map(str, read(f"{key}: 1").faults))

    def test_an_alias_is_no_key(self) -> None:
        """An alias cannot stand for a key."""
        with pytest.raises(Faults, match="line 2: has a key that is not text"):
            read("x: &a 1\n*a : 2\n")

    @settings(max_examples=150, deadline=None)
    @given(st.text(alphabet="ab:-{}[]#&*!|>'\"%@`,? \n\t\\\u0085\ufeff~", max_size=40))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        """Whatever the text: plain data in a mapping, or faults."""
        try:
            data = read(text).data
        except Faults:
            data = {}
        assert isinstance(data, dict)
