import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.deadlines import deadline_of, require_good_timeout
from service.deadline import Clock
from service.errors import InvalidRequest

CLOCK = Clock(wall=lambda: 1_800_000_000.0, monotonic=lambda: 100.0)


def seconds(*values: bytes, configured: float = 10) -> float:
    if values:
        require_good_timeout(values)
    return deadline_of(values, seconds=configured, clock=CLOCK).remaining()


class TestDeadlineOf:
    def test_is_as_configured(self) -> None:
        """A caller that says nothing has the configured time."""
        assert 10 == seconds()

    @pytest.mark.parametrize(
        ("value", "expected"), [(b"3", 3), (b"0.25", 0.25), (b"007", 7), (b"10", 10)]
    )
    def test_can_be_lowered(self, value: bytes, expected: float) -> None:
        """A caller that has less time says so in decimal seconds."""
        assert expected == pytest.approx(seconds(value))

    @pytest.mark.parametrize("value", [b"11", b"999999", b"9" * 9], ids=len)
    def test_cannot_be_raised(self, value: bytes) -> None:
        """More than is configured is what is configured."""
        assert 10 == seconds(value)

    @pytest.mark.parametrize(
        "value",
        [b"0", b"0.0", b"-1", b"+1", b"1e1", b"1_0", b" 1", b"1 ", b"0x1", b"", b".", b"3.", b".5",
         b"nan", b"inf", b"9" * 400, b"Infinity", b"1,5", b"1s", b"\xb2", b"\xd9\xa1"],
    )  # fmt: skip
    def test_must_be_a_decimal_number_above_zero(self, value: bytes) -> None:
        """Anything else in that header is a mistake that the caller hears of, unquoted."""
        with pytest.raises(InvalidRequest) as refused:
            seconds(value)

        assert "bad-request-timeout" == refused.value.reason
        assert refused.value.__cause__ is refused.value.__context__ is None

    def test_must_be_given_once(self) -> None:
        """Two of them contradict each other, even where they agree."""
        with pytest.raises(InvalidRequest):
            seconds(b"3", b"3")

    @given(st.binary(max_size=12) | st.from_regex(rb"[0-9.]{1,12}"))
    def test_never_more_never_a_fault(self, value: bytes) -> None:
        """Whatever is sent, there is a time up to what is configured, or a refusal."""
        try:
            left = seconds(value)
        except InvalidRequest:
            return

        assert 0 < left <= 10
