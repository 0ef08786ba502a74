"""The audit section of the configuration to a journal."""

from collections.abc import Callable, Sequence
from pathlib import Path

from service.audit.assembly import SinkOptions, assemble
from service.audit.fingerprints import AuditKey, BadAuditKey, Keyring
from service.audit.journal import Journal
from service.audit.surroundings import Observer, Surroundings
from service.floods import Aggregate
from service.live import Live
from service.settings.audit import Audit
from service.watch import Change, Source, Watched, each_of
from service.wiring.world import World


def keyring(audit: Audit, *, world: World, changed: Callable[[Change], None]) -> Watched[Keyring]:
    """Return the audit keys, watched; raises ``FileFault`` where they cannot be used."""

    def parse(contents: Sequence[bytes]) -> Keyring:
        return Keyring(tuple(each_of(contents, AuditKey.from_file)))

    source = Source(
        name="audit-keys",
        paths=[Path(file) for file in audit.key_files],
        parse=parse,
        told=(BadAuditKey,),
        read=world.read,
    )
    return Watched.open(source, changed)


def journal(
    audit: Audit,
    keys: Watched[Keyring],
    *,
    world: World,
    observer: Observer,
    build: str,
    config_hash: Live[str],
    flooding: Callable[[], Sequence[Aggregate]],
) -> Journal:
    """Return the journal, not started."""
    around = Surroundings(
        keys=keys.live,
        clock=world.clock,
        random=world.octets,
        build=build,
        boot=world.nonce(),
        config_hash=config_hash,
        flooding=flooding,
    )
    options = [SinkOptions(**sink.model_dump()) for sink in audit.sinks]
    return assemble(options, around, observer=observer, accept=audit.accept)
