"""``check``: everything that is wrong with a configuration, at once, never a value."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

from service.api.members import MEMBERS, Unfit
from service.cli.live import ask_gigya
from service.cli.live_report import LiveReport, Question
from service.settings.contents import LARGEST
from service.settings.files import failing
from service.settings.findings import Advice, Fault, Faults, Finding, shown
from service.settings.load import Loaded, load

FINE: Final = 0
UNLIKE: Final = 1
"""The configuration has no faults, but Gigya's answer is not what it leads to expect."""
FAULTY: Final = 78
"""EX_CONFIG of sysexits.h."""

Kind = TypeVar("Kind", Fault, Advice)
Found = tuple[Sequence[Fault], Sequence[Advice]]
Ask = Callable[[Loaded, Question], LiveReport]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to ``subparsers``."""
    parser = subparsers.add_parser(
        "check",
        help="say everything that is wrong with a configuration",
        description="Exits 0 without faults, 78 with any, 1 if --live shows what should not be.",
    )
    parser.add_argument("--config", required=True, metavar="F", type=Path)
    parser.add_argument(
        "--without-files", action="store_true", help="do not read the files that it names"
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    live = parser.add_argument_group("ask the real Gigya once (with checkParams)")
    live.add_argument("--live", metavar="SITE", help="name under sites")
    live.add_argument("--uid", metavar="U", help="a user of that site")
    live.add_argument("--provider", metavar="P", help="a provider the user is connected to")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, ask: Ask = ask_gigya, now: datetime | None = None) -> int:
    """Print what there is to say, and return the exit status."""
    loaded, faults, advice = _judged(args, now or datetime.now(UTC))
    is_asked = any(given is not None for given in (args.live, args.uid, args.provider))
    if is_asked and loaded is not None and not faults:
        faults = tuple(_misasked(args, loaded))
    report = None
    if is_asked and loaded is not None and not faults:
        report = ask(loaded, Question(site=args.live, provider=args.provider, uid=args.uid))
    _print(args, loaded, (faults, advice), report)
    if faults or loaded is None:
        return FAULTY
    return FINE if report is None or report.is_fine else UNLIKE


def read_file(path: str) -> bytes:
    """Return a file's octets, not more than are needed to see that it is too large."""
    with Path(path).open("rb") as file:
        return file.read(LARGEST + 1)


def _judged(
    args: argparse.Namespace, now: datetime
) -> tuple[Loaded | None, tuple[Fault, ...], tuple[Advice, ...]]:
    try:
        text = read_file(args.config)
    except OSError as error:
        return None, (unreadable(args.config, error),), ()
    reader = None if args.without_files else read_file
    try:
        loaded = load(text, read_file=reader, now=now)
    except Faults as found:
        return None, found.faults, found.advice
    if args.without_files:
        # Nothing is known of the place where it runs: what is installed there may be another.
        return loaded, (), (*loaded.advice, *missing_extras(loaded, Advice))
    there = _homeless(loaded)
    return loaded, tuple(missing_extras(loaded, Fault)), (*loaded.advice, *there)


def unreadable(config: Path, error: OSError) -> Fault:
    """Return the fault of a configuration that cannot be read."""
    return Fault(path=(), message=f"{config} is {failing(error)}")


def missing_extras(loaded: Loaded, kind: type[Kind]) -> Iterator[Kind]:
    """Yield what is asked for and cannot be had from what is installed here."""
    if loaded.settings.tracing.endpoint is None:
        return
    try:
        import_module("service.collector")
    except ImportError:
        yield kind(path=("tracing", "endpoint"), message=UNTRACED)


UNTRACED: Final = "needs what is not installed: pip install 'gigya-credential-proxy[tracing]'"


def _homeless(loaded: Loaded) -> Iterator[Advice]:
    """Yield the sinks whose directory is not here; where the service runs it may be."""
    for at, sink in enumerate(loaded.settings.audit.sinks):
        if sink.path is not None and not Path(sink.path).parent.is_dir():
            message = "is in a directory that does not exist here"
            yield Advice(path=("audit", "sinks", at, "path"), message=message)


def _misasked(args: argparse.Namespace, loaded: Loaded) -> Iterator[Fault]:
    """Yield what is wrong with the question to Gigya."""
    site, sites = args.live, loaded.settings.sites
    told = {
        "--live": "is missing" if site is None else "" if site in sites else "names no site",
        "--uid": _unfit("uid", args.uid),
        "--provider": _unfit("provider", args.provider),
        "--without-files": "cannot be used with --live" if args.without_files else "",
    }
    for option, message in told.items():
        if message:
            yield Fault(path=(option,), message=message)


def _unfit(name: str, value: str | None) -> str:
    """Return what the API would say of that value of its member, nothing where it would take it."""
    if value is None:
        return "is missing"
    try:
        value.encode()  # what a terminal sends in another encoding becomes half surrogate pairs
        _MEMBERS[name].read(value)
    except UnicodeEncodeError:
        return "must be UTF-8"
    except Unfit as error:
        return str(error)
    return ""


_MEMBERS: Final = {member.name: member for member in MEMBERS}


def _print(
    args: argparse.Namespace, loaded: Loaded | None, found: Found, report: LiveReport | None
) -> None:
    faults, advice = found
    digest = None if loaded is None else loaded.settings.fingerprint()
    if args.json:
        document: dict[str, Any] = {
            "faults": list(map(_member, faults)),
            "warnings": list(map(_member, advice)),
            "hash": digest,
            "live": None if report is None else list(report.lines),
        }
        print(json.dumps(document, indent=2))
        return
    for line in (*faults, *(f"warning: {each}" for each in advice), *_lines(report)):
        print(line)
    files = ", files not read" if args.without_files else ""
    known = "" if digest is None else f", hash {digest}"
    told = f"{_counted(faults, 'fault')}, {_counted(advice, 'warning')}{files}{known}"
    print(told, file=sys.stderr)


def _counted(findings: Sequence[Finding], word: str) -> str:
    return f"{len(findings)} {word}{'' if len(findings) == 1 else 's'}"


def _lines(report: LiveReport | None) -> tuple[str, ...]:
    return () if report is None else report.lines


def _member(finding: Finding) -> dict[str, Any]:
    return {"path": shown(finding.path), "message": finding.message, "line": finding.line}
