"""The mutations and lives of the tests, many more of them: ``python -m tests.audit.longer``.

It prints what was not found and what was accused wrongly, if anything, and exits 1 then.
"""

import sys
from collections.abc import Iterator

from tests.audit.streams import verified
from tests.audit.test_lives import Life
from tests.audit.test_verification import MUTATIONS, TestMutations, real_log

MUTATED = 2_000
"""Logs that each of the mutations changes."""
CLEAN = 2_000
LIVES = 10_000


def failures() -> Iterator[str]:
    """Yield what should not be."""
    tests = TestMutations()
    for mutate in MUTATIONS:
        for seed in range(MUTATED):
            if not tests.finds(mutate, seed):
                yield f"{mutate.__name__} {seed} was not found"
    for seed in range(CLEAN):
        files, heads = real_log(seed)
        if verified(*files, expect=heads)[0].tampering:
            yield f"log {seed} was accused"
    for seed in range(LIVES):
        if Life(seed).live():
            yield f"life {seed} was accused"


def main() -> int:
    """Run all of it."""
    found = 0
    for failure in failures():
        found += 1
        sys.stdout.write(f"{failure}\n")
    tried = f"{len(MUTATIONS) * MUTATED} mutations, {CLEAN} logs, {LIVES} lives"
    sys.stdout.write(f"{tried}: {found} failures\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
