"""One call as it arrived, and the log of them."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from service.simulator.codes import Refusal

KEPT: Final = 1_000
FORM: Final = "application/x-www-form-urlencoded"
TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False, "": False}


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """A call: ``parameters`` as sent, of query and body together; ``error_code`` comes last."""

    http_method: str
    url: str
    method: str
    host: str
    peer: str
    is_secure: bool
    at: float
    headers: Mapping[str, str] = field(repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, init=False, repr=False)
    error_code: int | None = None
    _by_name: Mapping[str, str] = field(default_factory=dict, init=False, repr=False)

    def bring(self, sent: Mapping[str, str]) -> None:
        """Take the parameters that were ``sent``; Gigya matches names whatever their case."""
        self.parameters = sent
        self._by_name = {name.lower(): value for name, value in sent.items()}

    def get(self, name: str) -> str | None:
        """Return a parameter's value."""
        return self._by_name.get(name.lower())

    def need(self, name: str) -> str:
        """Return a parameter's value, or refuse with 400002."""
        value = self.get(name)
        if not value:
            raise Refusal(400002, f"Missing required parameter : {name}")
        return value

    def is_true(self, name: str, *, default: bool = False) -> bool:
        """Return a Boolean parameter, or refuse with 400006."""
        value = self.get(name)
        if value is None:
            return default
        if value.lower() not in TRUTHS:
            raise Refusal(400006, f"Invalid parameter value : {name}")
        return TRUTHS[value.lower()]


def parameters(query: bytes, body: bytes, content_type: str) -> dict[str, str]:
    """Return the parameters of query and body, or refuse with 400001.

    Refused: a body that is not a URL-encoded form, octets that are not UTF-8, one name twice.
    """
    if body and content_type.partition(";")[0].strip().lower() != FORM:
        raise Refusal(400001, f"The body must be of content type {FORM}")
    try:
        pairs = [pair for text in (query, body) for pair in _pairs(text)]
    except ValueError:
        raise Refusal(400001, "The parameters are not URL-encoded UTF-8") from None
    if len({name.lower() for name, _ in pairs}) != len(pairs):
        raise Refusal(400001, "A parameter occurs twice")
    return dict(pairs)


def _pairs(text: bytes) -> list[tuple[str, str]]:
    return parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict")


class Calls:
    """The last calls, oldest first, and how many there were of each method since the start."""

    def __init__(self, kept: int = KEPT) -> None:
        self.kept: deque[Call] = deque(maxlen=kept)
        self.total = 0
        self.by_method: Counter[str] = Counter()
        self.by_code: Counter[int | None] = Counter()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def arrived(self, call: Call) -> None:
        """Keep ``call`` and wake those who wait for so many."""
        self.kept.append(call)
        self.total += 1
        self.by_method[call.method] += 1
        for wanted, future in self._waiting:
            if self.total >= wanted:
                future.get_loop().call_soon_threadsafe(_wake, future)

    def answered(self, call: Call, error_code: int | None) -> None:
        """Note what ``call`` got: zero is success, ``None`` an error in OAuth's words."""
        call.error_code = error_code
        self.by_code[error_code] += 1

    async def arrive(self, total: int) -> None:
        """Wait until ``total`` calls have come since the start; any loop may wait."""
        future = asyncio.get_running_loop().create_future()
        waiting = (total, future)
        self._waiting.append(waiting)
        try:
            if self.total < total:
                await future
        finally:
            self._waiting.remove(waiting)

    @property
    def last(self) -> Call:
        """The newest call."""
        return self.kept[-1]


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
