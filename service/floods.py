"""Limits before authentication: who fails too often is refused before any credential is read."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Final

from service.deadline import Clock
from service.errors import RateLimited
from service.limits import Bucket, Rate

PEERS: Final = 4096
"""Peers that are remembered; the one that failed longest ago makes room."""

TOLD_APART: Final = 256
"""Peers that have a line of their own in one round of aggregates; the rest share one."""

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """What went without a record of its own: how often, from whom (``None``: others), when.

    ``since`` and ``until`` are UNIX seconds.
    """

    peer: str | None
    count: int
    since: float
    until: float


class Floods:
    """Failed authentications per peer address and in all, counted by this replica alone.

    A peer that has not failed lately is always let through: a flood from elsewhere, from however
    many addresses, does not keep good callers out. Memory is bounded by ``PEERS``.
    """

    def __init__(self, *, per_peer: Rate, all_peers: Rate, clock: Clock) -> None:
        self._per_peer = per_peer
        self._all_peers = all_peers
        self._clock = clock
        self._all = Bucket()
        self._peers: OrderedDict[str, Bucket] = OrderedDict()
        self._untold = _Untold()

    def admit(self, address: str | None) -> None:
        """Refuse a peer that failed too often; raises ``RateLimited`` and counts the refusal."""
        if not self._peers:  # nobody has failed lately, as usual
            return
        peer = peer_of(address)
        bucket = self._peers.get(peer)
        if bucket is None:
            return
        now = self._clock.monotonic()
        if bucket.is_full(self._per_peer, now):
            del self._peers[peer]
            return
        wait = max(bucket.wait(self._per_peer, now), self._all.wait(self._all_peers, now))
        if wait > 0.0:
            self._untold.count(peer, self._clock.wall())
            raise RateLimited("Too many failed authentications.", reason="flood", retry_after=wait)

    def failed(self, address: str | None) -> bool:
        """Count a failed authentication; tell whether it gets a record of its own."""
        peer, now = peer_of(address), self._clock.monotonic()
        bucket = self._peers.pop(peer, None) or Bucket()
        self._peers[peer] = bucket
        if len(self._peers) > PEERS:
            self._peers.popitem(last=False)
        waits = bucket.take(self._per_peer, now), self._all.take(self._all_peers, now)
        is_within = max(waits) == 0.0
        if not is_within:
            self._untold.count(peer, self._clock.wall())
        return is_within

    def drain(self) -> tuple[Aggregate, ...]:
        """Return what went without a record of its own since the last call."""
        untold, self._untold = self._untold, _Untold()
        return untold.aggregates()


class _Untold:
    """Counts by peer, the first ``TOLD_APART`` of them by name."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str | None, tuple[int, float, float]] = {}

    def count(self, peer: str, now: float) -> None:
        """Count one; ``now`` is UNIX seconds."""
        name = peer if peer in self._counts or len(self._counts) < TOLD_APART else None
        count, since, _ = self._counts.get(name, (0, now, now))
        self._counts[name] = (count + 1, since, now)

    def aggregates(self) -> tuple[Aggregate, ...]:
        """Return the counts."""
        return tuple(
            Aggregate(peer=peer, count=count, since=since, until=until)
            for peer, (count, since, until) in self._counts.items()
        )


@lru_cache(maxsize=PEERS)  # asked for more than once with each request
def peer_of(address: str | None) -> str:
    """Return what counts as one peer: an IPv4 address, or an IPv6 network of /64.

    Whoever has one IPv6 address has the whole /64 to come from.
    """
    if address is None:
        return UNKNOWN
    if ":" not in address:
        return address
    try:
        exact = IPv6Address(address)
    except ValueError:
        return UNKNOWN
    network = ip_network((int(exact), 64), strict=False)
    return str(exact.ipv4_mapped or network)
