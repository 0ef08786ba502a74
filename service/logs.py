"""Application logs: JSON lines on standard error, one canonical line for each request.

Standard output belongs to the audit record; the two never mix.
"""

import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson
import structlog

from service.audit.record import RELEASED, Entry, present
from service.http_methods import METHODS, OTHER
from service.model import Exchange
from service.quiet import quietly

REQUEST: Final = "request"
UNEXPECTED: Final = "unexpected"
GRAVITIES: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
LEVELS: Final = tuple(GRAVITIES)

Line = MutableMapping[str, Any]
Processor = Callable[[Any, str, Line], Any]
"""Takes a line as structlog has it: after a logger and the level."""


class Stream(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Take a line."""

    def flush(self) -> None:
        """Let it go on its way."""

    def isatty(self) -> bool:
        """Whether a person reads along."""


class Log:
    """Where the service says what it does; ``level`` can be changed while running.

    ``stream`` sends each line on its way by itself. ``level`` is one of ``LEVELS``; ``form`` is
    ``json``, ``console`` or ``auto`` (the console's on a terminal). Saying something never fails:
    what cannot be said is not said.
    """

    def __init__(self, stream: Stream, *, level: str = "info", form: str = "auto") -> None:
        is_console = form == "console" or (form == "auto" and stream.isatty())
        self._rendered: Processor = _for_people() if is_console else _for_machines
        self._stream = stream
        self._libraries: logging.Logger | None = None
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Say only what is at least as grave as ``level``."""
        self._level, self._gravity = level, GRAVITIES[level]
        self._logger = structlog.wrap_logger(
            structlog.WriteLogger(self._stream),  # type: ignore[arg-type]  # writes and flushes
            processors=[_stamped, self._rendered],
            wrapper_class=structlog.make_filtering_bound_logger(self._gravity),
        ).bind()
        if self._libraries is not None:
            # Libraries' INFO says too much: httpx's has whole URLs.
            self._libraries.setLevel(max(self._gravity, logging.WARNING))

    def take_over(self) -> None:
        """Send the lines of libraries here, in the same form: texts and places, never objects."""
        handler = _Handler(self._stream, self)
        formatter = structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, self._rendered],
            foreign_pre_chain=[_stamped, _without_objects],
        )
        handler.setFormatter(formatter)
        self._libraries = logging.getLogger()
        self._libraries.handlers[:] = [handler]
        self.set_level(self._level)
        # Python's own hooks write messages, and wait for whoever reads standard error.
        threading.excepthook = lambda failed: self._escaped(failed.exc_value)
        sys.unraisablehook = lambda failed: self._escaped(failed.exc_value)

    @quietly
    def info(self, event: str, **facts: Any) -> None:
        """Say what is usual."""
        self._logger.info(event, **facts)

    @quietly
    def warning(self, event: str, **facts: Any) -> None:
        """Say what is worth a look."""
        self._logger.warning(event, **facts)

    @quietly
    def error(self, event: str, **facts: Any) -> None:
        """Say what someone must look at."""
        self._logger.error(event, **facts)

    def request(self, entry: Entry, seconds: float) -> None:
        """Write the canonical line of one request."""
        if self._gravity > logging.INFO:
            return
        # As by structlog's logger, ``_stamped`` and ``quietly``, for whose calls each request would
        # pay.
        try:
            line = request_line(entry, seconds)
            line["event"], line["level"], line["timestamp"] = REQUEST, "info", datetime.now(UTC)
            self._stream.write(f"{self._rendered(None, 'info', line)}\n")
        except Exception:  # noqa: BLE001  # what observes never fails what it observes
            return

    @quietly
    def unexpected(self, error: BaseException, **facts: Any) -> None:
        """Write where something failed that should not: types and places, no message, no locals."""
        self._logger.error(UNEXPECTED, **facts, **places(error))

    @quietly
    def loop_failed(self, _: object, context: Mapping[str, Any]) -> None:
        """Write what only the event loop saw; its own handler would show objects and messages."""
        error = context.get("exception")
        where = places(error) if isinstance(error, BaseException) else {}
        self._logger.error(UNEXPECTED, message=context.get("message"), **where)

    def _escaped(self, error: BaseException | None) -> None:
        if error is not None:
            self.unexpected(error)


class _Handler(logging.StreamHandler[Stream]):
    """Has a line that a library garbled told by the place where it did."""

    def __init__(self, stream: Stream, log: Log) -> None:
        super().__init__(stream)
        self._log = log

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the type of each object instead of what it says of itself."""
        plain = logging.makeLogRecord(record.__dict__)
        if isinstance(plain.args, tuple):
            plain.args = tuple(_plain(each) for each in plain.args)
        elif plain.args:
            plain.args = {name: _plain(each) for name, each in plain.args.items()}
        return super().format(plain)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the library's name
        """Say where; the library's own would write the message and its arguments."""
        error = sys.exception()
        if error is not None:
            self._log.unexpected(error, logger=record.name)


def request_line(entry: Entry, seconds: float) -> dict[str, Any]:
    """Return the canonical line of one request: what an engineer greps for, and no user."""
    line: dict[str, Any] = {
        "audit_id": entry.audit_id,
        "trace_id": entry.trace_id,
        "route": entry.route,
        "method": entry.method if entry.method in _TOLD_AS_IT_IS else OTHER,
        "caller": None if entry.caller is None else entry.caller.name,
        "site": entry.site,
        "provider": entry.provider,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "rule": entry.rule,
        "would_deny": entry.would_deny,
        "status": entry.status,
        "milliseconds": round(seconds * 1000, 3),
    }
    if entry.outcome != RELEASED:
        present(line, _OF_SOME_REQUESTS)
    else:  # nothing is released without the others; as ``present`` does, without its call
        if entry.trace_id is None:
            del line["trace_id"]
        if entry.reason is None:
            del line["reason"]
        if entry.would_deny is None:
            del line["would_deny"]
    if entry.exchange is not None:
        _add_gigya(line, entry.exchange)
    return line


_TOLD_AS_IT_IS: Final[frozenset[str | None]] = METHODS | {None}
_OF_SOME_REQUESTS: Final = (
    "trace_id",
    "route",
    "method",
    "caller",
    "site",
    "provider",
    "reason",
    "rule",
    "would_deny",
    "status",
)


def _add_gigya(line: Line, exchange: Exchange) -> None:
    if exchange.error_code is not None:
        line["gigya_error_code"] = exchange.error_code
    if exchange.call_id is not None:
        line["gigya_call_id"] = exchange.call_id
    line["gigya_attempts"] = exchange.attempts
    line["gigya_milliseconds"] = round(exchange.milliseconds, 3)
    line["cached"] = exchange.cached


def places(error: BaseException) -> dict[str, Any]:
    """Return the type of ``error`` and its causes, and the lines they passed; no values."""
    chain: list[dict[str, Any]] = []
    seen: BaseException | None = error
    while seen is not None and len(chain) < _LONGEST_CHAIN:
        frames = traceback.extract_tb(seen.__traceback__)
        chain.append(
            {
                "type": type(seen).__qualname__,
                "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )
        seen = seen.__cause__ or seen.__context__
    return {"error": chain}


_LONGEST_CHAIN: Final = 5


def _for_people() -> Processor:
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)

    def render(logger: Any, name: str, line: Line) -> Any:
        told = {key: _printable(value) for key, value in _dated(line).items()}
        return console(logger, name, told)

    return render


def _printable(value: Any) -> Any:
    """Escape what would move a terminal's cursor or change its colours."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value)


def _stamped(_: Any, level: str, line: Line) -> Line:
    # structlog's two processors in one: each is a call, and a loop around it.
    line["level"] = level
    line["timestamp"] = datetime.now(UTC)  # orjson writes it faster than Python
    return line


def _dated(line: Line) -> Line:
    """Return ``line`` with its time as orjson writes it (RFC 3339)."""
    return {**line, "timestamp": line["timestamp"].isoformat().replace("+00:00", "Z")}


def _without_objects(_: Any, __: str, line: Line) -> Line:
    """Keep of a library's line its text and where it failed, never an object or a local."""
    failure = line.pop("exc_info", None)
    if isinstance(failure, tuple) and failure[1] is not None:
        line.update(places(failure[1]))
    return line


def _for_machines(_: Any, __: str, line: Line) -> str:
    try:
        return orjson.dumps(line, default=_type_of, option=orjson.OPT_UTC_Z).decode()
    except TypeError:  # half a surrogate pair, or a number that needs more than 64 bits
        return json.dumps(_dated(line), default=_type_of)


def _plain(value: object) -> object:
    """Return a text or a number as it is, and the type of anything else: an exception, say."""
    return value if value is None or isinstance(value, (str, int, float)) else _type_of(value)


def _type_of(value: object) -> str:
    return type(value).__name__
