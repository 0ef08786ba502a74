"""The simulator as each test finds it."""

import pytest

from tests.simulator.asking import Asking


@pytest.fixture
def asking() -> Asking:
    """Return a customer of a fresh world."""
    return Asking()
