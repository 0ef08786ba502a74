"""An event loop whose time jumps to the next thing that is due, so that an hour takes no time.

A test class asks for it with::

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

It is for code that waits on timers and futures only: real sockets do not see virtual time.
"""

import asyncio
import selectors
from typing import Any, Final

from service.deadline import Clock

EPOCH: Final = 1_800_000_000.0


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping, moves the loop's clock on by as much as it would have slept."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing is due: every task waits for something that never comes")
        if not ready and timeout:
            self.loop.offset += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that starts at 0 seconds and never sleeps."""

    def __init__(self) -> None:
        self.offset = 0.0
        selector = _JumpingSelector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self.offset


VIRTUAL: Final[tuple[str, dict[str, Any]]] = ("asyncio", {"loop_factory": VirtualLoop})


def virtual_clock(epoch: float = EPOCH) -> Clock:
    """Return a clock that reads the running loop; wall time begins at ``epoch`` (UNIX seconds)."""
    loop = asyncio.get_running_loop()
    return Clock(wall=lambda: epoch + loop.time(), monotonic=loop.time)
