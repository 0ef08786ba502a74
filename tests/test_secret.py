import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.secret import MASK, Secret

SENTINEL: Final = "sentinel-5f2c"
SHOWN: Final = Secret(SENTINEL)


@dataclass(frozen=True, slots=True, eq=False)
class Holder:
    """Something that holds a secret, as ours do."""

    secret: Secret[str]


class TestReveal:
    @given(st.text() | st.binary())
    def test_is_the_way_out(self, value: Any) -> None:
        """What was put in comes out."""
        assert value == Secret(value).reveal()


class TestShowing:
    @pytest.mark.parametrize(
        "show",
        [
            repr,
            str,
            "{}".format,
            "{:>20}".format,
            "{!r}".format,
            lambda value: "%s" % value,  # noqa: UP031  # the old way is a way too
            ascii,
            lambda value: repr(Holder(value)),
            lambda value: repr([value]),
            lambda value: repr({"secret": value}),
            lambda value: str(ValueError(value)),
            lambda value: "".join(map(str, dir(value))),
        ],
    )
    def test_shows_nothing(self, show: Callable[[Any], str]) -> None:
        """However it is printed, a secret is not in it."""
        assert SENTINEL not in show(SHOWN)

    def test_shows_that_it_is_one(self) -> None:
        """What is shown says that something is hidden."""
        assert MASK == f"{SHOWN}" == repr(SHOWN)


class TestRefusals:
    @pytest.mark.parametrize(
        "use",
        [
            lambda value: value == value,  # noqa: PLR0124  # equality is refused even with itself
            lambda value: value != SENTINEL,
            lambda value: [value].index(SENTINEL),
            hash,
            lambda value: {value},
            bool,
            lambda value: value and 1,
            pickle.dumps,
            copy.copy,
            copy.deepcopy,
            json.dumps,
            orjson.dumps,
            iter,
            lambda value: value + "x",
        ],
    )
    def test_what_could_leak_or_mislead(self, use: Callable[[Any], Any]) -> None:
        """A secret is not compared, hashed, copied, serialised or taken for true."""
        with pytest.raises(TypeError) as caught:
            use(SHOWN)
        assert SENTINEL not in str(caught.value)

    def test_may_be_counted(self) -> None:
        """How long it is can be asked: memory has to be counted."""
        assert len(SENTINEL) == len(SHOWN)

    def test_has_no_dictionary(self) -> None:
        """There is no ``__dict__`` that a dump of attributes would show."""
        with pytest.raises(TypeError):
            vars(SHOWN)


class TestMatches:
    @given(one=st.text(), other=st.text())
    def test_is_equality(self, one: str, other: str) -> None:
        """It matches what is equal, text beyond ASCII and half surrogates too."""
        assert (one == other) is Secret(one).matches(other)
        assert Secret(one).matches(one)

    def test_takes_octets(self) -> None:
        """Octets match octets."""
        assert Secret(b"\xff").matches(b"\xff")
        assert not Secret(b"\xff").matches(b"\xfe")

    def test_takes_half_a_surrogate_pair(self) -> None:
        """A text that is not Unicode does not make comparing fail."""
        assert Secret("\ud800").matches("\ud800")
