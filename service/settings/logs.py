"""What the process says on standard error."""

from typing import Literal

from service.settings.shapes import Section


class Logging(Section):
    """Level and form of log lines."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written; reloaded while running."""
    format: Literal["auto", "json", "console"] = "auto"
    """auto: colours on a terminal, JSON elsewhere."""
