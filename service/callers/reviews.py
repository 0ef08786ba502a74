"""TokenReview (authentication.k8s.io/v1): the question, and what to make of the answer."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import orjson

from service.callers.claims import Owner
from service.callers.refusals import Refusal, Unavailable
from service.strict_json import NotStrictJson, loads

USER_PREFIX: Final = "system:serviceaccount:"
ANSWERED: Final = frozenset({200, 201})
FORBIDDEN: Final = frozenset({401, 403})

Doubt = Refusal | Unavailable | None
"""What stands against the owner that the token claims; ``None``: nothing."""


def question(token: str, audience: str) -> bytes:
    """Return the body that asks about ``token``; it is as secret as the token."""
    return orjson.dumps(
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
    )


def doubt(status: int, body: bytes, audience: str, owner: Owner) -> Doubt:
    """Return what the API server's answer holds against ``owner`` being who sent the token."""
    if status not in ANSWERED:
        is_ours = status in FORBIDDEN
        return Unavailable.REVIEW_FORBIDDEN if is_ours else Unavailable.REVIEW_UNAVAILABLE
    review: Any = None
    with suppress(NotStrictJson):
        review = loads(body)
    is_review = isinstance(review, dict) and review.get("kind") == "TokenReview"
    found = review.get("status") if is_review else None
    if not isinstance(found, dict):
        return Unavailable.REVIEW_INVALID
    return _of_status(found, audience, owner)


def _of_status(status: Mapping[str, Any], audience: str, owner: Owner) -> Refusal | None:
    if status.get("authenticated") is not True:
        return Refusal.REVIEW_REFUSED
    audiences, user = status.get("audiences"), status.get("user")
    if not isinstance(audiences, list) or audience not in audiences:
        return Refusal.REVIEW_AUDIENCE
    known = user if isinstance(user, dict) else {}
    username = USER_PREFIX + owner.subject.replace("/", ":")
    if known.get("username") != username or known.get("uid") != owner.uid:
        return Refusal.REVIEW_USER
    return None
