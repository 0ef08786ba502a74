"""Values of which each request makes some: frozen for the type checker, made as fast as plain ones.

``dataclass(frozen=True)`` calls ``object.__setattr__`` for each field: a hundred calls for one
release, which were 6 % of what it cost. What is made once, at the start or with
the configuration, is frozen at run time too; what a request makes is frozen where it is written.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

C = TypeVar("C")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value(*, kw_only: bool = True, eq: bool = True) -> Callable[[type[C]], type[C]]:
    """Return what makes a dataclass with slots that no checked code can change.

    With ``eq`` its values compare and hash by their fields, else by identity: that is for whatever
    holds a secret, which does neither.
    """
    return dataclass(slots=True, kw_only=kw_only, eq=eq, unsafe_hash=eq)
