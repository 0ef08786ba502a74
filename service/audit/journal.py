"""The audit's front door: opens an entry for each request and is the gate for releases."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, NoReturn

from service.audit import controls
from service.audit.chain import Head
from service.audit.gate import Accept, Pledge, rule
from service.audit.record import (
    CANCELLED,
    RELEASED,
    UNAVAILABLE,
    Entry,
    canonical,
    describe,
)
from service.audit.sink import Sink
from service.audit.surroundings import Observer, Surroundings
from service.audit.tally import Label, Tally
from service.endings import Endings
from service.errors import AuditUnavailable, UpstreamTimeout

CHECKPOINT: Final = 60.0
"""Seconds between checkpoints, and between exports of the heads."""
AGGREGATE: Final = 1.0
"""Seconds over which counted requests make one record."""
EXPIRED: Final = "deadline-at-audit"
"""The reason where the request's own deadline ended at the gate."""
TOO_LATE: Final = "The request's time ended before its audit record was written."
REFUSED: Final = "The audit record could not be written, so nothing is released."


class Journal:
    """Opens entries, and lets a release pass when the sinks have its record."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        around: Surroundings,
        *,
        observer: Observer,
        accept: Accept = "any",
    ) -> None:
        self._sinks = tuple(sinks)
        self._around = around
        self._accept = accept
        self._needs, self._can_spare = rule(accept, len(self._sinks))
        self._observer = observer
        self._tally = Tally()
        self._endings = Endings(Pledge.expire)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def heads(self) -> Mapping[str, Head]:
        """Each sink's sequence and hash, for metrics and logs: no file can prove its own tail."""
        return {sink.name: sink.head for sink in self._sinks}

    @property
    def admitted(self) -> Mapping[str, bool]:
        """Whether each sink takes records or is ejected."""
        return {sink.name: sink.absence is None for sink in self._sinks}

    def require_sinks(self) -> None:
        """Raise ``AuditUnavailable`` where no release could pass now; probes heal the sinks."""
        can_spare = self._can_spare
        for sink in self._sinks:
            if sink.absence is not None:
                can_spare -= 1
        if can_spare < 0:
            self._observer.withdrew(UNAVAILABLE)
            raise AuditUnavailable(REFUSED)

    def open(
        self,
        *,
        route: str | None = None,
        method: str | None = None,
        peer: str | None = None,
        trace_id: str | None = None,
    ) -> Entry:
        """Return a new entry; whoever opened it sees to it that it is committed."""
        around, clock = self._around, self._around.clock
        # By the order of its fields: a class takes keywords slowly, and so many all the more.
        return Entry(
            around.random(16).hex(),
            clock.wall(),
            clock.monotonic(),
            route,
            method,
            peer,
            trace_id,
            around.config_hash.value,
            around.build,
            self._commit,
        )

    def tls_refused(self, peer: str | None, reason: str, *, is_counted: bool) -> None:
        """Record a handshake that was refused, or count it as one of a flood; never raises."""
        label = controls.TLS_REFUSED, reason
        if is_counted:
            self._count(label)
        else:
            self._tell(controls.tls_refusal(self._around, peer, reason), label)

    def turned_away(self, outcome: str, reason: str) -> None:
        """Count a request that was refused before anything was known of it; never raises."""
        self._count((outcome, reason))

    async def start(self) -> None:
        """Write the opening records; waits no longer than the sinks' deadlines, never raises."""
        await asyncio.gather(*(sink.start() for sink in self._sinks))
        self._after("checkpoint", CHECKPOINT)

    async def close(self, seconds: float = 2.0) -> None:
        """Write what is left and the closing records, within so many seconds."""
        for timer in self._timers.values():
            timer.cancel()
        self._tell_counts()
        self._export()
        await asyncio.gather(*(sink.close(seconds) for sink in self._sinks))
        self._export()

    def rotate(self, why: str = "signal") -> None:
        """Begin new files, as after SIGHUP."""
        for sink in self._sinks:
            sink.turn(why)

    def _commit(self, entry: Entry) -> Awaitable[None] | None:
        """See to the record of ``entry``; what a release must pass is returned to be awaited."""
        is_release = entry.outcome == RELEASED
        if entry.is_counted and not is_release:
            self._count(_label(entry))
            return None
        try:
            body = self._body(entry)
        except Exception:  # whatever it is, there is a record
            self._tell(self._bare(entry), _label(entry))
            if is_release:
                raise
            return None
        if is_release:
            return self._release(entry, body)
        self._tell(body, _label(entry))
        return None

    async def _release(self, entry: Entry, body: bytes) -> None:
        """Pass the gate, or take the release back wherever its record stands."""
        verdict = asyncio.get_running_loop().create_future()
        pledge = Pledge(verdict, self._needs, self._can_spare)
        if self._accept == "all" and any(sink.absence for sink in self._sinks):
            pledge.refuse()  # and have nothing written that would have to be taken back
        else:
            for sink in self._sinks:
                sink.pledge(body, pledge)
        if entry.deadline is not None:
            self._endings.add(pledge, entry.deadline)
        try:
            is_accepted = await verdict
        except asyncio.CancelledError:
            self._withdraw(entry, pledge, CANCELLED)
            raise
        finally:
            self._endings.discard(pledge)
        if not is_accepted:
            self._refuse(entry, pledge)

    def _refuse(self, entry: Entry, pledge: Pledge) -> NoReturn:
        if pledge.is_expired:
            self._withdraw(entry, pledge, EXPIRED)
            raise UpstreamTimeout(TOO_LATE, reason=EXPIRED)
        self._withdraw(entry, pledge, UNAVAILABLE)
        raise AuditUnavailable(REFUSED)

    def _withdraw(self, entry: Entry, pledge: Pledge, reason: str) -> None:
        pledge.withdraw(controls.withdrawal(self._around, entry.audit_id, reason))
        if reason != EXPIRED:  # the request's own doing, and no failure of the audit
            self._observer.withdrew(reason)
        outcome, entry.status = WITHDRAWN[reason]
        entry.outcome, entry.reason = outcome, reason
        _forget(entry)
        self._tell(self._body(entry), _label(entry))

    def _bare(self, entry: Entry) -> bytes:
        """Return a record of what is sure, for an entry that cannot be described."""
        entry.outcome, entry.reason, entry.status = "internal-error", "record-failed", 500
        _forget(entry)
        return controls.bare(self._around, entry)

    def _tell(self, body: bytes, label: Label) -> None:
        for sink in self._sinks:
            sink.offer(body, label)

    def _body(self, entry: Entry) -> bytes:
        clock = self._around.clock
        key = self._around.keys.value.newest
        return canonical(describe(entry, key, now=clock.wall(), monotonic=clock.monotonic()))

    def _count(self, label: Label) -> None:
        self._tally.add(label, self._around.clock.wall())
        if "aggregate" not in self._timers:
            self._after("aggregate", AGGREGATE)

    def _after(self, what: str, seconds: float) -> None:
        work = {"aggregate": self._tell_counts, "checkpoint": self._checkpoint}[what]
        self._timers[what] = asyncio.get_running_loop().call_later(seconds, work)

    def _tell_counts(self) -> None:
        self._timers.pop("aggregate", None)
        if len(self._tally):
            since, counts = self._tally.since, self._tally.take()
            body = controls.aggregate(self._around, counts, since, self._around.flooding())
            self._tell(body, (controls.AGGREGATE, "lost"))

    def _checkpoint(self) -> None:
        self._export()
        body = controls.checkpoint(self._around, "time")
        self._tell(body, (controls.CHECKPOINT, "lost"))
        self._after("checkpoint", CHECKPOINT)

    def _export(self) -> None:
        for sink in self._sinks:
            self._observer.checkpoint(sink.name, sink.head)


WITHDRAWN: Final = {
    UNAVAILABLE: (UNAVAILABLE, 503),
    EXPIRED: (UpstreamTimeout.code, 504),
    CANCELLED: (CANCELLED, None),
}
"""Why a release is withdrawn, its outcome, and what its caller is answered if it is still there."""


def _forget(entry: Entry) -> None:
    """Take from the entry what would have been released."""
    entry.released = entry.withheld = entry.names_released = ()
    entry.tokens = None
    entry.token_expires_at = None


def _label(entry: Entry) -> Label:
    who = (entry.caller.name,) if entry.caller else ()
    return (entry.outcome, entry.reason or entry.outcome, *who)
