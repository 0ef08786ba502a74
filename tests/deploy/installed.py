"""Whether what is installed is what ships; ``python -m tests.deploy.installed`` says what not."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement

from deploy import chart

LOCK = chart.ROOT / "deploy/requirements.lock"


def locked() -> list[Requirement]:
    """Return the rows of the lock, without their hashes."""
    rows = re.findall(r"^([a-z0-9].*?) *\\?$", LOCK.read_text("utf-8"), re.MULTILINE)
    return list(map(Requirement, rows))


def differing() -> Iterator[str]:
    """Yield what is locked for this Python and platform, and is here otherwise or not at all."""
    for each in locked():
        if each.marker is not None and not each.marker.evaluate():
            continue
        try:
            here = version(each.name)
        except PackageNotFoundError:
            yield f"{each.name}: nothing is installed, {each.specifier} ships"
            continue
        if not each.specifier.contains(here):
            yield f"{each.name}: {here} is installed, {each.specifier} ships"


if __name__ == "__main__":
    told = list(differing())
    sys.stdout.writelines(f"{line}\n" for line in told)
    sys.exit(bool(told))
