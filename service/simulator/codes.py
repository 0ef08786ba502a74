"""Gigya's response codes, as its table of response codes and errors names them (facts.md §5)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

NAMES: Final[Mapping[int, str]] = {
    0: "OK",
    100001: "Data pending",
    200001: "Operation canceled",
    200003: "Permission not granted",
    200008: "OK with errors",
    301001: "Invalid data center",
    400001: "Invalid request format",
    400002: "Missing required parameter",
    400003: "Unique identifier exists",
    400004: "Invalid parameter format",
    400006: "Invalid parameter value",
    400007: "Duplicate value",
    400008: "Invalid authentication header",
    400011: "Invalid redirect URI",
    400012: "Invalid response type",
    400013: "Unsupported grant type",
    400014: "Invalid grant",
    400015: "Code expired",
    400030: "Operation not allowed",
    400093: "Invalid apiKey parameter",
    400096: "Not supported",
    400106: "Not connected",
    400120: "Invalid site domain",
    400122: "Provider configuration error",
    403000: "Forbidden",
    403001: "Forbidden",
    403002: "Request has expired",
    403003: "Invalid request signature",
    403004: "Duplicate nonce",
    403005: "Unauthorized user",
    403006: "Secret sent over HTTP",
    403007: "Permission denied",
    403008: "Invalid OpenID URL",
    403009: "Provider session expired",
    403010: "Invalid secret",
    403011: "Session has expired",
    403012: "No valid session",
    403015: "Missing request referrer",
    403017: "Unexpected provider user",
    403022: "Permission not requested",
    403023: "No user permission",
    403024: "Provider limit reached",
    403025: "Invalid token",
    403026: "Unauthorized access error",
    403035: "No user cookie",
    403036: "Unauthorized partner",
    403041: "Account disabled",
    403042: "Invalid LoginID",
    403043: "Login identifier exists",
    403047: "Login identifier not available",
    403048: "API rate limit exceeded",
    403120: "Account temporarily locked out",
    404000: "Not found",
    404003: "UID not found",
    405001: "Invalid API method",
    409030: "Too many concurrent requests for the same user",
    500000: "General security warning",
    500001: "General server error",
    500002: "Server login error",
    500003: "Default application configuration",
    500014: "Session migration error",
    500023: "Provider error",
    500026: "Network error",
    500028: "Database error",
    500031: "No provider application",
    500033: "Invalid environment configuration",
    500034: "Error during backend operation",
    503001: "Service unavailable",
    504001: "Timeout",
    504002: "Request timeout",
}


class Refusal(Exception):
    """A call that Gigya answers with an error: the code, its details, what else the reply holds."""

    def __init__(self, code: int, details: str = "", **more: Any) -> None:
        super().__init__(f"{code} {name_of(code)}")
        self.code = code
        self.details = details
        self.more = more


def name_of(code: int) -> str:
    """Return Gigya's short text for ``code``, or a plain one for a code in no list."""
    return NAMES.get(code, "Unknown error")


def status_of(code: int) -> int:
    """Return the HTTP status that ``httpStatusCodes=true`` gives: the code's first three digits.

    The 1xxxxx and 2xxxxx families are 200: they are no failures of HTTP.
    """
    family = code // 1000
    return family if family in _STATUSES and family >= HTTPStatus.MULTIPLE_CHOICES else 200


def reason_of(status: int) -> str:
    """Return the ``statusReason`` of an HTTP status."""
    return HTTPStatus(status).phrase if status in _STATUSES else "Unknown"


_STATUSES: Final = frozenset(status.value for status in HTTPStatus)
