"""The chart through the real Helm engine: what is rendered for values, as objects."""

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from deploy import chart

SHAPES: Final = sorted((chart.CHART / "ci").glob("*.yaml"))
"""Values of the common shapes."""

POD_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "Deployment": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}


def values(shape: str, **changes: Any) -> dict[str, Any]:
    """Return the values of a shape of ``ci/``; ``a__b=c`` sets ``b`` of ``a``, ... takes it out."""
    read = yaml.safe_load((chart.CHART / f"ci/{shape}-values.yaml").read_text("utf-8"))
    found: dict[str, Any] = copy.deepcopy(read)
    for path, value in changes.items():
        *above, last = path.split("__")
        place = found
        for key in above:
            place = place.setdefault(key, {})
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return found


def objects(shape: str, **changes: Any) -> list[dict[str, Any]]:
    """Return every object that is rendered."""
    return list(each_object(_rendered(json.dumps(values(shape, **changes)))))


@cache
def _rendered(text: str) -> Mapping[str, str]:
    return chart.render(json.loads(text))


def each_object(rendered: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield every object of what is rendered."""
    for place, text in rendered.items():
        if place.endswith(".yaml"):
            yield from (each for each in yaml.safe_load_all(text) if each)


def one(found: list[dict[str, Any]], kind: str, name: str = chart.NAME) -> dict[str, Any]:
    """Return the object of a kind and name."""
    (only,) = (o for o in found if o["kind"] == kind and o["metadata"]["name"] == name)
    return only


def pods(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every pod, or the template of one."""
    for each in found:
        if each["kind"] in POD_PLACES:
            pod = each
            for key in POD_PLACES[each["kind"]]:
                pod = pod[key]
            yield pod


def notes(shape: str, **changes: Any) -> str:
    """Return what the installation says."""
    rendered = _rendered(json.dumps(values(shape, **changes)))
    return rendered[f"{chart.NAME}/templates/NOTES.txt"]


def name_of(path: Path) -> str:
    """Return a shape's name."""
    return path.name.removesuffix("-values.yaml")
