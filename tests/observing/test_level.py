import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.logs import Log
from tests.house import House


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Return the root logger; it is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


class TestLevelWhileRunning:
    async def test_follows_the_configuration(self, tmp_path: Path) -> None:
        """``logging.level`` of the watched file holds from the next look on, back and forth."""
        house = House(tmp_path)
        lines = []
        async with house.open() as visitor:
            for level in ("error", "info"):
                house.settings["logging"] = {"level": level, "format": "json"}
                house.write_configuration()
                await visitor.look()
                await visitor.ask()
                lines.append(len(house.lines()))

        assert [0, 1] == lines
        assert ["info"] == [line["to"] for line in house.lines("log-level")]

    async def test_form_needs_a_restart(self, tmp_path: Path) -> None:
        """Another form cannot be taken while running, and says so."""
        house = House(tmp_path)
        async with house.open() as visitor:
            house.settings["logging"] = {"level": "debug", "format": "console"}
            house.write_configuration()
            await visitor.look()

        [line] = house.lines("reload")
        assert ("restart-required", "configuration") == (line["outcome"], line["name"])
        assert "logging.format" in line["detail"]

    def test_libraries_follow(self, root: logging.Logger) -> None:
        """What libraries say is as loud as the rest, but never louder than warnings."""
        log = Log(io.StringIO(), level="error", form="json")
        log.take_over()

        levels = []
        for level in ("error", "debug"):
            log.set_level(level)
            levels.append(root.level)

        assert [logging.ERROR, logging.WARNING] == levels
