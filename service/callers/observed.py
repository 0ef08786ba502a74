"""What this package lets others count; nothing here can fail a request."""

from collections.abc import Callable
from enum import StrEnum


class Event(StrEnum):
    """What happened behind an authentication of that name."""

    TOKEN_VERIFIED = "token-verified"  # noqa: S105  # an event
    TOKEN_REMEMBERED = "token-remembered"  # noqa: S105  # an event
    KEYS_REPLACED = "keys-replaced"
    KEYS_UNCHANGED = "keys-unchanged"
    KEYS_FAILED = "keys-failed"
    REVIEW_ANSWERED = "review-answered"
    REVIEW_REMEMBERED = "review-remembered"
    REVIEW_FAILED = "review-failed"


Observe = Callable[[str, Event, str], None]
"""Takes the authentication's name, the event and a detail in our own words (or empty)."""


def unobserved(_name: str, _event: Event, _detail: str) -> None:
    """Count nothing."""
