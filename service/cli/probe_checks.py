"""What the prober asks, what it must get, and what it means where it gets something else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from service.model import Field
from service.outbound import Answer

ALLOWED: Final = "allowed"


class Shown(StrEnum):
    """Which credential a check shows."""

    OWN = "own"
    NONE = "none"
    MADE_UP = "made-up"
    OTHER_AUDIENCE = "other-audience"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One request; ``members`` replace those of the request that must succeed."""

    name: str
    status: int
    code: str | None = None
    shows: Shown = Shown.OWN
    members: Mapping[str, Any] = field(default_factory=dict)

    @property
    def must(self) -> str:
        """What it must get, for people."""
        return "be answered" if self.code is None else f"be refused: {self.code}"


CHECKS: Final = (
    Check(name=ALLOWED, status=200),
    Check(
        name="ungranted-field",
        status=403,
        code="access-denied",
        members={"fields": [Field.AUTH_TOKEN]},
    ),
    Check(
        name="unknown-provider",
        status=400,
        code="unknown-provider",
        members={"provider": "no-such-provider"},
    ),
    Check(name="no-credential", status=401, code="unauthenticated", shows=Shown.NONE),
    Check(name="made-up-credential", status=401, code="unauthenticated", shows=Shown.MADE_UP),
    Check(name="other-audience", status=401, code="unauthenticated", shows=Shown.OTHER_AUDIENCE),
)
"""The first must succeed, without a token moving; all others must be refused."""


class Verdict(StrEnum):
    """What came of a check."""

    GOOD = "ok"
    GOT_IN = "GOT IN"
    WRONG = "WRONG"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A check, what it got in words of ours, its seconds, and what that means."""

    check: Check
    got: str
    seconds: float
    verdict: Verdict


def judge(check: Check, answer: Answer) -> tuple[str, Verdict]:
    """Return what ``answer`` is, in words that hold no value of it, and what it means."""
    said = _read(answer.body)
    if check.code is None:
        return _released(said) if answer.status == check.status else _refused(answer, said)
    if answer.status == OK:
        return "200: let in", Verdict.GOT_IN
    got, _ = _refused(answer, said)
    is_as_it_must = answer.status == check.status and said.get("code") == check.code
    return got, Verdict.GOOD if is_as_it_must else Verdict.WRONG


OK: Final = 200


def _released(said: Mapping[str, Any]) -> tuple[str, Verdict]:
    if said.get("tokens") != {}:
        return "200, with tokens: the grant is too broad", Verdict.WRONG
    if not said.get("provider_uid"):
        return "200, without the provider's UID", Verdict.WRONG
    return "200", Verdict.GOOD


def _refused(answer: Answer, said: Mapping[str, Any]) -> tuple[str, Verdict]:
    code = said.get("code")
    known = code if isinstance(code, str) and code.replace("-", "").isalpha() else "no problem"
    return f"{answer.status}: {known}", Verdict.WRONG


def _read(body: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
