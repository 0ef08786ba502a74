from service.values import value


@value()
class Point:
    x: int
    y: int = 0


@value(kw_only=False, eq=False)
class Held:
    secret: str


class TestValue:
    def test_is_compared_and_hashed_by_its_fields(self) -> None:
        """Equal fields make equal values, which are one key."""
        assert Point(x=1) == Point(x=1, y=0)
        assert len({Point(x=1), Point(x=1), Point(x=2)}) == 2

    def test_is_compared_by_identity_where_it_holds_a_secret(self) -> None:
        """What holds a secret is equal to itself alone."""
        held = Held("s")
        assert held != Held("s")
        assert len({held, Held("s")}) == 2

    def test_is_frozen_for_the_type_checker(self) -> None:
        """Mypy refuses a change: without an error to ignore, it would refuse the comment."""
        point = Point(x=1)
        point.x = 2  # type: ignore[misc]
        held = Held("s")
        held.secret = "t"  # type: ignore[misc]  # none
