"""``simulate``: the Gigya simulator alone, for staging and for trying things by hand."""

import argparse
import asyncio
import json
import re
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from service.simulator import Knob, Knobs, Seeded, Simulator, build, knob_json, serving
from service.simulator.handout import Handout
from service.simulator.material import MaterialFault, made_from, server_context
from service.simulator.tls import LOOPBACK
from service.simulator.world import DATA_CENTERS

PORT: Final = 9321


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command's own parser; returns it."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "simulate", help="serve the Gigya simulator until Ctrl-C"
    )
    parser.add_argument(
        "--host", type=_ascii, default="127.0.0.1", help="address to listen on (%(default)s)"
    )
    parser.add_argument(
        "--port", type=_up_to(65_535), default=PORT, help="0 for a free one (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=_ascii, default="0", help="same seed, same users and secrets"
    )
    parser.add_argument(
        "--users", type=_up_to(1_000_000), default=0, help="load-0, load-1, ... this many more"
    )
    parser.add_argument("--data-center", default=DATA_CENTERS[0], choices=DATA_CENTERS)
    parser.add_argument(
        "--keys-dir", type=Path, help="secrets are read here, or made and written (a temporary one)"
    )
    parser.add_argument(
        "--tls-dir", type=Path, help="serve HTTPS; ca.pem and server.pem are read here, or made"
    )
    parser.add_argument(
        "--tls-name",
        action="append",
        default=[],
        type=_ascii,
        help="one more name in the certificate",
    )
    parser.add_argument(
        "--strict-http",
        action="store_true",
        help="refuse secrets over plain HTTP on loopback too, as Gigya does",
    )
    parser.add_argument(
        "--knob", action="append", default=[], type=_knob, help="e.g. '{\"delay\": 0.2}'"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; 0 then, 1 if the keys or the port are not to be had."""
    return asyncio.run(_until_signal(args))


async def simulate(
    args: argparse.Namespace, *, say: Callable[[str], Any], stop: asyncio.Event
) -> int:
    """Serve until ``stop`` is set; what a user should know goes to ``say`` line by line."""
    with ExitStack() as stack:
        keys = args.keys_dir or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            made = made_from(
                keys,
                seed=args.seed,
                now=time.time(),
                data_center=args.data_center,
                load=args.users,
            )
            context = _context(args)
            await _serve(args, made, keys, context, say=say, stop=stop)
        except (MaterialFault, OSError) as error:
            print(f"simulate: {error}", file=sys.stderr)
            return 1
    return 0


async def _until_signal(args: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await simulate(args, say=lambda line: print(line, flush=True), stop=stop)


async def _serve(  # one call, everything it shows or serves
    args: argparse.Namespace,
    made: Seeded,
    keys: Path,
    context: ssl.SSLContext | None,
    *,
    say: Callable[[str], Any],
    stop: asyncio.Event,
) -> None:
    simulator = build(
        made.world, Knobs(*args.knob), loopback_is_secure=not args.strict_http, has_control=True
    )
    async with serving(simulator, host=args.host, port=args.port, context=context) as address:
        ca_file = args.tls_dir / "ca.pem" if args.tls_dir else None
        handout = Handout(
            made=made, keys=keys, address=address, ca_file=ca_file, is_strict=args.strict_http
        )
        for line in handout.lines():
            say(line)
        await stop.wait()
    say(f"Stopped after {_counted(simulator)}.")


def _context(args: argparse.Namespace) -> ssl.SSLContext | None:
    if args.tls_dir is None:
        return None
    return server_context(args.tls_dir, (*LOOPBACK, *args.tls_name))


def _up_to(most: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or int(text) > most:
            raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {most}")
        return int(text)

    return whole


def _ascii(text: str) -> str:
    if not re.fullmatch("[!-~]+", text):
        raise argparse.ArgumentTypeError("must be visible characters of ASCII")
    return text


def _knob(text: str) -> Knob:
    try:
        return knob_json.read(json.loads(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _counted(simulator: Simulator) -> str:
    total = simulator.calls.total
    return "one call" if total == 1 else f"{total} calls"
