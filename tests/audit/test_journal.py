import asyncio
import errno
from contextlib import nullcontext
from typing import Any, cast

import pytest

from service.audit.fingerprints import Keyring
from service.audit.gate import Accept
from service.deadline import Deadline
from service.errors import AuditUnavailable, UpstreamTimeout
from service.floods import Aggregate
from service.model import Uid
from service.secret import Secret
from tests.audit.fakes import KEY, OLD_KEY, Desk, InlineWorker, SlowWorker, desk
from tests.virtual_time import VIRTUAL, virtual_clock


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """All of this waits on timers only."""
    return VIRTUAL


def outcomes(made: Desk) -> list[list[str]]:
    return [paper.kinds() for paper in made.papers]


async def refused(made: Desk) -> float:
    """Commit a release that must be refused; return the seconds that took."""
    begun = asyncio.get_running_loop().time()
    with pytest.raises(AuditUnavailable):
        await made.entry().commit()
    return asyncio.get_running_loop().time() - begun


class TestRelease:
    async def test_recorded_before_it_returns(self) -> None:
        """When the commit of a release returns, its record is on the sink."""
        made = await desk()
        await made.entry().commit()
        assert [["open", "released"]] == outcomes(made)

    async def test_commits_once(self) -> None:
        """A second commit writes nothing."""
        made = await desk()
        entry = made.entry()
        await entry.commit()
        await entry.commit()
        assert [["open", "released"]] == outcomes(made)

    async def test_forgets_secrets(self) -> None:
        """After the commit the entry holds neither UID nor tokens."""
        made = await desk()
        entry = made.entry()
        entry.user = Secret("sentinel-uid")
        await entry.commit()
        assert [None] * 3 == [entry.uid, entry.user, entry.tokens]

    @pytest.mark.parametrize("accept", ["any", "all"])
    async def test_no_sink_no_release(self, accept: Accept) -> None:
        """With the only sink broken, nothing is released."""
        made = await desk(InlineWorker(), accept=accept)
        made.papers[0].broken = OSError(errno.EIO, "broken")
        await refused(made)

    async def test_any_survives_a_black_hole(self) -> None:
        """Under any, a sink that hangs loses nothing and delays nobody."""
        made = await desk(InlineWorker(), SlowWorker(0.0))
        worker = made.benches[1].worker
        assert isinstance(worker, SlowWorker)
        worker.seconds = None
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for _ in range(100):
            await made.entry().commit()
        assert begun == loop.time()
        await asyncio.sleep(0.1)
        assert {"a": True, "b": False} == made.journal.admitted
        assert ["open", *["released"] * 100] == outcomes(made)[0]

    async def test_all_refuses_with_a_black_hole(self) -> None:
        """Under all, a sink that hangs costs its deadline once, and then nothing."""
        made = await desk(InlineWorker(), SlowWorker(0.0), accept="all")
        worker = made.benches[1].worker
        assert isinstance(worker, SlowWorker)
        worker.seconds = None
        waits = [await refused(made) for _ in range(3)]
        assert [pytest.approx(0.05), 0.0, 0.0] == waits

    async def test_all_takes_back(self) -> None:
        """Under all, the sink that had accepted is told that nothing was released."""
        made = await desk(InlineWorker(), SlowWorker(0.0), accept="all")
        worker = made.benches[1].worker
        assert isinstance(worker, SlowWorker)
        worker.seconds = None
        await refused(made)
        worker.let_go()
        await asyncio.sleep(10)
        assert ["open", "released", "release-withdrawn", "audit-unavailable"] == outcomes(made)[0]
        assert ["open", "released", "gap", "release-withdrawn"] == outcomes(made)[1]

    async def test_recovers(self) -> None:
        """A refused release leaves its record when the sink is healed, and the next one passes."""
        made = await desk()
        made.papers[0].broken = OSError(errno.EIO, "broken")
        await refused(made)
        made.papers[0].broken = None
        await asyncio.sleep(10)
        await made.entry().commit()
        assert [["open", "gap", "released"]] == outcomes(made)

    @pytest.mark.parametrize(("accept", "is_enough"), [("any", True), ("all", False)])
    async def test_says_beforehand(self, accept: Accept, is_enough: bool) -> None:  # noqa: FBT001  # a parameter
        """Whether a release could pass is known before anything is done for it, and counted."""
        made = await desk(InlineWorker(), SlowWorker(None), accept=accept)
        assert [True, False] == list(made.journal.admitted.values())
        if is_enough:
            made.journal.require_sinks()
            made.papers[0].broken = OSError(errno.EIO, "broken")
            await refused(made)
        with pytest.raises(AuditUnavailable):
            made.journal.require_sinks()
        assert ("withdrew", "audit-unavailable") == made.observer.told[-1]

    async def test_refusal_says_so(self) -> None:
        """The entry of a refused release names no token as released, and answers 503."""
        made = await desk()
        made.papers[0].broken = OSError(errno.EIO, "broken")
        entry = made.entry()
        with pytest.raises(AuditUnavailable):
            await entry.commit()
        said = (entry.outcome, entry.status, entry.released, entry.names_released)
        assert ("audit-unavailable", 503, (), ()) == said

    async def test_out_of_time(self) -> None:
        """A request whose own deadline ends at the gate is late; the audit has not failed."""
        made = await desk(SlowWorker(0.0), clock=virtual_clock())
        worker = made.benches[0].worker
        assert isinstance(worker, SlowWorker)
        worker.seconds = 0.02
        entry = made.entry()
        entry.deadline = Deadline.after(0.001, virtual_clock())
        with pytest.raises(UpstreamTimeout) as raised:
            await entry.commit()
        assert "deadline-at-audit" == raised.value.reason
        await asyncio.sleep(1)
        expected = ["open", "released", "release-withdrawn", "upstream-timeout"]
        assert expected == sorted(made.papers[0].kinds(), key=expected.index)
        assert (504, "deadline-at-audit") == (entry.status, entry.reason)
        assert [] == made.observer.told

    async def test_caller_goes_away(self) -> None:
        """A release that is cancelled at the gate is withdrawn, and recorded as cancelled."""
        made = await desk(SlowWorker(0.0))
        worker = made.benches[0].worker
        assert isinstance(worker, SlowWorker)
        worker.seconds = 0.01
        task = asyncio.ensure_future(made.entry().commit())
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(1)
        expected = [["open", "released", "release-withdrawn", "cancelled"]]
        assert expected == [sorted_after_open(kinds) for kinds in outcomes(made)]
        assert ("withdrew", "cancelled") in made.observer.told


def sorted_after_open(kinds: list[str]) -> list[str]:
    """Return the kinds with the two records of a withdrawal in one order."""
    order = ["open", "released", "release-withdrawn", "cancelled"]
    return sorted(kinds, key=order.index)


class TestOthers:
    @pytest.mark.parametrize("outcome", ["released", "access-denied"])
    async def test_a_bug_of_the_record(self, outcome: str) -> None:
        """An entry that cannot be described leaves a record that says so, and releases nothing."""
        made = await desk()
        entry = made.entry()
        entry.outcome, entry.uid = outcome, cast("Uid", object())
        with pytest.raises(AttributeError) if outcome == "released" else nullcontext():
            await entry.commit()
        await asyncio.sleep(1)
        record = made.papers[0].records[1]
        found = [record.get(n) for n in ("kind", "outcome", "reason", "status", "audit_id")]
        assert ["request", "internal-error", "record-failed", 500, entry.audit_id] == found
        assert not {"tokens", "user", "released"} & set(record)

    async def test_a_bug_leaves_its_record(self) -> None:
        """An entry that nobody filled says internal-error."""
        made = await desk()
        await made.journal.open(route="/v1/grants").commit()
        await asyncio.sleep(1)
        assert [["open", "internal-error"]] == outcomes(made)

    async def test_never_raises(self) -> None:
        """A record that is no release cannot fail its request."""
        made = await desk()
        made.papers[0].broken = OSError(errno.EIO, "broken")
        await made.journal.open().commit()
        await asyncio.sleep(1)
        assert {"a": False} == made.journal.admitted

    async def test_counted(self) -> None:
        """Entries of a flood become one record with their number."""
        made = await desk()
        for _ in range(1000):
            entry = made.journal.open()
            entry.outcome, entry.reason, entry.is_counted = "rate-limited", "per-peer", True
            await entry.commit()
        await asyncio.sleep(2)
        assert [["open", "aggregate"]] == outcomes(made)
        counts = made.papers[0].records[-1]["counts"]
        assert [{"outcome": "rate-limited", "reason": "per-peer", "count": 1000}] == counts

    async def test_a_release_is_never_only_counted(self) -> None:
        """A release has its own record even if it was marked as one of a flood."""
        made = await desk()
        entry = made.entry()
        entry.is_counted = True
        await entry.commit()
        assert [["open", "released"]] == outcomes(made)


class TestLife:
    async def test_checkpoints(self) -> None:
        """Once a minute each sink gets a checkpoint and its head is exported."""
        made = await desk()
        await asyncio.sleep(125)
        assert [["open", "checkpoint", "checkpoint"]] == outcomes(made)
        assert 2 == made.observer.heads["a"].sequence

    async def test_close(self) -> None:
        """Closing tells what was counted, closes the chain and exports the last head."""
        made = await desk()
        entry = made.journal.open()
        entry.is_counted = True
        await entry.commit()
        await made.journal.close()
        assert [["open", "aggregate", "close"]] == outcomes(made)
        assert made.journal.heads == made.observer.heads

    async def test_close_takes_its_time_only(self) -> None:
        """A sink that hangs does not keep the process from ending."""
        made = await desk(SlowWorker(0.0))
        worker = made.benches[0].worker
        assert isinstance(worker, SlowWorker)
        worker.seconds = None
        begun = asyncio.get_running_loop().time()
        await made.journal.close(2.0)
        assert asyncio.get_running_loop().time() - begun <= 2.0

    async def test_new_key(self) -> None:
        """After a rotation of keys the newest writes, and the chain goes on."""
        made = await desk()
        made.around.keys.replace(Keyring((OLD_KEY, KEY)))
        await made.entry().commit()
        hashes = [record["hash"][:8] for record in made.papers[0].records]
        assert [KEY.id, OLD_KEY.id] == hashes

    async def test_rotate(self) -> None:
        """A signal to rotate does not disturb sinks that have no files."""
        made = await desk()
        made.journal.rotate()
        await made.entry().commit()
        assert [["open", "released"]] == outcomes(made)


class TestTlsRefused:
    async def test_is_recorded(self) -> None:
        """A refused handshake has a record of its own, with its peer and why."""
        made = await desk()
        made.journal.tls_refused("10.0.0.9", "unknown-ca", is_counted=False)
        await asyncio.sleep(0)
        record = made.papers[0].records[1]
        assert ("tls-refused", "10.0.0.9", "unknown-ca") == (
            record["kind"],
            record["peer"],
            record["reason"],
        )

    async def test_is_counted_in_a_flood(self) -> None:
        """Of a flood there is one record a second, with counts, and from whom it came."""
        made = await desk(flooding=lambda: (Aggregate(peer="10.0.0.9", count=3, since=0, until=1),))
        for _ in range(3):
            made.journal.tls_refused("10.0.0.9", "unknown-ca", is_counted=True)
        await asyncio.sleep(1.1)
        record = made.papers[0].records[1]
        assert [["open", "aggregate"]] == outcomes(made)
        counts = [{"outcome": "tls-refused", "reason": "unknown-ca", "count": 3}]
        assert counts == record["counts"]
        assert [("10.0.0.9", 3)] == [(peer["peer"], peer["count"]) for peer in record["peers"]]
