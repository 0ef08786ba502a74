"""Application logs: JSON lines on standard error, one canonical line for each request.

Standard output belongs to the audit record; the two never mix.
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import orjson
import structlog

from service.audit.record import Entry

REQUEST: Final = "request"
UNEXPECTED: Final = "unexpected"
LEVELS: Final = ("debug", "info", "warning", "error")

Line = MutableMapping[str, Any]


def configure(*, level: str, form: str, stream: TextIO = sys.stderr) -> None:
    """Send every log of this process to ``stream``.

    ``level`` is one of ``LEVELS``; ``form`` is ``json``, ``console`` or ``auto`` (the console form
    on a terminal).
    """
    console = form == "console" or (form == "auto" and stream.isatty())
    last: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(serializer=_serialise)
    )
    first: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*first, last],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
            foreign_pre_chain=[*first, _without_objects],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_number(level))
    # It logs whole URLs at INFO.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Change the level while running; ``level`` is one of ``LEVELS``."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_number(level)))
    logging.getLogger().setLevel(_number(level))


def request_line(entry: Entry, seconds: float) -> dict[str, Any]:
    """Return the canonical line of one request: what an engineer greps for, and no user."""
    exchange = entry.exchange
    members = {
        "audit_id": entry.audit_id,
        "trace_id": entry.trace_id,
        "route": entry.route,
        "method": entry.method,
        "caller": entry.caller and entry.caller.name,
        "site": entry.site,
        "provider": entry.provider,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "rule": entry.rule,
        "would_deny": entry.would_deny,
        "status": entry.status,
        "milliseconds": round(seconds * 1000, 3),
        "gigya_error_code": exchange and exchange.error_code,
        "gigya_call_id": exchange and exchange.call_id,
        "gigya_attempts": exchange and exchange.attempts,
        "gigya_milliseconds": exchange and round(exchange.milliseconds, 3),
        "cached": exchange and exchange.cached,
    }
    return {name: value for name, value in members.items() if value is not None}


def request(entry: Entry, seconds: float) -> None:
    """Write the canonical line of one request."""
    structlog.get_logger().info(REQUEST, **request_line(entry, seconds))


def unexpected(entry: Entry, error: Exception) -> None:
    """Write where something failed that should not: types and places, no message, no locals."""
    structlog.get_logger().error(UNEXPECTED, audit_id=entry.audit_id, **places(error))


def places(error: BaseException) -> dict[str, Any]:
    """Return the type of ``error`` and its causes, and the lines it passed; no values."""
    chain, seen = [], error
    while seen is not None and len(chain) < _LONGEST_CHAIN:
        frames = traceback.extract_tb(seen.__traceback__)
        chain.append(
            {
                "type": type(seen).__qualname__,
                "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )
        seen = seen.__cause__ or seen.__context__  # type: ignore[assignment]  # ends at None
    return {"error": chain}


_LONGEST_CHAIN: Final = 5


def _without_objects(_: Any, __: str, line: Line) -> Line:
    """Keep of a library's line its text and where it failed, never an object or a local."""
    failure = line.pop("exc_info", None)
    if isinstance(failure, tuple) and failure[1] is not None:
        line |= places(failure[1])
    return line


def _serialise(line: Any, **_: Any) -> str:
    return orjson.dumps(line, default=repr).decode()


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
