"""Callers that change while we run: the whole file is validated, and replaced at once or not."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from service.limits import Limits
from service.live import Live
from service.policy import Policy
from service.rulebook import limits_of, policy_of, providers_of
from service.settings.findings import Faults
from service.settings.load import load
from service.settings.reload import needs_restart
from service.settings.schema import Settings
from service.watch import Change, FileFault, RestartRequired, Source, Watched
from service.wiring.world import World

CONFIGURATION: Final = "configuration"


def configuration(
    path: Path, settings: Settings, *, world: World, changed: Callable[[Change], None]
) -> Watched[Settings]:
    """Return the configuration file, watched; ``settings`` is what was loaded from it."""

    def parse(contents: Sequence[bytes]) -> Settings:
        now = datetime.fromtimestamp(world.clock.wall(), UTC)
        try:
            newer = load(contents[0], read_file=None, now=now).settings
        except Faults as faults:
            raise FileFault(str(faults)) from None
        if fixed := needs_restart(settings, newer):
            told = f"restart-required: {', '.join(fixed)} cannot be changed while running"
            raise RestartRequired(told)
        return newer

    source = Source(name=CONFIGURATION, paths=[path], parse=parse, read=world.read)
    return Watched(source, Live(settings), changed, digest=_digest(source, settings))


def _digest(source: Source[Settings], settings: Settings) -> bytes:
    """Return the digest of the file if it still says ``settings``, else what no file has."""
    try:
        loaded = source.open()
    except FileFault:
        return b""  # the first look tells what has happened to it
    return loaded.digest if loaded.value == settings else b""


class Rules:
    """Policy and limits, which follow the callers of the configuration."""

    def __init__(self, settings: Settings, *, world: World) -> None:
        self.policy: Live[Policy] = Live(policy_of(settings))
        self.limits = Limits(limits_of(settings), clock=world.clock, key=world.octets(32))
        self.providers = providers_of(settings)

    def follow(self, settings: Settings) -> None:
        """Put the callers of ``settings`` in place for requests from now on."""
        self.limits.replace(limits_of(settings))
        self.providers = providers_of(settings)
        self.policy.replace(policy_of(settings))
