import asyncio
from collections.abc import Hashable
from typing import Any

import pytest

from service.errors import (
    NoSession,
    ServiceError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from service.model import Exchange
from service.resilience.breaker import SUBJECTS, Breaker, Limits, State

LIMITS = Limits(failures=3, window=30, cool_down=5)


class Time:
    """Seconds that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Site:
    """A breaker, the calls that it let through, and the states that it told."""

    def __init__(self, **options: Any) -> None:
        self.time = Time()
        self.told: list[State] = []
        self.calls = 0
        self.breaker = Breaker(LIMITS, monotonic=self.time, observe=self.told.append, **options)

    def call(
        self, error: BaseException | None = None, *, seconds: float = 0, about: Hashable = None
    ) -> None:
        with self.breaker.guard(about):
            self.calls += 1
            self.time.now += seconds
            if error is not None:
                raise error

    def state(self) -> State:
        return self.breaker.state

    def fail(self, times: int = 1, error: ServiceError | None = None) -> None:
        for _ in range(times):
            with pytest.raises(ServiceError):
                self.call(error or UpstreamUnavailable("away"))


class TestBreaker:
    def test_opens_after_failures_in_a_row(self) -> None:
        """So many failures within the window, and Gigya is left alone."""
        site = Site()

        site.fail(2)
        assert State.CLOSED is site.state()
        site.fail(1, UpstreamTimeout("late"))
        assert State.OPEN is site.state()
        with pytest.raises(UpstreamUnavailable) as refused:
            site.call()

        assert (3, "breaker-open", 5) == (
            site.calls,
            refused.value.reason,
            refused.value.retry_after,
        )

    def test_failures_far_apart_do_not_open_it(self) -> None:
        """Only failures within the window count together."""
        site = Site()
        for _ in range(5):
            site.fail()
            site.time.now += 16

        assert State.CLOSED is site.state()

    def test_an_answer_starts_the_count_anew(self) -> None:
        """What Gigya says of a user is an answer, however unwelcome."""
        site = Site()

        site.fail(2)
        site.fail(1, NoSession("none"))
        site.fail(2)

        assert State.CLOSED is site.state()

    def test_lets_one_probe_through(self) -> None:
        """After the cool-down one call asks; the others are refused until it knows."""
        site = Site()
        site.fail(3)
        site.time.now += 5

        assert State.HALF_OPEN is site.state()
        with site.breaker.guard():
            with pytest.raises(UpstreamUnavailable):
                site.call()
            assert State.OPEN is site.state()

        assert State.CLOSED is site.state()
        assert [State.OPEN, State.HALF_OPEN, State.CLOSED] == site.told

    def test_a_failed_probe_waits_anew(self) -> None:
        """One failure of the probe is enough to wait for another cool-down."""
        site = Site()
        site.fail(3)
        site.time.now += 5
        site.fail()

        assert State.OPEN is site.state()
        site.time.now += 4.9
        assert State.OPEN is site.state()
        site.time.now += 0.2
        assert State.HALF_OPEN is site.state()

    def test_a_cancelled_probe_leaves_room_for_the_next(self) -> None:
        """A probe that is given up tells nothing and blocks nobody."""
        site = Site()
        site.fail(3)
        site.time.now += 5
        with pytest.raises(asyncio.CancelledError):
            site.call(asyncio.CancelledError())

        site.call()

        assert State.CLOSED is site.state()

    def test_late_failures_tell_nothing_new(self) -> None:
        """A call that began before the breaker opened does not make the wait longer."""
        site = Site()
        slow = site.breaker.guard()
        slow.__enter__()
        site.fail(3)
        site.time.now += 4
        late = UpstreamTimeout("late")
        slow.__exit__(UpstreamTimeout, late, None)
        site.time.now += 1

        assert State.HALF_OPEN is site.state()

    def test_one_session_closes_nothing_for_the_others(self) -> None:
        """What Gigya fails for one session is left alone by itself, however often it is asked."""
        site = Site()
        for _ in range(10):
            with pytest.raises(UpstreamUnavailable):
                site.call(UpstreamUnavailable("away"), about="one")

        assert (State.CLOSED, LIMITS.failures) == (site.state(), site.calls)
        site.call(about="another")
        site.time.now += LIMITS.cool_down
        site.call(about="one")
        assert LIMITS.failures + 2 == site.calls

    def test_what_is_of_all_counts_each_time(self) -> None:
        """A refusal that cannot be about one session opens the breaker, whoever asks."""
        site = Site(is_rejection=lambda _: True, is_of_all=lambda _: True)
        for _ in range(LIMITS.rejections):
            with pytest.raises(UpstreamRejected):
                site.call(UpstreamRejected("no"), about="one")

        assert State.OPEN is site.state()

    @pytest.mark.parametrize(
        "error",
        [
            UpstreamUnavailable("its provider is away", exchange=Exchange(error_code=500023)),
            UpstreamInvalid("a code in no list", exchange=Exchange(error_code=499999)),
        ],
        ids=["a provider is away", "words that we do not know"],
    )
    def test_what_gigya_says_is_no_outage(self, error: ServiceError) -> None:
        """Gigya that answers is there, also where it says that something behind it is not."""
        site = Site()
        site.fail(10, error)

        assert State.CLOSED is site.state()

    def test_remembers_so_many_sessions_and_no_more(self) -> None:
        """A flood of failing sessions takes no more memory than that."""
        site = Site()
        for number in range(SUBJECTS * 2):
            site.time.now += LIMITS.window
            with pytest.raises(UpstreamUnavailable):
                site.call(UpstreamUnavailable("away"), about=number)

        assert SUBJECTS == len(site.breaker._subjects)

    def test_rejected_credentials_are_not_an_outage(self) -> None:
        """They get a cool-down soon, and who asks meanwhile hears what is the matter."""
        site = Site(is_rejection=lambda error: error.reason == "credentials")
        site.fail(3, UpstreamRejected("no", reason="credentials"))

        with pytest.raises(UpstreamRejected) as refused:
            site.call()

        assert (3, 5) == (site.calls, refused.value.retry_after)
        assert [State.REJECTED] == site.told

    def test_new_credentials_are_tried_at_once(self) -> None:
        """What Gigya refused is no longer in use: the next call may probe, an outage stays one."""
        site = Site(is_rejection=lambda error: isinstance(error, UpstreamRejected))
        site.fail(3, UpstreamRejected("wrong key"))
        site.breaker.renew()
        assert State.HALF_OPEN is site.state()
        site.call()
        site.fail(3)
        site.breaker.renew()
        assert State.OPEN is site.state()

    def test_a_refusal_of_old_credentials_tells_nothing_of_new_ones(self) -> None:
        """A probe with the old credentials that ends after the new ones came closes nothing."""
        site = Site(is_rejection=lambda error: isinstance(error, UpstreamRejected))
        site.fail(3, UpstreamRejected("wrong key"))
        site.time.now += 5
        begun = site.breaker.began()
        site.time.now += 1
        site.breaker.renew()
        site.breaker.ended(UpstreamRejected("wrong key"), begun)
        assert State.HALF_OPEN is site.state()

    def test_one_rejection_is_no_rule(self) -> None:
        """What Gigya rejects of one request may be that request's fault, if others pass."""
        site = Site(is_rejection=lambda error: error.reason == "credentials")
        for _ in range(5):
            site.fail(2, UpstreamRejected("no", reason="credentials"))
            site.call()

        assert State.CLOSED is site.state()

    def test_what_gigya_says_of_one_session_is_no_outage(self) -> None:
        """A session that cannot be read does not close Gigya to the others."""
        site = Site()
        site.fail(9, UpstreamInvalid("odd", exchange=Exchange(error_code=0, attempts=1)))

        assert State.CLOSED is site.state()

    @pytest.mark.parametrize(("seconds", "state"), [(0.9, State.CLOSED), (1.0, State.OPEN)])
    def test_learns_from_calls_that_are_given_up(self, seconds: float, state: State) -> None:
        """Callers with little time do not hide a black hole; impatient ones do not make one."""
        site = Site()
        for _ in range(3):
            with pytest.raises(asyncio.CancelledError):
                site.call(asyncio.CancelledError(), seconds=seconds)

        assert state is site.state()

    def test_can_be_asked_without_a_call(self) -> None:
        """Who would have to wait for a slot hears first whether there is a point."""
        site = Site()
        site.breaker.check()
        site.fail(3)

        with pytest.raises(UpstreamUnavailable):
            site.breaker.check()

    def test_an_outage_makes_few_calls(self) -> None:
        """With every call failing, calls fall far below a tenth of the requests."""
        site = Site()
        for _ in range(10_000):
            with pytest.raises(ServiceError):
                site.call(UpstreamUnavailable("away"))
            site.time.now += 0.01

        assert site.calls <= 3 + 100 / LIMITS.cool_down

        site.time.now += LIMITS.cool_down
        site.call()
        assert State.CLOSED is site.state()
