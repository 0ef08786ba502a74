"""What observes never fails what it observes."""

import functools
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


def quietly(observe: Callable[P, None]) -> Callable[P, None]:
    """Return ``observe`` so that it cannot fail what it observes."""

    @functools.wraps(observe)
    def observed(*args: P.args, **kwargs: P.kwargs) -> None:
        try:  # a context manager would cost more than most of what is observed
            observe(*args, **kwargs)
        except Exception:  # noqa: BLE001  # what observes never fails what it observes
            return

    return observed
