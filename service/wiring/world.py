"""Everything that the service takes from outside: time, chance, files, the network."""

import os
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from service.deadline import Clock
from service.engine import Transport, open_transport
from service.live import Live
from service.proxy_credentials import ProxyCredentials
from service.watch import read_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Whom we connect to: by what we know it (``None``: the built-in roots), and how."""

    trust: Live[ssl.SSLContext] | None = None
    proxy_url: str | None = None
    proxy_credentials: Live[ProxyCredentials] | None = None
    connections: int = 64


def dial(peer: Peer) -> Transport:
    """Return the engine for one peer; it follows what is replaced: whom to trust, who we are."""
    credentials = peer.proxy_credentials
    return open_transport(
        trust=peer.trust,
        proxy_url=peer.proxy_url,
        proxy_authorization=None if credentials is None else _current(credentials),
        connections=peer.connections,
    )


def _current(credentials: Live[ProxyCredentials]) -> Callable[[], str]:
    def authorization() -> str:
        return credentials.value.authorization()

    return authorization


REAL: Final = Clock(wall=time.time, monotonic=time.monotonic)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What ``build`` needs and tests replace.

    ``octets`` gives that many random octets, ``fraction`` a random number in [0, 1); neither needs
    more than what it says. ``read`` raises ``OSError``.
    """

    clock: Clock = field(default=REAL)
    octets: Callable[[int], bytes] = os.urandom
    fraction: Callable[[], float] = random.random
    read: Callable[[Path], bytes] = read_file
    dial: Callable[[Peer], Transport] = dial

    def nonce(self) -> str:
        """Return a text that was never given before: 128 random bits."""
        return self.octets(16).hex()
