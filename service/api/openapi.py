"""The OpenAPI 3.1 document, made from the tables that the code itself works by."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from service.api.openapi_schemas import AUDIT_ID, schemas
from service.api.problems import BEFORE, MEDIA_TYPE, PROBLEMS
from service.errors import (
    AuditUnavailable,
    AuthenticationUnavailable,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    Overloaded,
    RateLimited,
    RequestTimeout,
    ServiceError,
    ShuttingDown,
    Unauthenticated,
)

Json = dict[str, Any]
Errors = Iterable[type[ServiceError]]

READING: Final = (
    InvalidRequest,
    Unauthenticated,
    RequestTimeout,
    RateLimited,
    InternalError,
    Overloaded,
    AuditUnavailable,
    AuthenticationUnavailable,
    ShuttingDown,
)
"""What can come of asking for a table."""


def document(version: str) -> Json:
    """Return the document; ``version`` is the distribution's."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gigya-credential-proxy",
            "version": version,
            "summary": "Releases provider tokens to the internal callers that may have them.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"certificate": []}],
        "paths": {
            "/v1/provider-tokens": {"post": _provider_tokens()},
            "/v1/providers": {"get": _table("providers", "Show the mapping table", "Mapping")},
            "/v1/grants": {"get": _table("grants", "Show what the caller may ask for", "Grants")},
            "/openapi.json": {"get": _this()},
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
            },
            "headers": _HEADERS,
            "schemas": schemas(),
        },
    }


_DESCRIPTION: Final = (
    "An authenticated caller asks for the tokens of one user at one provider and gets what its "
    "grants allow, under the provider's own names. Errors are problems (RFC 9457). A method that "
    "a route does not have gets 405 method-not-allowed, any other path 404 not-found."
)

_HEADERS: Final[Json] = {
    "Audit-ID": {
        "description": "The id of the audit record.",
        "schema": AUDIT_ID,
    },
    "Cache-Control": {
        "description": "Nothing here may be stored.",
        "schema": {"type": "string", "const": "no-store"},
    },
    "Retry-After": {
        "description": "Seconds after which asking again can help.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "How to prove who is calling.",
        "schema": {"type": "string", "const": "Bearer"},
    },
    "Allow": {"description": "The methods that the route has.", "schema": {"type": "string"}},
}

_REQUEST_TIMEOUT: Final[Json] = {
    "name": "Request-Timeout",
    "in": "header",
    "description": "Seconds the caller waits; can only lower the configured deadline.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}


def _provider_tokens() -> Json:
    return {
        "operationId": "provider-tokens",
        "summary": "Release provider tokens",
        "parameters": [_REQUEST_TIMEOUT],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("schemas", "TokenRequest")}},
        },
        "responses": {
            "200": _answer("What the caller may have.", _ref("schemas", "TokenAnswer")),
            **_problem_answers(PROBLEMS),
        },
    }


def _table(operation: str, summary: str, schema: str) -> Json:
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {
            "200": _answer("The table.", _ref("schemas", schema)),
            **_problem_answers(READING),
        },
    }


def _this() -> Json:
    return {
        "operationId": "openapi",
        "summary": "Show this document",
        "security": [{}],
        "responses": {
            "200": _answer("This document.", {"type": "object"}),
            **_problem_answers((InternalError, Overloaded, ShuttingDown)),
        },
    }


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _header_refs(names: Iterable[str]) -> Json:
    return {name: _ref("headers", name) for name in names}


def _answer(description: str, schema: Json) -> Json:
    return {
        "description": description,
        "headers": _header_refs(("Audit-ID", "Cache-Control")),
        "content": {"application/json": {"schema": schema}},
    }


def _problem_answers(errors: Errors) -> Json:
    """Return one answer for each status, telling its codes apart.

    What never becomes a request is answered alike on every route.
    """
    by_status: dict[int, list[type[ServiceError]]] = defaultdict(list)
    rows = [(PROBLEMS[error].status, error) for error in errors]
    for status, error in dict.fromkeys((*rows, *BEFORE.items())):
        by_status[status.value].append(error)
    return {str(status): _problem_answer(by_status[status]) for status in sorted(by_status)}


def _problem_answer(errors: list[type[ServiceError]]) -> Json:
    headers = ["Audit-ID", "Cache-Control"]
    if any(PROBLEMS[error].is_retryable for error in errors):
        headers.append("Retry-After")
    headers += [name for error, name in _SPECIAL.items() if error in errors]
    lines = [f"`{error.code}`: {PROBLEMS[error].title}." for error in errors]
    codes = {"properties": {"code": {"enum": [error.code for error in errors]}}}
    return {
        "description": "\n".join(lines),
        "headers": _header_refs(headers),
        "content": {
            MEDIA_TYPE: {"schema": {"allOf": [_ref("schemas", "Problem"), codes]}},
        },
    }


_SPECIAL: Final[Mapping[type[ServiceError], str]] = {
    Unauthenticated: "WWW-Authenticate",
    MethodNotAllowed: "Allow",
}
