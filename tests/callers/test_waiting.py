"""Seats for those who wait: bounded in all, and never all of them one peer's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.callers.refusals import Unavailable
from service.callers.waiting import SEATS, Room, Seat
from service.errors import AuthenticationUnavailable

WHY = Unavailable.REVIEW_OVERLOADED


def taken(room: Room, peer: str, most: int = SEATS) -> list[Seat]:
    """Take seats for a peer until there is none for it."""
    seats: list[Seat] = []
    try:
        while len(seats) < most:
            seats.append(room.take(peer, WHY))
    except AuthenticationUnavailable:
        pass
    return seats


class TestRoom:
    def test_leaves_others_as_many(self) -> None:
        """One peer alone may have half of the seats, the next half of the rest, and so on."""
        room = Room(64)
        assert [32, 16, 8] == [len(taken(room, peer)) for peer in "abc"]

    def test_says_why_and_when_to_come_back(self) -> None:
        """Whoever finds no seat is told at once, for the reason that its waiting had."""
        room = Room(1)
        room.take("a", WHY)
        with pytest.raises(AuthenticationUnavailable) as caught:
            room.take("b", Unavailable.KEYS_OVERLOADED)
        assert ("keys-overloaded", 1.0) == (caught.value.reason, caught.value.retry_after)

    @pytest.mark.parametrize("seats", [1, 2, 3])
    def test_has_a_seat_for_who_comes_first(self, seats: int) -> None:
        """Even the smallest room lets one wait."""
        assert 1 <= len(taken(Room(seats), "a"))

    def test_a_seat_is_free_after_its_block(self) -> None:
        """What was left can be taken again, once."""
        room = Room(1)
        with room.take("a", WHY) as _:
            assert [] == taken(room, "b")
        [seat] = taken(room, "b")
        seat.leave()
        seat.leave()
        assert 1 == len(taken(room, "a"))

    @given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
    def test_counts_whoever_comes_and_goes(self, steps: list[tuple[str, bool]]) -> None:
        """No more are taken than there are, and when all have left nothing is remembered."""
        room, held = Room(4), list[tuple[str, Seat]]()
        for peer, comes in steps:
            if comes:
                held += [(peer, seat) for seat in taken(room, peer, 1)]
            elif held:
                held.pop()[1].leave()
            assert len(held) == room._taken.total() <= 4
        for _, seat in held:
            seat.leave()
        assert {} == room._taken
