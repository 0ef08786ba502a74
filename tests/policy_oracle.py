"""What policy should say, written apart from the code: slow, plain, over documents."""

from collections.abc import Collection, Sequence
from typing import Any

Json = dict[str, Any]

FOLLOWED = {"tokenExpiration": "authToken", "sessionExpiration": "sessionHandle"}


def verdict(
    caller: Json | None, site: str, provider: str, fields: Sequence[str] | None, *, proof: bool
) -> tuple[str, frozenset[str]]:
    """Return ``allow`` or what is missing, and the fields that may be released.

    ``caller`` is a row of the configuration as it would be written, ``None`` if there is none.
    """
    if caller is None:
        return "site", frozenset()
    if caller.get("blocked"):
        return "blocked", frozenset()
    return _by_grants(caller["grants"], site, provider, fields, proof=proof)


def _by_grants(
    grants: list[Json], site: str, provider: str, fields: Sequence[str] | None, *, proof: bool
) -> tuple[str, frozenset[str]]:
    here = [grant for grant in grants if grant["site"] == site]
    if not here:
        return "site", frozenset()
    fitting = [g for g in here if g["providers"] == "all" or provider in g["providers"]]
    if not fitting:
        return "provider", frozenset()
    ever = {field for grant in fitting for field in grant["fields"]}
    now = {
        field
        for grant in fitting
        if grant["user_proof"] == "none" or proof
        for field in grant["fields"]
    }
    if fields is None:
        return ("allow", frozenset(now)) if now else ("user-proof", frozenset())
    for field in fields:
        if FOLLOWED.get(field, field) not in ever:
            return "field", frozenset()
    for field in fields:
        if FOLLOWED.get(field, field) not in now:
            return "user-proof", frozenset()
    return "allow", frozenset(fields)


def would_deny(
    caller: Json,
    site: str,
    provider: str,
    fields: Sequence[str] | None,
    *,
    proof: bool,
    released: Collection[str] | None,
) -> bool | None:
    """Return whether the report-only grants would have taken anything from an answer.

    ``released`` is what the answer held, ``None`` where there was none: then there was nothing to
    take. ``None`` is returned where there are no such grants either.
    """
    if released is None or not caller["candidate_grants"]:
        return None
    what, left = _by_grants(caller["candidate_grants"], site, provider, fields, proof=proof)
    if what != "allow":
        return True
    return any(field not in left and FOLLOWED.get(field) not in left for field in released)
