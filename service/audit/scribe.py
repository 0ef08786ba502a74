"""The writer's side of a sink: links records into the chain and puts them on the medium.

Everything here blocks and runs in the sink's own thread. A batch is one write and one sync.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from service.audit import controls
from service.audit.chain import CHAIN_BYTES, START, Head, link
from service.audit.controls import Beginning
from service.audit.media import Arrival, Medium
from service.audit.orders import Gap, Order, Report, Turn, fault_name
from service.audit.surroundings import ROTATED, ROTATION_FAILED, Surroundings

FRAME: Final = 160
"""Octets that linking adds to a record, and some more."""
LAST: Final = 512
"""Octets kept for the record that ends a file."""


class Scribe:
    """Keeps one chain on one medium; the chain's head moves only with what has landed."""

    def __init__(self, medium: Medium, around: Surroundings) -> None:
        self._medium = medium
        self._around = around
        self._is_open = False
        self._chain: bytes | None = None
        self._head = START
        self._page: list[tuple[bytes, int, bytes, int]] = []
        """Lines to be written, the number and hash of each, and which order asked for it, 0: none.

        A line that nobody asked for is first on its page.
        """
        self._loose = b""
        self._is_cut = False
        self._is_fresh = False
        self._has_begun = False
        self._noticed: list[str] = []
        self._landed = 0
        self.alive_at = 0.0
        """When a step of the work began, in monotonic seconds; other threads may look."""

    def inscribe(self, orders: Sequence[Order]) -> Report:
        """Carry out ``orders`` as one write; never raises ``OSError``."""
        monotonic = self._around.clock.monotonic
        begun = self._sign()
        fault = self._attempt(lambda: self._carry_out(orders))
        report = Report(
            landed=self._landed,
            head=self._head,
            fault=fault,
            noticed=tuple(self._noticed),
            seconds=monotonic() - begun,
        )
        self._noticed.clear()
        return report

    def close(self) -> None:
        """Close the medium."""
        self._attempt(self._medium.close)

    def _attempt(self, work: Callable[[], None]) -> str | None:
        self._landed = 0
        self._page.clear()
        try:
            work()
        except OSError as error:
            self._is_open = False
            return fault_name(error)
        return None

    def _sign(self) -> float:
        """Give a sign of life: what comes next is another step, with a deadline of its own."""
        self.alive_at = self._around.clock.monotonic()
        return self.alive_at

    def _carry_out(self, orders: Sequence[Order]) -> None:
        self._arrive()
        self._sign()
        records = [order for order in orders if isinstance(order, bytes)]
        if self._medium.is_full(sum(map(len, records)) + len(records) * FRAME + LAST):
            self._turn("size")
        if len(records) == len(orders) and not self._is_cut:  # as it nearly always is
            self._add_all(records)
        else:
            self._add_each(orders)
        self._flush()
        self._sign()
        self._medium.settle()

    def _arrive(self) -> None:
        """Open the medium, or open it again where it is no longer in its place."""
        why = "start" if self._chain is None else "healed"
        if self._is_open and (displaced := self._medium.displaced()) is not None:
            self._noticed.append(displaced)
            self._is_open, why = False, displaced
        self._has_begun = False
        if self._is_open:
            return
        arrival = self._medium.open()
        self._is_open = True
        self._take_up(arrival)
        self._has_begun = self._is_fresh
        if self._is_fresh:
            beginning = Beginning(
                previous=self._last,
                why=why,
                torn=self._torn(),
                at=arrival.at,
                is_elsewhere=arrival.loose is None,
            )
            self._add(controls.opening(self._around, beginning))

    def _take_up(self, arrival: Arrival) -> None:
        """Continue the medium's chain in a new run; within a run what is in memory holds."""
        if self._chain is None:
            last = arrival.last
            chain = self._around.random(CHAIN_BYTES).hex() if last is None else last.chain
            self._chain = chain.encode()
            self._head = START if last is None else last.head
        self._is_fresh = self._is_fresh or arrival.is_fresh
        self._loose = self._loose if arrival.loose is None else arrival.loose
        self._is_cut = self._is_cut if arrival.is_cut is None else arrival.is_cut

    def _add_all(self, records: Sequence[bytes]) -> None:
        """Put records on the page, as ``_add_each`` does, but without a call for each."""
        monotonic, page = self._around.clock.monotonic, self._page
        key, chain, last = self._around.keys.value.newest, self._chain or b"", self._last
        sequence, digest = last.sequence, last.hash.encode()
        for index, body in enumerate(records, start=1):
            self.alive_at = monotonic()  # each is a step
            sequence += 1
            line, digest = link(sequence, digest, chain, body, key)
            page.append((line, sequence, digest, index))

    def _add_each(self, orders: Sequence[Order]) -> None:
        """Carry out one order after the other, whatever they are and whatever was cut before."""
        for index, order in enumerate(orders, start=1):
            self._sign()  # each is a step
            if isinstance(order, bytes):
                self._add(order, index)
            else:
                self._follow(order, index)

    def _follow(self, order: Gap | Turn, index: int) -> None:
        if isinstance(order, Gap):
            self._tell(order, index)
            return
        if index > 1 or not self._has_begun:  # logrotate moved the file before it signalled
            self._turn(order.why)
        self._landed = index

    def _tell(self, gap: Gap, index: int) -> None:
        """Write the first record after a failure: what is missing, and what was cut."""
        torn = self._torn()
        if gap.missed == 0:
            self._add(controls.checkpoint(self._around, gap.why, torn), index)
            return
        last = self._last
        span = (last.sequence + 1, last.sequence + gap.missed)
        body = controls.gap(self._around, span, gap.since, gap.why, torn)
        self._add(body, index, Head(span[1], last.hash))

    def _turn(self, why: str) -> None:
        """Put the file aside and begin another; where that fails, go on with the old one."""
        if torn := self._torn():
            self._add(controls.checkpoint(self._around, "torn", torn))
        self._flush()
        moment = datetime.fromtimestamp(self._around.clock.wall(), UTC).strftime("%Y%m%dT%H%M%SZ")
        name = self._medium.aside(self._head.sequence + 1, moment)
        if name is None:
            return
        self._add(controls.rotation(self._around, why, name.rpartition("/")[2]))
        self._flush()
        self._medium.settle()
        try:
            self._medium.turn(name)
        except OSError:
            if self._medium.displaced() is not None:
                raise
            self._noticed.append(ROTATION_FAILED)
            self._add(controls.checkpoint(self._around, ROTATION_FAILED))
        else:
            self._noticed.append(ROTATED)
            beginning = Beginning(previous=self._last, why=why, at=0)
            self._add(controls.opening(self._around, beginning))

    @property
    def _last(self) -> Head:
        """The head after what is on the page."""
        if not self._page:
            return self._head
        _, sequence, digest, _ = self._page[-1]
        return Head(sequence, digest.decode())

    def _torn(self) -> bytes:
        """Return what was cut before; the page's first record tells it."""
        return b"" if self._page else self._loose.removesuffix(b"\n")

    def _add(self, body: bytes, index: int = 0, after: Head | None = None) -> None:
        last, key = after or self._last, self._around.keys.value.newest
        sequence = last.sequence + 1
        line, digest = link(sequence, last.hash.encode(), self._chain or b"", body, key)
        if self._is_cut:
            line, self._is_cut = b"\n" + line, False
        self._page.append((line, sequence, digest, index))

    def _flush(self) -> None:
        """Write the page; if that fails, remember how far it came."""
        if not self._page:
            return
        octets = memoryview(b"".join([line for line, _, _, _ in self._page]))
        taken = 0
        try:
            while taken < len(octets):
                self._sign()
                taken += self._medium.write(octets[taken:])
        finally:
            self._remember(octets, taken)
            self._page.clear()

    def _remember(self, octets: memoryview, taken: int) -> None:
        """Move the head to the last record that is whole, be it without its newline."""
        if taken == len(octets):  # as it nearly always is
            _, sequence, digest, index = self._page[-1]
            self._head, self._landed = Head(sequence, digest.decode()), max(self._landed, index)
            self._is_fresh, self._loose = False, b""
            return
        end = 0
        for line, sequence, digest, index in self._page:
            if taken < end + len(line) - 1:
                break
            end += len(line)
            self._head, self._landed = Head(sequence, digest.decode()), max(self._landed, index)
            self._is_fresh, self._loose = False, b""
        cut = bytes(octets[end:taken])
        self._loose += cut if self._loose else cut.removeprefix(b"\n")  # it ended a whole record
        ends = octets[taken - 1 : taken] if taken else octets[:1]
        self._is_cut = (bytes(ends) == b"\n") is (taken == 0)
