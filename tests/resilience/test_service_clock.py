"""The clock on which overload is measured."""

import os
import subprocess
import sys
import time

import pytest

from tests.resilience.service_clock import ServiceClock


class TestServiceClock:
    def test_runs_while_the_process_waits_for_something(self) -> None:
        """Who sleeps has the whole time to answer for."""
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
            time.sleep(0.2)
            clock = ServiceClock(process.pid)
            before, began = clock.now(), time.monotonic()
            time.sleep(0.2)
            passed, took = clock.now() - before, time.monotonic() - began
            clock.close()
            process.kill()

        assert pytest.approx(took, abs=0.05) == passed

    @pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="no schedstat")  # noqa: PTH110
    def test_stands_still_while_there_is_no_core(self) -> None:
        """Of two that want the same core all the time each has half of it, and of the time."""
        core = min(os.sched_getaffinity(0))
        work = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
        command = [sys.executable, "-c", work]
        one, other = (subprocess.Popen(command) for _ in range(2))  # noqa: S603  # our own
        with one, other:
            time.sleep(0.5)
            clock = ServiceClock(one.pid)
            before, began = clock.now(), time.monotonic()
            time.sleep(1)
            passed, took = clock.now() - before, time.monotonic() - began
            clock.close()
            for process in (one, other):
                process.kill()

        assert 0.02 * took < passed < 0.8 * took
