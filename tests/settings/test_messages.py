from datetime import date

import pytest
from pydantic import ValidationError

from service.settings.messages import _at, faults_of, suggestion
from service.settings.shapes import Section


class Diary(Section):
    """A shape of its own."""

    day: date


class TestFaultsOf:
    def test_an_unknown_type_of_error_is_told_all_the_same(self) -> None:
        """An error that this table does not know still names its place, and quotes nothing."""
        with pytest.raises(ValidationError) as caught:
            Diary.model_validate({"day": "sesame"})
        told = list(map(str, faults_of(caught.value, {"day": "sesame"}, Diary)))
        assert ["day: is not what it must be"] == told

    def test_a_place_that_is_not_there_holds_nothing(self) -> None:
        """A place that the data does not have is no reason to fail."""
        assert [None, None, None] == [_at({"a": [1]}, p) for p in [("b",), ("a", 1), ("a", 0, "c")]]


class TestSuggestion:
    @pytest.mark.parametrize(
        ("given", "told"),
        [("cluser", "; did you mean cluster?"), ("cluster", "; did you mean cluster?"), ("x", "")],
    )
    def test_only_what_is_close_is_suggested(self, given: str, told: str) -> None:
        """The closest known word is suggested, and nothing where none is close."""
        assert told == suggestion(given, {"cluster", "tokens"})
