"""What every test can ask for."""

from typing import Any

import pytest


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Async tests run on asyncio."""
    return "asyncio", {}
