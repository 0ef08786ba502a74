"""``serve``: run the service until SIGTERM."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from service.app import DISTRIBUTION, Application, Parts, build
from service.cli.check import missing_extras, unreadable
from service.lines import Lines, lines_of
from service.listener import Listener
from service.logs import Log
from service.metrics import Metrics
from service.reception import Terms
from service.server import (
    Addresses,
    Hooks,
    Server,
    Shutdown,
    forbid_dumps,
    raise_descriptors,
    run_process,
    settle_memory,
)
from service.settings.findings import Fault, Faults
from service.settings.listeners import Api
from service.settings.load import Loaded, load
from service.settings.schema import Settings
from service.settings.tracing import Tracing
from service.tracing import Tracer
from service.watch import FileFault
from service.wiring.world import World

BROKEN: Final = 1
"""Of a bug, as Python has it."""
FAULTY: Final = 78
"""``EX_CONFIG`` of sysexits.h."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="run the service",
        description="Runs until SIGTERM or SIGINT, drains and exits 0; exits 78 on faults.",
    )
    parser.add_argument("--config", required=True, metavar="F", type=Path)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve; return the exit status."""
    forbid_dumps()
    _occupy_standard_streams()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    world = World()
    try:
        loaded = _loaded(args.config, world)
    except Faults as faults:
        print(faults, file=sys.stderr)
        return FAULTY
    except OSError as error:
        print(unreadable(args.config, error), file=sys.stderr)
        return FAULTY
    lines = lines_of(sys.stderr)
    try:
        return _run(loaded, world, args.config, lines)
    finally:
        lines.close()


def _occupy_standard_streams() -> None:
    """Let no socket and no file of ours have the number of a stream that was closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _run(loaded: Loaded, world: World, config: Path, lines: Lines) -> int:
    settings = loaded.settings
    log = Log(lines, level=settings.logging.level, form=settings.logging.format)
    log.take_over()
    logging.captureWarnings(capture=True)  # they, too, would wait for whoever reads
    _count_descriptors(settings, log)
    for advice in loaded.advice:
        log.warning("configuration", advice=str(advice))
    if missing := list(missing_extras(loaded, Fault)):
        lines.write("".join(f"{fault}\n" for fault in missing))
        return FAULTY
    tracer, metrics = tracer_of(settings.tracing), Metrics()
    metrics.read("log_dropped", lambda: lines.lost)
    parts = Parts(settings=settings, world=world, log=log, metrics=metrics, tracer=tracer)
    try:
        return run_process(lambda: serve(parts, config))
    except (FileFault, OSError) as error:
        # Only what is between the check above and now: a file that changed, a port that is taken.
        lines.write(f"gigya-credential-proxy: not started: {error}\n")
        return FAULTY
    except Exception as error:  # noqa: BLE001  # Python would tell its message, and wait for a reader
        log.unexpected(error)
        return BROKEN


def tracer_of(row: Tracing) -> Tracer | None:
    """Return what makes spans, if any are asked for; needs the extra."""
    if row.endpoint is None:
        return None
    collector: Any = import_module("service.collector")  # an extra, and two seconds to import
    tracer: Tracer = collector.CollectorTracer(
        collector.exporter(row.endpoint, ca_file=row.ca_file),
        share=row.share,
        build=version(DISTRIBUTION),
    )
    return tracer


HEADROOM: Final = 256
"""Descriptors for what is not a caller's connection: Gigya's, issuers', files, threads."""


def _count_descriptors(settings: Settings, log: Log) -> None:
    """Raise the limit of descriptors, and warn where it is still too low."""
    needed, has = settings.listeners.api.max_connections + HEADROOM, raise_descriptors()
    if 0 <= has < needed:  # an infinite one is negative on some systems
        log.warning("few-descriptors", limit=has, needed=needed)


def _leave(*_: object) -> None:
    """End before there is anything to drain: as process 1 a signal without a handler is lost."""
    raise SystemExit(0)


def _loaded(config: Path, world: World) -> Loaded:
    now = datetime.fromtimestamp(world.clock.wall(), UTC)
    return load(world.read(config), read_file=lambda file: world.read(Path(file)), now=now)


async def serve(
    parts: Parts, config_file: Path, *, ready: Callable[[Addresses], None] = lambda _: None
) -> int:
    """Build and serve until told to stop; return the exit status."""
    application = build(parts, config_file=config_file)
    await application.start()
    server = server_of(application, parts.settings, log=parts.log, ready=ready)
    settle_memory()
    return await server.run()


def server_of(
    application: Application,
    settings: Settings,
    *,
    log: Log,
    ready: Callable[[Addresses], None] = lambda _: None,
) -> Server:
    """Return the server of ``application``, not running."""
    api, management = settings.listeners.api, settings.listeners.management

    def started(addresses: Addresses) -> None:
        application.lifecycle.began()
        log.info(
            "listening",
            api=f"{addresses.api.host}:{addresses.api.port}",
            management=f"{addresses.management.host}:{addresses.management.port}",
            tls=application.tls is not None,
        )
        ready(addresses)

    def draining() -> None:
        application.lifecycle.drain()
        log.info("draining")

    callers_door = Listener(
        application.api,
        name="api",
        host=api.host,
        port=api.port,
        terms=_terms(api),
        tls=application.tls,
        observe=application.refused,
        turn_away=application.turn_away,
    )
    operators_door = Listener(
        application.management,
        name="management",
        host=management.host,
        port=management.port,
        observe=application.refused,
    )
    application.metrics.read("connections", lambda: callers_door.connections, "api")
    application.metrics.read("connections", lambda: operators_door.connections, "management")
    return Server(
        callers_door,
        operators_door,
        shutdown=Shutdown(delay=settings.shutdown.delay, drain=settings.shutdown.drain),
        hooks=Hooks(
            started=started,
            draining=draining,
            refusing=application.lifecycle.refuse,
            reload=application.reload,
            closers=[application.lifecycle.aclose],
            failed=lambda what: log.error("shutdown", failed=what),
        ),
    )


def _terms(api: Api) -> Terms:
    return Terms(
        header_timeout=api.header_timeout,
        body_timeout=api.body_timeout,
        idle_timeout=api.idle_timeout,
        max_connections=api.max_connections,
        max_in_flight=api.max_in_flight,
        max_connection_age=api.tls.max_connection_age if api.tls else None,
    )
