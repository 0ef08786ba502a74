"""What the prober asks, what it must get, and what it means where it gets something else."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from service.model import Field
from service.outbound import Answer

ALLOWED: Final = "allowed"
NARROW: Final = "narrow-grant"
SECRETS: Final = {
    "ungranted-auth-token": Field.AUTH_TOKEN,
    "ungranted-token-secret": Field.TOKEN_SECRET,
    "ungranted-session-handle": Field.SESSION_HANDLE,
}
"""Check -> what nobody may have who is granted a provider's UID alone."""

Said = Mapping[str, Any]


class Shown(StrEnum):
    """Which credential a check shows."""

    OWN = "own"
    NONE = "none"
    MADE_UP = "made-up"
    OTHER_AUDIENCE = "other-audience"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One request; ``members`` replace those of the request that must succeed.

    ``asks`` is a path to read instead.
    """

    name: str
    status: int
    code: str | None = None
    shows: Shown = Shown.OWN
    members: Mapping[str, Any] = field(default_factory=dict)
    asks: str | None = None

    @property
    def must(self) -> str:
        """What it must get, for people."""
        if self.code is not None:
            return f"be refused: {self.code}"
        return "be answered" if self.asks is None else "be granted no more"


CHECKS: Final = (
    Check(name=ALLOWED, status=200),
    *(
        Check(name=name, status=403, code="access-denied", members={"fields": [secret]})
        for name, secret in SECRETS.items()
    ),
    Check(name=NARROW, status=200, asks="/v1/grants"),
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
"""The first must succeed, without a token moving; the others must get nothing more."""


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
        return (
            _PROVES[check.name](said) if answer.status == check.status else _refused(answer, said)
        )
    if answer.status == OK:
        return "200: let in", Verdict.GOT_IN
    got, _ = _refused(answer, said)
    is_as_it_must = answer.status == check.status and said.get("code") == check.code
    return got, Verdict.GOOD if is_as_it_must else Verdict.WRONG


OK: Final = 200


def _released(said: Said) -> tuple[str, Verdict]:
    if said.get("tokens") != {}:
        return "200, with tokens: the grant is too broad", Verdict.WRONG
    if not said.get("provider_uid"):
        return "200, without the provider's UID", Verdict.WRONG
    return "200", Verdict.GOOD


def _narrow(said: Said) -> tuple[str, Verdict]:
    """Judge by what the caller is granted, and not by what the one user happens to have."""
    grants = said.get("grants")
    if not isinstance(grants, list) or not grants:
        return "200, without a grant", Verdict.WRONG
    rows = [grant if isinstance(grant, dict) else {} for grant in grants]
    sites = {str(row.get("site")) for row in rows}
    providers = [row.get("providers") for row in rows]
    is_one = all(isinstance(each, list) and len(each) == 1 for each in providers)
    is_uid_alone = all(row.get("fields") == [Field.PROVIDER_UID] for row in rows)
    if len(sites) == 1 and is_one and len({*map(str, providers)}) == 1 and is_uid_alone:
        return "200", Verdict.GOOD
    return "200: granted more", Verdict.GOT_IN


_PROVES: Final[Mapping[str, Callable[[Said], tuple[str, Verdict]]]] = {
    ALLOWED: _released,
    NARROW: _narrow,
}
"""What an answer means that is no refusal, and must be none."""


def _refused(answer: Answer, said: Said) -> tuple[str, Verdict]:
    code = said.get("code")
    known = code if isinstance(code, str) and code.replace("-", "").isalpha() else "no problem"
    return f"{answer.status}: {known}", Verdict.WRONG


def _read(body: bytes) -> Said:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
