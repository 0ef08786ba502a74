from service.live import Live


class TestLive:
    def test_begins_with_a_value(self) -> None:
        """The first value is the first generation."""
        live = Live("first")
        assert ("first", 1) == (live.value, live.generation)

    def test_is_replaced_whole(self) -> None:
        """A replacement is a new generation, even of an equal value."""
        live = Live("first")
        live.replace("second")
        live.replace("second")
        assert ("second", 3) == (live.value, live.generation)

    def test_a_snapshot_stays(self) -> None:
        """Whoever took a snapshot goes on with it."""
        live = Live(["first"])
        taken = live.snapshot
        live.replace(["second"])
        assert (["first"], 1) == (taken.value, taken.generation)
        assert (["second"], 2) == (live.snapshot.value, live.snapshot.generation)
