"""A sink as the event loop sees it: queue, deadline, ejection and probes."""

import asyncio
from contextlib import suppress
from typing import Final

from service.audit import controls
from service.audit.chain import START
from service.audit.flight import Absence, Flight, Item, SinkRules, refuse
from service.audit.gate import Pledge
from service.audit.lanes import Lanes
from service.audit.orders import LATE, Report, Turn, broken
from service.audit.surroundings import Observer, Surroundings
from service.audit.tally import Label, Tally
from service.audit.worker import Hand

HEADROOM: Final = 0.2
"""The part of a queue that is kept for releases."""


class Sink:
    """Hands records to a writer in batches, one batch at a time; nothing here waits or raises."""

    def __init__(
        self, rules: SinkRules, hand: Hand, around: Surroundings, observer: Observer
    ) -> None:
        self.name = rules.name
        self.head = START
        self.absence: Absence | None = None
        """Why and since when it is ejected: while it is, it takes no records."""
        self._rules = rules
        self._hand = hand
        self._around = around
        self._now = around.clock.monotonic
        self._observer = observer
        self._queue = Lanes()
        self._flight: Flight | None = None
        self._tally = Tally()
        self._is_scheduled = False
        self._at_rest = asyncio.Event()
        self._free_since = 0.0
        self._next_probe: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Write the opening record; a sink that cannot within its deadline starts ejected."""
        self._send([])
        await self._at_rest.wait()

    async def close(self, seconds: float) -> None:
        """Write what is left and the closing record, if that takes no more than ``seconds``."""
        self._append(Item(controls.closing(self._around), self._now()))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._at_rest.wait(), seconds)
        if self._next_probe is not None:
            self._next_probe.cancel()
        if self._flight is None:
            self._hand.worker.submit(self._hand.writer.close, lambda: None)
        self._hand.worker.stop()

    def pledge(self, body: bytes, pledge: Pledge) -> None:
        """Queue the record of a release, or refuse it at once."""
        if self.absence is None and self._queue.waiting < self._rules.queue:
            self._queue.add_first(Item(body, self._now(), pledge))
            if self._flight is None and not self._is_scheduled:  # as ``_append``, without its call
                self._go_on()
            return
        if self.absence is not None:
            self.absence.missed += 1
        pledge.refuse()

    def offer(self, body: bytes, label: Label) -> None:
        """Queue another record if there is room; what finds none is counted under ``label``."""
        if self.absence is not None:
            self.absence.missed += 1
        elif self._queue.waiting < self._rules.queue * (1 - HEADROOM):
            self._append(Item(body, self._now()))
        else:
            self._tally.add(label, self._around.clock.wall())
            self._observer.dropped(self.name, 1)

    def take_back(self, withdrawal: bytes) -> None:
        """Write the withdrawal of a release whose record it has, now or when healed."""
        item = Item(withdrawal, self._now(), is_owed=True)
        if self.absence is not None:
            self.absence.owed.append(item)
        else:
            self._append(item, is_first=True)

    def turn(self, why: str) -> None:
        """Begin a new file, if the medium is one."""
        self._append(Item(Turn(why), self._now()), is_first=True)

    def _append(self, item: Item, *, is_first: bool = False) -> None:
        if self.absence is not None:
            return
        if is_first:
            self._queue.add_first(item)
        else:
            self._queue.add(item)
        if self._flight is None and not self._is_scheduled:
            self._go_on()

    def _go_on(self) -> None:
        self._is_scheduled = True
        self._at_rest.clear()
        asyncio.get_running_loop().call_soon(self._depart)

    def _depart(self) -> None:
        """Send what waits, all that came in this turn of the loop in one batch."""
        self._is_scheduled = False
        if self._flight is not None or self.absence is not None:
            return
        if len(self._tally) and self._queue.waiting < self._rules.queue / 2:
            since, counts = self._tally.since, self._tally.take()
            body = controls.aggregate(self._around, counts, since)
            self._queue.add(Item(body, self._now()))
        # As ``is_needless`` says, without a call for each.
        items = [i for i in self._queue.take() if i.pledge is None or i.pledge.withdrawal is None]
        if items:
            self._send(items)
        elif self._queue.waiting:
            self._go_on()
        else:
            self._at_rest.set()

    def _send(self, items: list[Item]) -> None:
        now, deadline = self._now(), self._rules.deadline
        flight = Flight.departing(items, now=now, free_since=self._free_since, deadline=deadline)
        self._flight = flight
        self._at_rest.clear()
        self._watch(flight, now)
        self._hand.worker.submit(lambda: self._write(flight), lambda: self._arrived(flight))

    def _watch(self, flight: Flight, now: float) -> None:
        loop, seconds = asyncio.get_running_loop(), flight.await_next() - now
        flight.timer = loop.call_later(seconds, self._expired, flight)

    def _write(self, flight: Flight) -> None:
        """Run in the worker."""
        report = self._hand.writer.inscribe([item.order for item in flight.items])
        flight.done_at = self._now()
        flight.report = report

    def _expired(self, flight: Flight) -> None:
        """Eject the sink, unless it is done, in time itself, or the process is slow."""
        now = self._now()
        if flight.report is not None:
            self._arrived(flight)
        elif flight.is_excused(now, self._rules.deadline, self._hand.writer.alive_at):
            self._watch(flight, now)
        elif flight.expected < flight.due:
            flight.give_up()
            self._watch(flight, now)
        else:
            flight.is_late = True
            self._eject(LATE)

    def _arrived(self, flight: Flight) -> None:
        """Tell the releases what became of their records; go on, or eject the sink."""
        if flight is not self._flight:
            return
        if flight.timer is not None:
            flight.timer.cancel()
        report, was_absent = flight.report or broken(self.head), self.absence is not None
        self._flight, self._free_since = None, flight.done_at
        self.head = report.head
        for what in report.noticed:
            self._observer.noticed(self.name, what)
        self._settle(flight, report)
        if report.fault is None:
            self._observer.wrote(self.name, len(flight.items), report.seconds)
        else:
            self._eject(report.fault)
        if self.absence is not None:
            self.absence.lose(flight.items[report.landed :])
            self._recover(self.absence, is_well=was_absent and flight.is_in_time)
        if self.absence is None:
            self._depart()

    def _settle(self, flight: Flight, report: Report) -> None:
        """Tell each release that still waits what became of its record."""
        is_good = report.fault is None and not flight.is_late
        for item in flight.items[: report.landed]:
            pledge = item.pledge
            if pledge is not None:
                pledge.landed(self, is_accepted=is_good and not item.is_late)
        if report.fault is not None and not flight.is_late:
            refuse(flight.items)

    def _eject(self, why: str) -> None:
        """Take the sink out: nothing waits for it any more."""
        if self.absence is not None:
            return
        self.absence = Absence(why, self._around.clock.wall())
        waiting = self._queue.clear()
        self.absence.lose(waiting)
        self._at_rest.set()
        self._observer.ejected(self.name, why)
        refuse([*waiting, *(self._flight.items if self._flight else ())])

    def _recover(self, absence: Absence, *, is_well: bool) -> None:
        """Take the sink back, or probe it again later."""
        if not is_well:
            loop = asyncio.get_running_loop()
            delay = absence.next_delay()
            self._next_probe = loop.call_later(delay, self._probe, absence)
            return
        self.absence = None
        self._observer.readmitted(self.name, absence.told + absence.missed)
        if absence.missed or absence.owed:
            for item in absence.story(self._now()):
                self._queue.add_first(item)

    def _probe(self, absence: Absence) -> None:
        """Write what the sink has to tell; if that is in time, it is healed."""
        if absence is self.absence and self._flight is None:
            self._send(absence.story(self._now()))
