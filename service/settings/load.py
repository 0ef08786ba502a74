"""Text and a file reader to settings, or to everything that is wrong with them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.secret import Secret
from service.settings.findings import Advice
from service.settings.schema import Settings

ReadFile = Callable[[str], bytes]
"""Returns a file's octets; raises ``OSError``."""

Materials = Mapping[str, Secret[bytes]]
"""What the named files held, by path, as they were when they were checked."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A configuration without faults; ``materials`` is empty where no files were read."""

    settings: Settings
    materials: Materials = field(repr=False)
    advice: tuple[Advice, ...] = ()


def load(text: str | bytes, *, read_file: ReadFile | None, now: datetime) -> Loaded:
    """Return the configuration in ``text`` (YAML in UTF-8); raises ``Faults`` with every fault.

    ``read_file`` reads the files that it names, ``None`` leaves them alone. ``now`` is an aware
    time, by which certificates and tokens are judged expired.
    """
    raise NotImplementedError
