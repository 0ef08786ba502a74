"""The service, counting its calls between SIGUSR1 and SIGUSR2: ``counts`` starts it.

``python -m tests.benchmark.counting FILE serve ...`` writes to FILE how many calls, of functions of
Python and of C, the functions of each file made in the event loop's thread.
"""

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Final

from service.__main__ import main

THE_LOOP: Final = "the event loop"
"""What calls where no function of Python does."""


def count_into(made: Counter[str], file: Path) -> None:
    """Have SIGUSR1 begin to count, and SIGUSR2 end it and write what was ``made``."""

    def seen(frame: FrameType, event: str, _: Any) -> None:
        if event == "c_call":
            made[frame.f_code.co_filename] += 1
        elif event == "call":
            made[THE_LOOP if frame.f_back is None else frame.f_back.f_code.co_filename] += 1

    def begin(_: int, __: FrameType | None) -> None:
        sys.setprofile(seen)

    def end(_: int, __: FrameType | None) -> None:
        sys.setprofile(None)
        file.write_text(json.dumps(made))

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)


if __name__ == "__main__":
    count_into(Counter(), Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
