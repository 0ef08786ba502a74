"""An error as the caller sees it: status, headers and ``application/problem+json`` (RFC 9457)."""

import math
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

import orjson

from service.api.problem_table import BEFORE, PROBLEMS, Problem
from service.errors import (
    AccessDenied,
    InternalError,
    MethodNotAllowed,
    ServiceError,
    Unauthenticated,
)

__all__ = ["BEFORE", "MEDIA_TYPE", "PREFIX", "PROBLEMS", "Headers", "Problem", "render"]

PREFIX: Final = "urn:gigya-credential-proxy:problem:"
MEDIA_TYPE: Final = "application/problem+json"
LONGEST_WAIT: Final = 86_400
"""Seconds; nobody is told to wait longer."""

Headers = list[tuple[bytes, bytes]]


def render(
    error: ServiceError, audit_id: str, status: HTTPStatus | None = None
) -> tuple[int, Headers, bytes]:
    """Return the status, headers and body that tell a caller of ``error``.

    An unlisted class is an ``InternalError``; what it says stays inside. ``status`` is for what
    HTTP has another one for than the table.
    """
    if type(error) not in PROBLEMS:
        error = InternalError("This service has a fault.")
    problem = PROBLEMS[type(error)]
    if status is not None:
        problem = replace(problem, status=status)
    body = orjson.dumps(_document(error, problem, audit_id))
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *_advice(error, problem),
    ]
    return problem.status.value, headers, body


def _document(error: ServiceError, problem: Problem, audit_id: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": PREFIX + error.code,
        "title": problem.title,
        "status": problem.status.value,
        "detail": error.detail,
        "code": error.code,
        "audit_id": audit_id,
        "retryable": problem.is_retryable,
    }
    if isinstance(error, AccessDenied):
        document["missing"] = error.missing.value
    return document


def _advice(error: ServiceError, problem: Problem) -> Headers:
    """Return the headers that say what to do: wait, prove who you are, use another method."""
    headers: Headers = []
    wait = problem.retry_after if error.retry_after is None else error.retry_after
    if wait is not None and problem.is_retryable:
        seconds = math.ceil(min(max(wait, 1.0), LONGEST_WAIT))
        headers.append((b"retry-after", str(seconds).encode()))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allow).encode()))
    return headers
