"""The methods that a request can have in what observes it: those of RFC 9110, and one word."""

from typing import Final

METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
OTHER: Final = "other"


def told(method: str) -> str:
    """Return what is told of a method: whoever asks cannot choose the word."""
    return method if method in METHODS else OTHER
