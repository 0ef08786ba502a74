"""What can be made to go wrong, for whom, and how many times."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Final

from service.simulator.expiries import ExpiryForm
from service.simulator.signing import ProviderUidForm


class Wire(StrEnum):
    """Failures below HTTP; in process there is no wire, so that all but two raise (app.py)."""

    CLOSE = "close"  # closes instead of answering
    RESET = "reset"  # resets instead of answering
    RESET_AFTER_HEADERS = "reset_after_headers"
    RESET_IN_BODY = "reset_in_body"
    TRUNCATE = "truncate"  # half the promised body, then a clean close; in process: half the body
    NOT_HTTP = "not_http"  # something that is no status line
    SILENCE = "silence"  # never answers; in process too


class Body(StrEnum):
    """What is sent in place of the reply, or done to it (bodies.py)."""

    EMPTY = "empty"
    GARBAGE = "garbage"
    HTML = "html"
    HUGE = "huge"
    GZIP = "gzip"
    GZIP_BOMB = "gzip_bomb"
    HALF = "half"
    ARRAY = "array"
    NUMBER = "number"
    NOT_UTF8 = "not_utf8"
    BYTE_ORDER_MARK = "byte_order_mark"
    DEEP = "deep"
    NAN = "nan"
    DUPLICATE = "duplicate"  # errorCode and authToken occur twice


class Seal(StrEnum):
    """What can be wrong with a sealed field or its IV."""

    WRONG_KEY = "wrong_key"
    WRONG_PADDING = "wrong_padding"
    PLAIN = "plain"  # as it is, and nothing says so
    NOT_BASE64 = "not_base64"
    PART_OF_A_BLOCK = "part_of_a_block"
    NO_IV = "no_iv"
    SHORT_IV = "short_iv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One deviation: the first five attributes say for which calls, the others what happens.

    ``times`` is for how many calls (``None``: for ever), ``skip`` how many go by before.
    """

    method: str | None = None
    api_key: str | None = None
    uid: str | None = None
    times: int | None = None
    skip: int = 0

    error_code: int | None = None
    """Answered once the call has authenticated: replays and bad keys are still found."""
    http_status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to the answer's own, e.g. ``retry-after``."""
    delay: float = 0.0
    """Seconds before the answer."""
    hold: asyncio.Event | None = None
    """Awaited before the answer."""
    wire: Wire | None = None
    body: Body | None = None
    body_size: int = 1 << 20
    """Octets of ``Body.HUGE``, and of ``Body.GZIP_BOMB`` when unpacked."""
    seal: Seal | None = None
    ignores: frozenset[str] = frozenset()
    """Parameters not acted on and reported in ``ignoredParams``, e.g. ``encrypt``, ``signIDs``."""
    context: str | None = None
    """Echoed instead of the one sent; empty: no echo."""
    expiry_form: ExpiryForm | None = None
    expiry_field: str | None = None
    provider_uid_form: ProviderUidForm | None = None
    wrong_signature: bool = False
    """``providerUIDSig`` is by another key."""
    signature_age: float = 0.0
    """Seconds by which the ``timestamp`` beside ``providerUIDSig`` is old."""
    date_offset: float = 0.0
    """Seconds added to the ``Date`` header."""
    members: Mapping[str, Any] = field(default_factory=dict)
    """Put into the reply as they are, last; ``None`` takes the member out."""

    def concerns(self, *, method: str, api_key: str | None, uid: str | None) -> bool:
        """Whether a call is one of those that this is for."""
        asked = ((self.method, method), (self.api_key, api_key), (self.uid, uid))
        return all(mine in {None, theirs} for mine, theirs in asked)

    def over(self, other: "Knob") -> "Knob":
        """Return ``other`` with everything that is set here put over it."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(other, **{k: v for k, v in mine.items() if v != getattr(NOTHING, k)})


NOTHING: Final = Knob()


@dataclass(slots=True, eq=False)
class Turned:
    """A knob in force, and how many calls are still to go by or to suffer."""

    knob: Knob
    skip: int
    left: int | None

    def take(self) -> bool:
        """Count one call that it concerns; return whether the call suffers."""
        if self.skip or self.left == 0:
            self.skip = max(0, self.skip - 1)
            return False
        self.left = None if self.left is None else self.left - 1
        return True


class Knobs:
    """The knobs in force; where several concern one call, later ones are put over earlier."""

    def __init__(self, *knobs: Knob) -> None:
        self._turned = [Turned(knob, knob.skip, knob.times) for knob in knobs]

    def turn(self, knob: Knob | None = None, **attributes: Any) -> Turned:
        """Put a knob in force, given whole or by its attributes; the answer undoes it."""
        knob = Knob(**attributes) if knob is None else knob
        self._turned.append(Turned(knob, knob.skip, knob.times))
        return self._turned[-1]

    def undo(self, turned: Turned) -> None:
        """Take one knob back; one that is spent is gone already."""
        self._turned = [each for each in self._turned if each is not turned]

    def clear(self) -> None:
        """Take all knobs back."""
        self._turned.clear()

    def take(self, *, method: str, api_key: str | None, uid: str | None) -> Knob:
        """Return what one call suffers, all knobs together, and count it."""
        together = NOTHING
        for turned in self._turned:
            if turned.knob.concerns(method=method, api_key=api_key, uid=uid) and turned.take():
                together = turned.knob.over(together)
        self._turned = [turned for turned in self._turned if turned.left != 0]
        return together

    @property
    def in_force(self) -> tuple[Turned, ...]:
        """The knobs that still have calls to spoil, oldest first."""
        return tuple(self._turned)
