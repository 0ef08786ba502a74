"""The members of a 200 to a token request, for documentation and the tests that compare it."""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerMember:
    """One member; one that is not ``is_always`` is absent where it does not apply."""

    name: str
    is_always: bool = False
    schema: dict[str, Any]
    text: str


_TEXT: Final = {"type": "string"}
_MOMENT: Final = {"type": "string", "format": "date-time"}
_FLAG: Final = {"type": "boolean"}

ANSWER_MEMBERS: Final = (
    AnswerMember(
        name="site",
        is_always=True,
        schema=_TEXT,
        text="The site's configured name.",
    ),
    AnswerMember(
        name="provider",
        is_always=True,
        schema=_TEXT,
        text="The canonical name of the provider.",
    ),
    AnswerMember(
        name="tokens",
        is_always=True,
        schema={
            "type": "object",
            "additionalProperties": {"oneOf": [_TEXT, {"type": "integer", "minimum": 1}]},
        },
        text="The session under the provider's names; expiries are whole seconds left.",
    ),
    AnswerMember(
        name="withheld",
        is_always=True,
        schema={"type": "array", "items": _TEXT},
        text="The provider's names of what the reply held and policy refused.",
    ),
    AnswerMember(
        name="expires_at",
        schema=_MOMENT,
        text="When the token expires, in UTC; absent if no expiry is known.",
    ),
    AnswerMember(
        name="session_expires_at",
        schema=_MOMENT,
        text="When the session handle expires, in UTC.",
    ),
    AnswerMember(
        name="provider_uid",
        schema=_TEXT,
        text="The user's id at the provider; needs its grant, providerUID.",
    ),
    AnswerMember(
        name="provider_uid_verified",
        schema=_FLAG,
        text="Whether Gigya's signature of it is good; only with verify_provider_uid.",
    ),
    AnswerMember(
        name="context",
        schema={},
        text="As it was sent.",
    ),
    AnswerMember(
        name="cached",
        is_always=True,
        schema=_FLAG,
        text="Whether the session was in memory already.",
    ),
    AnswerMember(
        name="age",
        is_always=True,
        schema={"type": "integer", "minimum": 0},
        text="Seconds since Gigya was asked for the session.",
    ),
    AnswerMember(
        name="gigya_call_id",
        schema=_TEXT,
        text="Gigya's id of the call, for its support.",
    ),
    AnswerMember(
        name="audit_id",
        is_always=True,
        schema={"type": "string", "pattern": "^[0-9a-f]{32}$"},
        text="The id of the audit record.",
    ),
)
