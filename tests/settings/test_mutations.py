"""Whatever is done to a good configuration, it loads or tells faults that quote nothing."""

import copy
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from service.settings.document import read
from service.settings.findings import Faults, Path
from service.settings.mend import mend
from service.settings.published import json_schema
from tests.settings.samples import GOOD, loaded

SENTINEL = "sEsAmE0/wIlL+nEvEr=="
DATA = read(GOOD).data
VALIDATOR = Draft202012Validator(json_schema())


def places(node: Any, path: Path = ()) -> Iterator[Path]:
    """Yield every place below the root."""
    members = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in members:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


PLACES = list(places(DATA))

VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 10**12, 0.5, "", "all", "*", [], {}, [None]]),
    st.sampled_from(
        [
            SENTINEL,
            f"https://me:{SENTINEL}@host",
            [SENTINEL],
            {SENTINEL: SENTINEL},
            [[SENTINEL]],
            f"3_{SENTINEL}",
            f"{SENTINEL}*",
        ]
    ),
)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """Return the good configuration with one to four places changed, renamed or left out."""
    data: dict[str, Any] = copy.deepcopy(DATA)
    for path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=4)):
        value, how = draw(VALUES), draw(st.sampled_from(["change", "rename", "drop"]))
        change(data, path, how, value)
    return data


def change(data: Any, path: Path, how: str, value: Any) -> None:
    """Make one change, if the place is still there."""
    *above, last = path
    for key in above:
        data = data[key] if _holds(data, key) else None
    if not _holds(data, last):
        return
    old, data[last] = data[last], copy.deepcopy(value)
    if isinstance(data, dict) and how != "change":
        del data[last]
    if isinstance(data, dict) and how == "rename":
        data[SENTINEL] = old


def _holds(node: Any, key: str | int) -> bool:
    if isinstance(node, list):
        return isinstance(key, int) and key < len(node)
    return isinstance(node, dict) and key in node


class TestMutations:
    @settings(max_examples=20, deadline=None)
    @given(mutated())
    def test_it_loads_or_tells_faults_that_quote_nothing(self, data: dict[str, Any]) -> None:
        """No fault and no advice holds anything of a value, wherever a secret was pasted."""
        told: list[object] = []
        try:
            told += loaded(yaml.safe_dump(data, sort_keys=False)).advice
        except Faults as error:
            told += [error, *error.faults, *error.advice]
        said = " ".join(f"{each} {each!r}" for each in told)
        assert SENTINEL[:8] not in said
        assert "is not what it must be" not in said

    @settings(max_examples=100, deadline=None)
    @given(mutated())
    def test_the_published_schema_agrees(self, data: dict[str, Any]) -> None:
        """The schema takes whatever our shapes take, and refuses what they refuse.

        What only it refuses are the rules that it can tell: exactly one of several keys.
        """
        is_valid, faults = VALIDATOR.is_valid(data), mend(copy.deepcopy(data)).faults
        if is_valid:
            assert [] == faults
        elif not faults:
            failed = {str(error.validator) for error in VALIDATOR.iter_errors(data)}
            assert failed <= {"oneOf", "anyOf", "required", "type"}

    @settings(max_examples=25, deadline=None)
    @given(
        st.integers(0, len(GOOD) - 1),
        st.integers(0, 12),
        st.sampled_from(["", "\t", "\0", " ", "\n", ":", "- ", "&a ", "*a", "{", "]", '"', "é"]),
    )
    def test_any_slip_of_the_pen_is_survived(self, at: int, width: int, text: str) -> None:
        """Text cut out or put in anywhere gives settings or faults, and nothing else."""
        try:
            assert loaded(GOOD[:at] + text + GOOD[at + width :]).settings.version == 1
        except Faults as error:
            told = error.faults
        else:
            told = ()
        assert all(fault.message for fault in told)
