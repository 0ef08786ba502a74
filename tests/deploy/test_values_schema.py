"""The schema of the values refuses all that it was written to refuse, and tells where it is."""

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy import chart
from tests.deploy.spoiling import Place, Spoiled, pointer, spoil

pytestmark = pytest.mark.needs_tools

COMPLETE: Final = yaml.safe_load(Path(__file__).with_name("complete.yaml").read_text("utf-8"))
SCHEMA: Final = yaml.safe_load((chart.ROOT / "deploy/chart-values.yaml").read_text("utf-8"))
# The whole is a mapping with a `config` whatever is given, as values.yaml has one.
WHOLE: Final = {k: v for k, v in SCHEMA.items() if k not in {"$defs", "type", "required"}}
POINTS: Final = list(spoil(WHOLE, SCHEMA["$defs"], COMPLETE))

Validate = Callable[[Any], list[str]]


@pytest.fixture(scope="module")
def validate() -> Iterator[Validate]:
    """Return what tells where Helm's engine finds faults in values."""
    helm: Any = import_module("helm_python")
    with helm.Chart.load(str(chart.CHART)) as loaded:

        def told(values: Any) -> list[str]:
            try:
                loaded.validate_schema(values)
            except helm.HelmError as error:
                return re.findall(r"- at '([^']*)'", str(error))
            return []

        yield told


def replaced(values: Any, place: Place, value: Any) -> Any:
    """Return ``values`` with another value at a place."""
    if not place:
        return value
    key, *below = place
    made = values.copy()
    made[key] = replaced(values[key], tuple(below), value)
    return made


class TestSchema:
    def test_takes_everything_that_it_knows(self, validate: Validate) -> None:
        """Values that set everything are good, so that what follows is about one fault each."""
        assert [] == validate(COMPLETE)

    @pytest.mark.parametrize("point", POINTS, ids=str)
    def test_refuses(self, point: Spoiled, validate: Validate) -> None:
        """Each constraint of each place is told at that place."""
        assert pointer(point.told) in validate(replaced(COMPLETE, point.place, point.value))
