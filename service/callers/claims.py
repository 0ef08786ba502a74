"""What a token must claim (RFC 7519, section 4.1), rule by rule, and whose it then is."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from service.callers.refusals import Refusal
from service.subjects import NAMESPACE, OBJECT_NAME, is_claimed

LAST_MOMENT: Final = 253_402_300_799
"""The end of the year 9999 in UNIX seconds: what a datetime can say."""

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is asked of a token's claims; ``leeway`` and ``max_token_life`` are seconds."""

    audiences: frozenset[str]
    leeway: float = 30
    max_token_life: float | None = None
    required: Mapping[str, str | int | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.audiences:
            raise ValueError("a token that is for anybody is for nobody: name an audience")


def refusal(claims: Claims, rules: Rules, now: float) -> Refusal | None:
    """Return the first reason to refuse ``claims`` at ``now`` (UNIX seconds), if any."""
    return next((found for check in CHECKS if (found := check(claims, rules, now))), None)


def _times_are_numbers(claims: Claims, _rules: Rules, _now: float) -> Refusal | None:
    moments = (claims[name] for name in ("exp", "nbf", "iat") if name in claims)
    return None if all(map(_is_moment, moments)) else Refusal.CLAIM_MALFORMED


def _is_moment(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 <= value <= LAST_MOMENT


def _expires(claims: Claims, rules: Rules, now: float) -> Refusal | None:
    if "exp" not in claims:
        return Refusal.EXPIRY_MISSING
    return Refusal.EXPIRED if now >= claims["exp"] + rules.leeway else None


def _has_begun(claims: Claims, rules: Rules, now: float) -> Refusal | None:
    return Refusal.NOT_YET_VALID if claims.get("nbf", 0) > now + rules.leeway else None


def _was_issued(claims: Claims, rules: Rules, now: float) -> Refusal | None:
    return Refusal.ISSUED_IN_FUTURE if claims.get("iat", 0) > now + rules.leeway else None


def _is_short_lived(claims: Claims, rules: Rules, _now: float) -> Refusal | None:
    if rules.max_token_life is None:
        return None
    if "iat" not in claims:
        return Refusal.ISSUE_MISSING
    life = claims["exp"] - claims["iat"]
    return Refusal.LIFE_TOO_LONG if life > rules.max_token_life else None


def _is_for_us(claims: Claims, rules: Rules, _now: float) -> Refusal | None:
    audience = claims.get("aud")
    if audience is None or audience in ("", []):
        return Refusal.AUDIENCE_MISSING
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        return Refusal.CLAIM_MALFORMED
    return None if rules.audiences.intersection(named) else Refusal.AUDIENCE_WRONG


def _has_required(claims: Claims, rules: Rules, _now: float) -> Refusal | None:
    holds = all(
        name in claims and type(claims[name]) is type(value) and claims[name] == value
        for name, value in rules.required.items()
    )
    return None if holds else Refusal.REQUIRED_CLAIM


Check = Callable[[Claims, Rules, float], Refusal | None]

CHECKS: Final[tuple[Check, ...]] = (
    _times_are_numbers,
    _expires,
    _has_begun,
    _was_issued,
    _is_short_lived,
    _is_for_us,
    _has_required,
)
"""In this order: later ones lean on the types that earlier ones made sure of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose a token is; a service account also has a namespace and, if bound, a pod."""

    subject: str
    namespace: str | None = None
    pod: str | None = None
    uid: str | None = None


ReadOwner = Callable[[Claims], Owner | Refusal]


def owner_by(claim: str) -> ReadOwner:
    """Return a reader of the subject that stands in ``claim``, as OIDC issuers write it."""

    def read(claims: Claims) -> Owner | Refusal:
        subject = claims.get(claim)
        if not isinstance(subject, str) or not is_claimed(subject):
            return Refusal.SUBJECT_MALFORMED
        return Owner(subject=subject)

    return read


def service_account(claims: Claims) -> Owner | Refusal:
    """Read a Kubernetes service account; ``sub`` and the ``kubernetes.io`` claims must agree."""
    bound = _object(claims.get("kubernetes.io"))
    account, pod = _object(bound.get("serviceaccount")), bound.get("pod")
    namespace, name, uid = bound.get("namespace"), account.get("name"), account.get("uid")
    pod_name = _object(pod).get("name")
    if not (
        _is_named(NAMESPACE, namespace)
        and _is_named(OBJECT_NAME, name)
        and isinstance(uid, str)
        and claims.get("sub") == f"system:serviceaccount:{namespace}:{name}"
        and (pod is None or _is_named(OBJECT_NAME, pod_name))
    ):
        return Refusal.NOT_SERVICE_ACCOUNT
    return Owner(subject=f"{namespace}/{name}", namespace=namespace, pod=pod_name, uid=uid)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_named(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
