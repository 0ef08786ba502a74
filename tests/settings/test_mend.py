from collections.abc import Iterator
from typing import Any

import pytest

from service.settings.mend import STAND_INS, mend
from service.settings.published import json_schema
from service.settings.shapes import SENTENCES

SCHEMA = json_schema()


def shapes() -> Iterator[dict[str, Any]]:
    """Yield every section's schema."""
    yield SCHEMA
    yield from (shape for shape in SCHEMA["$defs"].values() if shape.get("type") == "object")


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in the schema."""
    if isinstance(node, dict):
        yield node
    for inner in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from nodes(inner)


class TestTables:
    def test_every_required_key_has_a_stand_in(self) -> None:
        """Each required key but the word that tells shapes apart has a stand-in, and no other."""
        required = {key for shape in shapes() for key in shape.get("required", ())} - {"method"}
        assert required == set(STAND_INS) - {"path"}

    def test_every_pattern_has_its_sentence(self) -> None:
        """Each pattern that a text must match is told to people in words."""
        told = {node["pattern"] for node in nodes(SCHEMA) if "pattern" in node}
        assert told - set(SENTENCES) == {told for told in told if told.startswith("^[0-9]{4}")}


class TestMend:
    @pytest.mark.parametrize(
        "data", [{}, {"sites": 1}, {"sites": {"a": None, "b": 1}}, {"callers": [1, [], {}]}]
    )
    def test_anything_can_be_mended(self, data: dict[str, Any]) -> None:
        """However little there is, settings come of it that rules can judge."""
        assert mend(data).settings is not None

    def test_it_ends(self) -> None:
        """Where the rounds do not suffice there are faults and no settings."""
        mended = mend({"version": 2}, rounds=1)
        assert (None, True) == (mended.settings, bool(mended.faults))

    def test_places_stay(self) -> None:
        """A row keeps its number when a row before it is left out."""
        rows = [1, {"name": "a", "method": "magic"}, {"name": "m", "method": "mutual_tls"}]
        mended = mend({"authentication": rows})
        assert ("authentication", 2, "name") == mended.original(("authentication", 0, "name"))

    def test_what_is_known_is_not_news(self) -> None:
        """Nothing at, above or below a faulty place is news; its neighbour is."""
        mended = mend({"shutdown": {"delay": "x"}})
        known = [("shutdown",), ("shutdown", "delay"), ("shutdown", "delay", 1)]
        assert [False] * 3 == [mended.is_news(path) for path in known]
        assert mended.is_news(("shutdown", "drain"))

    def test_what_holds_a_fault_can_still_be_judged(self) -> None:
        """A section with a faulty value is open to judgement; one with an unknown key is not."""
        assert mend({"shutdown": {"delay": "x"}}).is_open(("shutdown",))
        assert not mend({"shutdown": {"dely": 1}}).is_open(("shutdown",))
