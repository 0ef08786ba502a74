"""``probe``: asks a running service as an allowed caller, and as those who must get nothing."""

import argparse
import asyncio
import json
import os
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from service.cli import probe_options as options
from service.cli.output import let_go
from service.cli.probe_checks import ALLOWED, CHECKS, Check, Finding, Shown, Verdict, judge
from service.cli.probe_options import UnusableFile
from service.deadline import Clock, Deadline
from service.engine import NoAuthority, open_transport, tls_context
from service.metrics import PROBE_METRICS, Metrics
from service.model import Field
from service.outbound import Outbound, OutboundError
from service.secret import Secret
from service.server import run_process
from service.wiring.world import REAL

SECONDS: Final = 10.0
"""What one request may take."""
MADE_UP: Final = "this-is-nobodys-token"
USAGE: Final = 2

Credentials = dict[Shown, Secret[str] | None]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "probe",
        help="ask a running service for what it must give, and for what it must refuse",
        description="The caller is to be granted providerUID alone, of a synthetic user: then no "
        "token moves. Exits 0 where everything is as it must be, 1 where something is not.",
    )
    parser.add_argument(
        "--url", required=True, type=options.url, help="where the API is, without a path"
    )
    parser.add_argument("--token-file", required=True, type=Path, metavar="F")
    parser.add_argument("--site", required=True, metavar="S")
    parser.add_argument("--provider", required=True, metavar="P")
    parser.add_argument("--uid", required=True, metavar="U", help="UID of the synthetic user")
    parser.add_argument(
        "--other-audience-token-file",
        type=Path,
        metavar="F",
        help="a good token for somebody else, which must be refused; else that is not asked",
    )
    parser.add_argument("--ca-file", type=Path, metavar="F", help="whom to trust instead of all")
    parser.add_argument(
        "--ca-file-may-be-absent",
        action="store_true",
        help="where there is no --ca-file, trust the built-in authorities",
    )
    parser.add_argument("--textfile", type=Path, metavar="F", help="write metrics there as well")
    parser.add_argument(
        "--every", type=options.seconds, metavar="SECONDS", help="go on until SIGTERM"
    )
    parser.add_argument(
        "--metrics-port", type=options.port, metavar="P", help="serve metrics there as well"
    )
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked for; ``url`` has no path."""

    url: str
    site: str
    provider: str
    uid: str


def run(args: argparse.Namespace) -> int:
    """Probe; return the exit status."""
    question = Question(url=args.url, site=args.site, provider=args.provider, uid=args.uid)
    metrics = Metrics(PROBE_METRICS, of_process=False)
    # From now on somebody waits for the first run, and is told if it never comes.
    metrics.set("probe_timestamp_seconds", REAL.wall(), question.site)
    if args.metrics_port is not None:
        try:
            metrics.serve(args.metrics_port)
        except OSError as error:
            print(f"--metrics-port {args.metrics_port}: {error.strerror}", file=sys.stderr)
            return USAGE
    return run_process(lambda: _probe(args, question, metrics))


async def _probe(args: argparse.Namespace, question: Question, metrics: Metrics) -> int:
    while True:
        try:
            status = await _once(args, question, metrics)
        except UnusableFile as error:
            _say(f"a file cannot be used: {error}", sys.stderr)
            status = USAGE
        if args.every is None:
            return status
        await asyncio.sleep(args.every)


async def _once(args: argparse.Namespace, question: Question, metrics: Metrics) -> int:
    context = _context(args) if args.ca_file else None
    credentials: Credentials = {
        Shown.OWN: options.token(args.token_file),
        Shown.NONE: None,
        Shown.MADE_UP: Secret(MADE_UP),
    }
    if args.other_audience_token_file is not None:
        credentials[Shown.OTHER_AUDIENCE] = options.token(args.other_audience_token_file)
    outbound = Outbound(open_transport(context=context, connections=1))
    try:
        findings = await probed(question, credentials, outbound, clock=REAL)
    finally:
        await outbound.aclose()
    tell(metrics, question.site, findings, now=REAL.wall())
    if args.textfile is not None:
        _write(args.textfile, metrics.exposition())
    _say("\n".join(table(findings)), sys.stdout)
    return 0 if is_fine(findings) else 1


async def probed(
    question: Question, credentials: Credentials, outbound: Outbound, *, clock: Clock
) -> Sequence[Finding]:
    """Return what became of each check, one after the other."""
    return [await _checked(check, question, credentials, outbound, clock) for check in CHECKS]


def is_fine(findings: Sequence[Finding]) -> bool:
    """Whether everything is as it must be."""
    return all(each.verdict in {Verdict.GOOD, Verdict.SKIPPED} for each in findings)


def table(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines of a table for people."""
    for each in findings:
        check, took = each.check, f"{each.seconds * 1000:.0f} ms"
        must = f"must {check.must}"
        yield f"{each.verdict:<8}{check.name:<25}{must:<35}{each.got:<28}{took:>8}"


def tell(metrics: Metrics, site: str, findings: Sequence[Finding], *, now: float) -> None:
    """Put the findings into metrics."""
    for each in findings:
        if each.verdict is Verdict.SKIPPED:
            continue
        name = each.check.name
        metrics.set("probe_success", each.verdict is Verdict.GOOD, site, name)
        metrics.set("probe_duration_seconds", each.seconds, site, name)
        if name != ALLOWED:
            metrics.set("probe_got_in", each.verdict is Verdict.GOT_IN, site, name)
    metrics.set("probe_timestamp_seconds", now, site)


async def _checked(
    check: Check, question: Question, credentials: Credentials, outbound: Outbound, clock: Clock
) -> Finding:
    if check.shows not in credentials:
        got = "not asked: no --other-audience-token-file"
        return Finding(check=check, got=got, seconds=0.0, verdict=Verdict.SKIPPED)
    members: dict[str, Any] = {
        "site": question.site,
        "provider": question.provider,
        "uid": question.uid,
        "fields": [Field.PROVIDER_UID],
        **check.members,
    }
    shown, began = credentials[check.shows], clock.monotonic()
    headers = {} if shown is None else {"authorization": f"Bearer {shown.reveal()}"}
    deadline = Deadline.after(SECONDS, clock)
    try:
        if check.asks is None:
            answer = await outbound.send(
                "POST",
                f"{question.url}/v1/provider-tokens",
                headers={"content-type": "application/json", **headers},
                body=json.dumps(members).encode(),
                deadline=deadline,
            )
        else:
            where = f"{question.url}{check.asks}"
            answer = await outbound.send("GET", where, headers=headers, deadline=deadline)
        got, verdict = judge(check, answer)
    except OutboundError as error:
        got, verdict = str(error), Verdict.WRONG
    return Finding(check=check, got=got, seconds=clock.monotonic() - began, verdict=verdict)


def _context(args: argparse.Namespace) -> ssl.SSLContext:
    """Return whom to believe: the CA file, or the built-in authorities where it may be absent."""
    file: Path = args.ca_file
    if args.ca_file_may_be_absent and not file.exists():
        return tls_context()
    with suppress(NoAuthority):
        return tls_context(options.octets(file))
    raise UnusableFile(f"{file} must hold certificates in PEM")


def _write(file: Path, text: bytes) -> None:
    """Put the whole text in place at once: whoever collects it must never see a half."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_bytes(text)
        beside.replace(file)
    except OSError as error:
        raise UnusableFile(f"{file} cannot be written: {error.strerror}") from error


def _say(text: str, stream: TextIO) -> None:
    """Write it; whether anybody reads it changes neither metrics nor status."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        let_go(stream)
