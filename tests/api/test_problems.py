import json
from http import HTTPStatus
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.problems import PREFIX, PROBLEMS, render
from service.errors import (
    AccessDenied,
    InvalidRequest,
    MethodNotAllowed,
    Missing,
    NoSession,
    RateLimited,
    RequestTooLarge,
    ServiceError,
    Unauthenticated,
    leaves,
)

AUDIT_ID: Final = "0123456789abcdef" * 2

STATUSES: Final = {
    "invalid-request": 400,
    "unknown-provider": 400,
    "unauthenticated": 401,
    "access-denied": 403,
    "no-session": 404,
    "not-found": 404,
    "method-not-allowed": 405,
    "request-timeout": 408,
    "reauthentication-required": 409,
    "token-expiring": 409,
    "request-too-large": 413,
    "unsupported-media-type": 415,
    "rate-limited": 429,
    "internal-error": 500,
    "upstream-rejected": 502,
    "upstream-invalid": 502,
    "undecryptable": 502,
    "upstream-unavailable": 503,
    "upstream-busy": 503,
    "overloaded": 503,
    "audit-unavailable": 503,
    "authentication-unavailable": 503,
    "shutting-down": 503,
    "upstream-timeout": 504,
}
"""The contract, written out."""


def example(kind: type[ServiceError]) -> ServiceError:
    """Return an error of that kind."""
    if kind is AccessDenied:
        return AccessDenied("No.", missing=Missing.FIELD)
    if kind is MethodNotAllowed:
        return MethodNotAllowed("No.", allow=("GET", "HEAD"))
    if kind is Unauthenticated:
        return Unauthenticated("expired")
    return kind("No.")


def rendered(error: ServiceError) -> tuple[int, dict[bytes, bytes], dict[str, Any]]:
    """Return the status, headers and members of a problem."""
    status, headers, body = render(error, AUDIT_ID)
    assert len(dict(headers)) == len(headers)
    return status, dict(headers), json.loads(body)


class TestTable:
    def test_every_error_has_its_problem(self) -> None:
        """The table has a row for each leaf of the hierarchy and no other."""
        assert leaves(ServiceError) == set(PROBLEMS)

    def test_holds_the_contract(self) -> None:
        """Codes and statuses are those that callers rely on."""
        assert STATUSES == {kind.code: row.status.value for kind, row in PROBLEMS.items()}

    @pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.code)
    def test_tells_both_what_to_do(self, kind: type[ServiceError]) -> None:
        """Each row has advice for the caller and for the operator, in sentences."""
        row = PROBLEMS[kind]
        assert row.caller.endswith(".")
        assert row.operator.endswith(".")
        assert row.title
        assert not row.title.endswith(".")

    @pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.code)
    def test_waits_only_where_waiting_helps(self, kind: type[ServiceError]) -> None:
        """A wait of its own has only what is retryable."""
        row = PROBLEMS[kind]
        assert row.is_retryable or row.retry_after is None


class TestRender:
    @pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.code)
    def test_is_a_problem(self, kind: type[ServiceError]) -> None:
        """Every problem has the same members, and its type is made of its code."""
        error = example(kind)
        status, headers, problem = rendered(error)
        row = PROBLEMS[kind]
        expected = {
            "type": PREFIX + kind.code,
            "title": row.title,
            "status": STATUSES[kind.code],
            "detail": error.detail,
            "code": kind.code,
            "audit_id": AUDIT_ID,
            "retryable": row.is_retryable,
        }
        if kind is AccessDenied:
            expected["missing"] = "field"
        assert expected == problem
        assert STATUSES[kind.code] == status
        assert b"application/problem+json" == headers[b"content-type"]
        assert b"no-store" == headers[b"cache-control"]
        assert len(render(error, AUDIT_ID)[2]) == int(headers[b"content-length"])
        assert (row.retry_after is not None) is (b"retry-after" in headers)

    @pytest.mark.parametrize("missing", Missing)
    def test_tells_what_is_missing(self, missing: Missing) -> None:
        """A denial says what stands between the caller and the release."""
        _, _, problem = rendered(AccessDenied("No.", missing=missing))
        assert missing.value == problem["missing"]

    def test_tells_the_status_that_http_has_for_it(self) -> None:
        """Where HTTP has a status of its own for a fault, line and document both say that one."""
        code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        status, _, body = render(RequestTooLarge("Shorten it."), AUDIT_ID, code)
        assert (431, 431) == (status, json.loads(body)["status"])

    def test_keeps_the_reason_inside(self) -> None:
        """The true cause is for the record alone."""
        reasons = ("expired", "unknown-issuer", "two-headers")
        bodies = {render(Unauthenticated(reason), AUDIT_ID)[2] for reason in reasons}
        assert 1 == len(bodies)
        assert b"sentinel" not in render(InvalidRequest("No.", reason="sentinel"), AUDIT_ID)[2]

    def test_asks_for_a_bearer(self) -> None:
        """A 401 has one challenge, whatever the reason (RFC 9110, section 11.6.1)."""
        assert b"Bearer" == rendered(Unauthenticated("expired"))[1][b"www-authenticate"]

    def test_lists_the_methods(self) -> None:
        """A 405 says what is allowed (RFC 9110, section 15.5.6)."""
        error = MethodNotAllowed("No.", allow=("GET", "HEAD"))
        assert b"GET, HEAD" == rendered(error)[1][b"allow"]

    @pytest.mark.parametrize(
        ("wait", "shown"),
        [(None, b"1"), (0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.01, b"2"), (1e9, b"86400")],
    )
    def test_rounds_the_wait_up(self, wait: float | None, shown: bytes) -> None:
        """Retry-After is whole seconds, never too early, never none, never for ever."""
        assert shown == rendered(RateLimited("No.", retry_after=wait))[1][b"retry-after"]

    @given(st.floats(0, allow_nan=False))
    def test_any_wait_is_a_number_of_seconds(self, wait: float) -> None:
        """However long the wait, the header is digits."""
        assert rendered(RateLimited("No.", retry_after=wait))[1][b"retry-after"].isdigit()

    def test_no_wait_where_it_would_not_help(self) -> None:
        """What waiting does not change has no Retry-After, even if someone gives one."""
        assert b"retry-after" not in rendered(NoSession("No.", retry_after=5))[1]

    def test_the_unlisted_is_a_fault_of_ours(self) -> None:
        """An error that nobody listed is a 500 that tells nothing of itself."""
        status, _, problem = rendered(ServiceError("sentinel", reason="any"))
        assert HTTPStatus.INTERNAL_SERVER_ERROR == status
        assert "internal-error" == problem["code"]
        assert "sentinel" not in problem.values()
