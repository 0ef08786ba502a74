"""``explain``: the rule that allows a caller something, or why none does."""

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from service.cli.check import unreadable
from service.errors import ServiceError
from service.model import CallerName, SiteName
from service.named import Named, named
from service.policy import DENIALS, Decision, Grant, Policy, decide, describe_grant
from service.providers import Row
from service.rulebook import Catalogues, catalogues_of, policy_of
from service.settings.findings import Faults
from service.settings.load import load

ALLOWED: Final = 0
DENIED: Final = 1
FAULTY: Final = 78


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "explain",
        help="say which rule allows a caller something, or why none does",
        description="Exits 0 if it is allowed, 1 if it is denied, 78 on faults. Reads no secret.",
    )
    parser.add_argument("--config", required=True, metavar="F", type=Path)
    parser.add_argument("--caller", required=True, metavar="C", help="name under callers")
    parser.add_argument("--site", required=True, metavar="S", help="name under sites")
    parser.add_argument("--provider", required=True, metavar="P", help="canonical name or alias")
    parser.add_argument(
        "--field",
        action="append",
        metavar="X",
        help="Gigya's or the provider's name; may be repeated; left out: all that is granted",
    )
    parser.add_argument(
        "--user-proof", action="store_true", help="as if the user had been proved to be present"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the explanation; return the exit status."""
    try:
        text = args.config.read_bytes()
        settings = load(text, read_file=None, now=datetime.now(UTC)).settings
    except OSError as error:
        print(unreadable(args.config, error), file=sys.stderr)
        return FAULTY
    except Faults as faults:
        print(faults, file=sys.stderr)
        return FAULTY
    policy, catalogues = policy_of(settings), catalogues_of(settings)
    if args.caller not in policy.callers:
        print("denied: no caller of that name is configured")
        print(f"callers: {', '.join(policy.callers) or 'none'}")
        return DENIED
    if args.site not in catalogues:
        print("denied: no site of that name is configured")
        print(f"sites: {', '.join(catalogues)}")
        return DENIED
    try:
        row, fields = _named(args, policy, catalogues)
    except ServiceError as error:
        print(f"denied: {error.code}: {error.detail}")
        return DENIED
    decision = decide(
        policy,
        caller=CallerName(args.caller),
        site=args.site,
        provider=row.name,
        fields=fields,
        has_user_proof=args.user_proof,
    )
    print(*explanation(policy, decision, args, row), sep="\n")
    return DENIED if decision.missing else ALLOWED


def _named(args: argparse.Namespace, policy: Policy, catalogues: Catalogues) -> Named:
    return named(
        policy,
        catalogues,
        caller=CallerName(args.caller),
        site=SiteName(args.site),
        provider=args.provider,
        fields=args.field,
    )


def explanation(
    policy: Policy, decision: Decision, args: argparse.Namespace, row: Row
) -> Iterator[str]:
    """Yield the lines for the operator, who may see what callers may not."""
    if decision.missing is None:
        fields = ", ".join(sorted(decision.allowed))
        yield f"allowed: {args.caller} may have {fields} of {row.name} at {args.site}"
    else:
        yield f"denied: missing {decision.missing}: {DENIALS[decision.missing]}"
    if decision.rule is not None:
        yield f"rule: {decision.rule}"
    if decision.needs_user_proof:
        yield "user proof: the decision rests on it"
    if decision.would_allow is not None:
        yield f"candidate grants: would {_by_candidates(decision)}"
    if decision.missing is not None:
        yield from _what_there_is(policy, CallerName(args.caller))


def _by_candidates(decision: Decision) -> str:
    if not decision.would_allow:
        return "deny this"
    less = decision.would_deny(decision.allowed)
    return f"release only {', '.join(sorted(decision.would_allow))}" if less else "allow this"


def _what_there_is(policy: Policy, caller: CallerName) -> Iterator[str]:
    for at, grant in enumerate(policy.callers[caller].grants):
        yield f"{caller}/grants[{at}]: {_in_words(grant)}"


def _in_words(grant: Grant) -> str:
    shown = describe_grant(grant)
    providers = shown["providers"]
    listed = providers if isinstance(providers, str) else ", ".join(providers)
    proof = ", with user proof" if grant.needs_user_proof else ""
    return f"site {grant.site}, providers {listed}, fields {', '.join(shown['fields'])}{proof}"
