"""CA files of the configuration to what a peer is known by, watched."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from service.engine import NoAuthority, tls_context
from service.watch import Change, Source, Watched
from service.wiring.world import World

Trust = Watched[ssl.SSLContext]


def trust(
    name: str, ca_file: str | None, *, world: World, changed: Callable[[Change], None]
) -> list[Trust]:
    """Return the one CA file of the peer called ``name``, or nothing for the built-in roots.

    Raises ``FileFault`` where it cannot be used.
    """

    def parse(contents: Sequence[bytes]) -> ssl.SSLContext:
        return tls_context(contents[0])

    if ca_file is None:
        return []
    source = Source(
        name=f"authority:{name}",
        paths=[Path(ca_file)],
        parse=parse,
        told=(NoAuthority,),
        read=world.read,
    )
    return [Watched.open(source, changed)]
