"""``audit``: verify the stream, find who got a token, fingerprint a value, show records.

Exit status: 0 fine, 1 found something (tampering; nothing to verify; somebody who got the token),
2 it cannot be done, or a search could not have found everything.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from service.audit import search, survey
from service.audit.findings import Finding
from service.audit.fingerprints import Keyring, new_key
from service.audit.reading import Damaged, Line, Source, Unreadable
from service.audit.survey import Survey
from service.audit.verification import Verifier
from service.cli.audit_inputs import Misused, heads_of, keys_of, sources_of, value
from service.cli.audit_options import prepare
from service.cli.audit_printing import Screen, document, printable, sentence
from service.cli.output import let_go
from service.model import Uid
from service.secret import Secret

FINE: Final = 0
FOUND: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

PARTLY_READ: Final = {"show", "hash"}
"""Commands whose status says nothing that a reader who went away would have needed."""

SHOWN: Final = 100
"""Findings that are printed one by one; the rest is counted."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``audit`` and its commands."""
    parser = subparsers.add_parser("audit", help="verify and search the audit stream")
    commands = parser.add_subparsers(dest="audit_command", required=True)
    prepare(commands)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out one of the commands."""
    screen = Screen()
    try:
        status = RUN[args.audit_command](args, screen)
        sys.stdout.flush()
    except (Misused, Unreadable) as error:
        screen.remark(str(error))
        return USAGE
    except KeyboardInterrupt:
        screen.remark("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        let_go(sys.stdout)
        return FINE if args.audit_command in PARTLY_READ else USAGE
    except OSError as error:
        screen.remark(f"the output cannot be written: {error.strerror}")
        let_go(sys.stdout)
        return USAGE
    return status


def _verify(args: argparse.Namespace, screen: Screen) -> int:
    shown = 0

    def tell(finding: Finding) -> None:
        nonlocal shown
        shown += 1
        if shown <= SHOWN:
            word = "TAMPERED" if finding.is_tampering else "note"
            screen.tell(f"{word}: {finding.where}: {finding.what}")

    verifier = Verifier(keys_of(args), heads_of(args), tell, is_mixed=args.mixed)
    for source in sources_of(args):
        _verify_file(source, verifier, screen)
    verifier.finish()
    if shown > SHOWN:
        screen.tell(f"… and {shown - SHOWN} more")
    return _judge(verifier, screen, is_expected=bool(args.expect))


def _verify_file(source: Source, verifier: Verifier, screen: Screen) -> None:
    with screen.lines_of(source) as lines:
        try:
            for line in lines:
                verifier.read(line)
        except Damaged as error:
            verifier.accuse(source.name, str(error).removeprefix(f"{source.name}: "))
    verifier.end_of_file()


def _judge(verifier: Verifier, screen: Screen, *, is_expected: bool) -> int:
    for state in verifier.chains.values():
        screen.tell(f"chain {state.name}: records {state.first} to {state.head.sequence}")
        screen.tell(f"  head {state.head}")
    if verifier.others:
        screen.tell(f"{verifier.others} other lines were passed over")
    if not (verifier.records or verifier.tampering):
        screen.tell("nothing to verify: no record was found")
        return FOUND
    verdict = "TAMPERED" if verifier.tampering else "intact"
    screen.tell(f"{verdict}: {verifier.records} records in {len(verifier.chains)} chains")
    if not is_expected:
        screen.tell("the tail is not proved: no --expect was given")
    return FOUND if verifier.tampering else FINE


def _who_got(args: argparse.Namespace, screen: Screen) -> int:
    token, keys = Secret(value("token: ", screen.remark, args.files)), keys_of(args)
    fingerprints = search.token_fingerprints(keys, token)
    found, seen = FINE, Survey(survey.TOKENS)
    for record in search.who_got(seen.watch(_lines(args, screen)), fingerprints):
        found = FOUND
        screen.tell(document(record) if args.json else sentence(record))
    return _searched(seen, keys, screen) or found


def _searched(seen: Survey, keys: Keyring | None, screen: Screen) -> int:
    """Say what was searched, and whether the answer can be relied on."""
    said = f"searched {seen.records} records, {seen.releases} releases"
    said += f", keys {', '.join(seen.key_ids) or 'none'}"
    said += f"; {seen.others} other lines" if seen.others else ""
    screen.remark(f"{said}; not verified: run audit verify")
    if not seen.records:
        screen.remark("no record was found, so this is no answer")
        return USAGE
    if keys is not None and (lacking := seen.lacks(keys)):
        ids = ", ".join(lacking)
        screen.remark(f"not searched: what audit key {ids} wrote; give its --key-file too")
        return USAGE
    return FINE


def _hash(args: argparse.Namespace, screen: Screen) -> int:
    given = value("UID: " if args.uid else "token: ", screen.remark)
    keys = keys_of(args)
    found = (
        search.uid_fingerprints(keys, Uid(given))
        if args.uid
        else search.token_fingerprints(keys, Secret(given))
    )
    screen.tell("\n".join(found))
    return FINE


def _show(args: argparse.Namespace, screen: Screen) -> int:
    users: tuple[str, ...] | None = (args.user,) if args.user else None
    keys: Keyring | None = None
    if args.uid:
        uid, keys = Uid(value("UID: ", screen.remark, args.files)), keys_of(args)
        users = tuple(search.uid_fingerprints(keys, uid))
    names = ("caller", "provider", "site", "outcome", "kind", "audit_id", "since", "until")
    wanted = search.Filter(users=users, **{name: getattr(args, name) for name in names})
    seen = Survey(survey.USER)
    for line, _ in search.show(seen.watch(_lines(args, screen)), wanted):
        screen.tell(printable(line.octets.decode("utf-8", "replace")))
    return _searched(seen, keys, screen)


def _key(args: argparse.Namespace, screen: Screen) -> int:
    if args.key_command == "new":
        screen.tell(new_key(os.urandom).decode().rstrip("\n"))
    return FINE


def _lines(args: argparse.Namespace, screen: Screen) -> Iterator[Line]:
    for source in sources_of(args):
        with screen.lines_of(source) as lines:
            yield from lines


RUN: Final[Mapping[str, Callable[[argparse.Namespace, Screen], int]]] = {
    "verify": _verify,
    "who-got": _who_got,
    "hash": _hash,
    "show": _show,
    "key": _key,
}
"""What each command does."""
