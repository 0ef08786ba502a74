from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import floods as module
from service.errors import RateLimited
from service.floods import Aggregate, Floods, peer_of
from service.limits import Rate
from tests.test_limits import Time

BAD: Final = "192.0.2.1"
GOOD: Final = "192.0.2.2"


def floods(time: Time, *, per_peer: float = 2, all_peers: float = 100) -> Floods:
    """Return limits with these bursts and a rate of one a second."""
    return Floods(per_peer=Rate.of(1, per_peer), all_peers=Rate.of(1, all_peers), clock=time.clock)


def is_admitted(what: Floods, peer: str) -> bool:
    """Tell whether the peer may try."""
    try:
        what.admit(peer)
    except RateLimited:
        return False
    return True


class TestPerPeer:
    def test_refuses_who_fails_too_often(self) -> None:
        """After its burst of failures a peer is refused unheard, until the rate lets it try."""
        time = Time()
        what = floods(time)
        assert [True, True] == [what.failed(BAD) for _ in range(2)]
        assert not is_admitted(what, BAD)
        assert is_admitted(what, GOOD)
        time.now += 1
        assert is_admitted(what, BAD)

    def test_success_costs_nothing(self) -> None:
        """Only failures count."""
        what = floods(Time(), per_peer=1)
        assert all(is_admitted(what, GOOD) for _ in range(1000))

    def test_says_when_to_come_back(self) -> None:
        """The wait is until the peer may try again."""
        what = floods(Time(), per_peer=1)
        what.failed(BAD)
        with pytest.raises(RateLimited) as caught:
            what.admit(BAD)
        assert ("flood", 1.0) == (caught.value.reason, caught.value.retry_after)

    def test_forgets_who_has_behaved(self) -> None:
        """A peer whose failures are long ago takes no room."""
        time = Time()
        what = floods(time)
        what.failed(BAD)
        time.now += 2
        assert is_admitted(what, BAD)
        assert {} == what._peers

    def test_remembers_so_many(self) -> None:
        """The table of peers is bounded; who failed longest ago is forgotten."""
        what = floods(Time(), per_peer=1, all_peers=10**6)
        for at in range(module.PEERS + 1):
            what.failed(f"peer-{at}")
        assert module.PEERS == len(what._peers)
        assert is_admitted(what, "peer-0")
        assert not is_admitted(what, "peer-1")


class TestAllPeers:
    def test_bounds_the_records(self) -> None:
        """Beyond the total, failures have no record of their own."""
        what = floods(Time(), all_peers=3)
        told = [what.failed(f"peer-{at}") for at in range(5)]
        assert [True, True, True, False, False] == told

    def test_does_not_keep_good_callers_out(self) -> None:
        """A flood from many addresses refuses those that take part, and nobody else."""
        what = floods(Time(), all_peers=3)
        for at in range(5):
            what.failed(f"peer-{at}")
        assert not is_admitted(what, "peer-0")
        assert is_admitted(what, GOOD)


class TestAggregates:
    def test_count_what_was_not_recorded(self) -> None:
        """Refusals and unrecorded failures are counted by peer, with first and last time."""
        time = Time(now=1000.0)
        what = floods(time, per_peer=1)
        what.failed(BAD)
        time.now += 0.25
        assert not is_admitted(what, BAD)
        time.now += 0.25
        what.failed(BAD)
        assert (Aggregate(peer=BAD, count=2, since=1000.25, until=1000.5),) == what.drain()
        assert () == what.drain()

    def test_are_bounded(self) -> None:
        """So many peers are told apart; the rest share one count."""
        what = floods(Time(), per_peer=1, all_peers=1)
        for at in range(module.TOLD_APART + 11):
            what.failed(f"peer-{at}")
        counted = what.drain()
        assert module.TOLD_APART + 1 == len(counted)
        assert (None, 10) == (counted[-1].peer, counted[-1].count)

    @given(
        steps=st.lists(
            st.tuples(st.floats(0, 1), st.sampled_from(["a", "b", "c"])), min_size=1, max_size=80
        )
    )
    def test_every_failure_is_told_once(self, steps: list[tuple[float, str]]) -> None:
        """Own records and counts together are all attempts; own records keep to the bounds."""
        time = Time()
        what = floods(time, per_peer=2, all_peers=4)
        start, told = time.now, 0
        for gap, peer in steps:
            time.now += gap
            if is_admitted(what, peer):
                told += what.failed(peer)
        assert len(steps) == told + sum(row.count for row in what.drain())
        assert told <= 4 + (time.now - start) + 1e-6


class TestPeerOf:
    @pytest.mark.parametrize(
        ("address", "peer"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8::ffff:1", "2001:db8::/64"),
            ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("fe80::1%eth0", "fe80::/64"),
            ("not:an:address", "unknown"),
            (None, "unknown"),
        ],
    )
    def test_is_what_one_attacker_has(self, address: str | None, peer: str) -> None:
        """An IPv4 address is one peer, an IPv6 /64 is one, and what is neither shares one."""
        assert peer == peer_of(address)
