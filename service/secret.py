"""A value that can be used but not shown by accident."""

import hmac
from typing import Final, Generic, NoReturn, TypeVar

T = TypeVar("T", str, bytes)

MASK: Final = "Secret(***)"


class Secret(Generic[T]):
    """Holds a value; ``reveal`` is the only way out, and it can be grepped for."""

    __slots__ = ("_value", "alias")
    __hash__ = None  # type: ignore[assignment]  # a secret is never a dictionary's key

    def __init__(self, value: T) -> None:
        self._value: T = value
        self.alias: tuple[object, str] | None = None
        """Who calls it what, where it must not be told: a kept secret is spoken of again."""

    def reveal(self) -> T:
        """Return the value itself; every call of this is one of the named doors out."""
        return self._value

    def matches(self, other: T) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(_octets(self._value), _octets(other))

    def __len__(self) -> int:
        """Return how long the value is, which is all that may be counted of it."""
        return len(self._value)

    def __bool__(self) -> NoReturn:
        raise TypeError("ask whether a secret is None, not whether it is true")

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("compare secrets with matches()")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


def _octets(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
