from pathlib import Path
from typing import Final

import pytest

from tests.benchmark.counts import counted, told

BOUNDS: Final = {"product": 650, "product-cache": 280}
"""Calls a request. It took 604 and 252 with CPython 3.11."""


class TestCounts:
    @pytest.mark.parametrize("form", BOUNDS)
    def test_a_release_takes_no_more_calls_than_it_did(self, form: str, tmp_path: Path) -> None:
        """A change that makes each request dearer is seen on any machine, however busy."""
        counts = counted(form, tmp_path, requests=500)
        calls = sum(counts.values())
        assert calls > BOUNDS[form] / 2, "what is counted is the request"
        assert calls < BOUNDS[form], f"\n{told(counts)}"

    def test_are_told_by_file_with_the_most_first(self) -> None:
        """A table has the sum and the files, by their places in the project or the library."""
        table = told({"/x/service/a.py": 1.0, "/y/lib/python3.13/json/decoder.py": 2.25}, rows=2)
        assert ["3.2", "calls", "a", "request,", "of", "which"] == table.splitlines()[0].split()
        assert ["2.2", "json/decoder.py"] == table.splitlines()[1].split()
        assert ["1.0", "service/a.py"] == table.splitlines()[2].split()
