import asyncio
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import (
    NoSession,
    ServiceError,
    UpstreamBusy,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from service.gigya.replies import CODES
from service.model import Exchange
from service.resilience.blame import BY_CODE, BY_ERROR, Blame, blame_of
from service.resilience.breaker import (
    FIRST_PAUSE,
    KINDS,
    LONGEST_PAUSE,
    OF_ALL,
    REFUSALS,
    REJECTIONS,
    STATES,
    Breaker,
    Call,
    Limits,
    State,
)
from service.resilience.subjects import SUBJECTS, About

LIMITS = Limits(failures=3, window=30, cool_down=5)
ONE: Final[About] = ("p", "one")
ANOTHER: Final[About] = ("p", "another")


def coded(code: int) -> ServiceError:
    """Return the error that a code of Gigya's becomes."""
    return CODES[code].error("no", exchange=Exchange(error_code=code, attempts=1))


REFUSED = coded(403003)


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
        self, error: BaseException | None = None, *, seconds: float = 0, about: About = ()
    ) -> None:
        with self.breaker.began(about):
            self.calls += 1
            self.time.now += seconds
            if error is not None:
                raise error

    def state(self) -> State:
        return self.breaker.state

    def fail(self, times: int = 1, error: ServiceError | None = None, *, about: About = ()) -> None:
        for _ in range(times):
            with pytest.raises(ServiceError):
                self.call(error or UpstreamUnavailable("away"), about=about)


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
        with site.breaker.began():
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
        slow = site.breaker.began()
        site.fail(3)
        site.time.now += 4
        site.breaker.ended(UpstreamTimeout("late"), slow)
        site.time.now += 1

        assert State.HALF_OPEN is site.state()

    def test_a_probe_that_hangs_makes_room_for_the_next(self) -> None:
        """Into silence one probe goes each cool-down; the first that is answered heals it."""
        site = Site()
        site.fail(3)
        site.time.now += 5
        hanging = site.breaker.began()
        site.time.now += 4.9
        assert State.OPEN is site.state()
        site.time.now += 0.1
        site.call()
        assert State.CLOSED is site.state()

        for _ in range(3):
            site.breaker.ended(UpstreamTimeout("late"), hanging)
        assert State.CLOSED is site.state()

    def test_an_older_probe_that_fails_late_takes_nothing_from_the_next(self) -> None:
        """Only the newest probe decides."""
        site = Site()
        site.fail(3)
        site.time.now += 5
        older = site.breaker.began()
        site.time.now += 5
        newer = site.breaker.began()
        site.breaker.ended(UpstreamTimeout("late"), older)
        site.breaker.ended(UpstreamTimeout("late"), newer)
        assert State.OPEN is site.state()
        site.time.now += 5
        assert State.HALF_OPEN is site.state()

    def test_failures_of_before_it_closed_tell_nothing_new(self) -> None:
        """Calls that the outage has swallowed do not open it again when they end at last."""
        site = Site()
        swallowed = [site.breaker.began(("p", n)) for n in range(9)]
        site.fail(3)
        site.time.now += 5
        site.call()
        site.time.now += 1
        for call in swallowed:
            site.breaker.ended(UpstreamTimeout("late"), call)

        assert State.CLOSED is site.state()

    def test_one_session_closes_nothing_for_the_others(self) -> None:
        """What Gigya fails for one session is left alone by itself; others may still ask."""
        site = Site()
        for _ in range(10):
            with pytest.raises(UpstreamUnavailable):
                site.call(UpstreamUnavailable("away"), about=ONE)

        assert (State.OPEN, LIMITS.failures, 1) == (
            site.state(), site.calls, site.breaker.resting,
        )  # fmt: skip
        site.call(about=ANOTHER)
        assert (State.CLOSED, 1) == (site.state(), site.breaker.resting)
        with pytest.raises(UpstreamUnavailable):
            site.call(about=ONE)
        site.time.now += LIMITS.cool_down
        site.call(about=ONE)
        assert (LIMITS.failures + 2, 0) == (site.calls, site.breaker.resting)

    def test_a_few_sick_sessions_close_nothing_for_the_others(self) -> None:
        """However hard they are asked for, a healthy session gets through at once, each time."""
        site = Site()
        for _ in range(50):
            for sick in (ONE, ANOTHER):
                with suppress(UpstreamUnavailable):
                    site.call(UpstreamUnavailable("away"), about=sick)
            site.time.now += 0.1
            site.call(about=("p", "healthy"))

    def test_strangers_are_let_through_until_enough_have_failed(self) -> None:
        """An outage that few have met is believed when as many sessions have failed as open it."""
        site = Site()
        site.fail(3, about=ONE)
        under_way = [site.breaker.began(("p", stranger)) for stranger in range(2)]
        with pytest.raises(UpstreamUnavailable):
            site.breaker.began(ANOTHER)
        for call in under_way:
            site.breaker.ended(UpstreamUnavailable("away"), call)
        with pytest.raises(UpstreamUnavailable):
            site.breaker.began(ANOTHER)
        site.time.now += LIMITS.cool_down
        site.call(about=ANOTHER)

    @pytest.mark.parametrize("sessions", [1, 2, 9, 100])
    def test_an_outage_is_known_however_few_ask(self, sessions: int) -> None:
        """One call a second for an hour: calls to Gigya are a probe each cool-down, and a few."""
        site = Site()
        for second in range(3600):
            with suppress(UpstreamUnavailable):
                site.call(UpstreamUnavailable("away"), about=("p", second % sessions))
            site.time.now += 1

        assert State.OPEN in site.told
        assert site.calls <= 3600 / LIMITS.cool_down + 2 * LIMITS.failures

    def test_what_is_of_all_counts_each_time(self) -> None:
        """A refusal that cannot be about one session stops all calls, whoever asks."""
        site = Site()
        site.fail(LIMITS.refusals, REFUSED, about=ONE)

        assert State.OPEN is site.state()
        with pytest.raises(UpstreamRejected):
            site.breaker.check(ANOTHER)

    def test_a_right_that_is_missing_counts_once_for_each_session(self) -> None:
        """It may be the user's: one session rests by itself, three are a matter of ours."""
        site = Site()
        site.fail(2, coded(403007), about=ONE)
        site.fail(1, coded(403007), about=ANOTHER)
        assert State.CLOSED is site.state()
        site.fail(1, coded(403007), about=("p", "third"))

        assert [State.REJECTED] == site.told

    def test_what_gigya_says_is_no_outage(self) -> None:
        """Gigya that answers is there, also in words that we do not know."""
        site = Site()
        site.fail(10, UpstreamInvalid("unlisted", exchange=Exchange(error_code=499999)))

        assert (State.CLOSED, 0) == (site.state(), site.breaker.resting)

    @pytest.mark.parametrize(
        ("code", "refused", "passes"),
        [(409030, ONE, ANOTHER), (403024, ANOTHER, ("q", "one")), (500023, ANOTHER, ("q", "one"))],
        ids=str,
    )
    def test_what_is_about_less_than_the_site_rests_by_itself(
        self, code: int, refused: About, passes: About
    ) -> None:
        """A user asked for too often, a provider that fails: that one is left alone."""
        site, error = Site(), coded(code)
        site.fail(LIMITS.refusals, error, about=ONE)

        assert (State.CLOSED, 1) == (site.state(), site.breaker.resting)
        with pytest.raises(type(error)) as told:
            site.call(about=refused)
        assert ("breaker-open", LIMITS.cool_down) == (told.value.reason, told.value.retry_after)
        site.call(about=passes)
        site.time.now += LIMITS.cool_down
        site.call(about=ONE)
        assert 0 == site.breaker.resting

    def test_remembers_so_many_sessions_and_no_more(self) -> None:
        """A flood of failing sessions takes no more memory than that."""
        site = Site()
        for number in range(SUBJECTS * 2):
            site.time.now += LIMITS.window
            with pytest.raises(UpstreamUnavailable):
                site.call(UpstreamUnavailable("away"), about=("p", number))

        assert SUBJECTS == len(site.breaker._subjects)

    def test_rejected_credentials_are_not_an_outage(self) -> None:
        """They get a cool-down soon, and who asks meanwhile hears what is the matter."""
        site = Site()
        site.fail(3, REFUSED)

        with pytest.raises(UpstreamRejected) as refused:
            site.call()

        assert (3, 5) == (site.calls, refused.value.retry_after)
        assert [State.REJECTED] == site.told

    def test_new_credentials_are_tried_at_once(self) -> None:
        """What Gigya refused is no longer in use: the next call may probe, an outage stays one."""
        site = Site()
        site.fail(3, REFUSED)
        site.breaker.renew()
        assert State.HALF_OPEN is site.state()
        site.call()
        site.fail(3)
        site.breaker.renew()
        assert State.OPEN is site.state()

    def test_new_credentials_end_the_rest_of_sessions_that_were_refused(self) -> None:
        """A session that had no right is asked for again at once; one that fails is not."""
        site = Site()
        site.fail(3, coded(403007), about=ONE)
        assert 1 == site.breaker.resting
        site.breaker.renew()
        site.call(about=ONE)
        site.fail(3, about=ANOTHER)
        site.breaker.renew()
        assert 1 == site.breaker.resting

    def test_a_refusal_of_old_credentials_tells_nothing_of_new_ones(self) -> None:
        """A probe with the old credentials that ends after the new ones came closes nothing."""
        site = Site()
        site.fail(3, REFUSED)
        site.time.now += 5
        begun = site.breaker.began()
        site.time.now += 1
        site.breaker.renew()
        site.breaker.ended(REFUSED, begun)
        assert State.HALF_OPEN is site.state()

    def test_a_probe_of_an_outage_that_meets_a_rotation_leaves_room_for_the_next(self) -> None:
        """Its refusal is of old credentials and decides nothing, and nobody waits for it."""
        site = Site()
        site.fail(3)
        site.time.now += 5
        probe = site.breaker.began()
        site.time.now += 1
        site.breaker.renew()
        site.breaker.ended(REFUSED, probe)
        site.call()
        assert State.CLOSED is site.state()

    def test_one_rejection_is_no_rule(self) -> None:
        """What Gigya rejects of one request may be that request's fault, if others pass."""
        site = Site()
        for _ in range(5):
            site.fail(2, REFUSED)
            site.call()

        assert State.CLOSED is site.state()

    def test_a_rate_limit_is_heeded_by_all(self) -> None:
        """Three in a row, and the site pauses; each pause that is not enough doubles."""
        site = Site()
        site.fail(2, coded(403048), about=ONE)
        site.call(about=ANOTHER)
        site.fail(3, coded(403048), about=ONE)
        assert [State.BUSY] == site.told
        for seconds in (FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE):
            with pytest.raises(UpstreamBusy) as told:
                site.call(about=ANOTHER)
            assert seconds == told.value.retry_after
            site.time.now += seconds
            site.fail(1, coded(403048), about=ANOTHER)
        for _ in range(9):
            site.time.now += LONGEST_PAUSE
            site.fail(1, coded(403048))
        site.time.now += LONGEST_PAUSE
        site.call(about=ONE)
        site.fail(3, coded(403048))
        site.time.now += FIRST_PAUSE
        assert State.HALF_OPEN is site.state()

    @pytest.mark.parametrize(("asked", "pause"), [(7.0, 7.0), (9999.0, LONGEST_PAUSE)])
    def test_a_pause_that_is_named_is_kept(self, asked: float, pause: float) -> None:
        """A gateway that says when to come back is not asked sooner, within reason."""
        site = Site()
        site.fail(3, UpstreamBusy("429", retry_after=asked, exchange=Exchange(attempts=1)))
        site.time.now += pause - 0.1
        assert State.OPEN is site.state()
        site.time.now += 0.1
        assert State.HALF_OPEN is site.state()

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


Step = tuple[str, int, BaseException | None, float]
"""What happens, to whom, how a call ends, and how many seconds pass."""

STEPS: Final = st.lists(
    st.tuples(
        st.sampled_from(["call", "call", "begin", "end", "end", "renew", "wait"]),
        st.integers(0, 3),
        st.sampled_from(
            [
                None,
                UpstreamUnavailable("away"),
                UpstreamTimeout("late"),
                REFUSED,
                coded(403007),
                coded(403024),
                coded(403048),
                coded(409030),
                asyncio.CancelledError(),
            ]
        ),
        st.sampled_from([0.0, 0.5, 1.0, 2.5, 5.0, 29.0]),
    ),
    max_size=60,
)


class Uneasy(Breaker):
    """One that never takes it for granted that all is well."""

    @property
    def _is_calm(self) -> bool:
        return False

    @_is_calm.setter
    def _is_calm(self, _: bool) -> None:
        return


class TestAnyOrder:
    @given(STEPS)
    def test_calm_changes_nothing(self, steps: list[Step]) -> None:
        """What is skipped while all is well would have come to the same."""
        calm, uneasy = Site(), Site()
        uneasy.breaker = Uneasy(LIMITS, monotonic=uneasy.time, observe=uneasy.told.append)

        assert _met(calm, steps) == _met(uneasy, steps)
        assert calm.told == uneasy.told

    @given(STEPS)
    def test_nobody_is_refused_longer_than_a_cool_down(self, steps: list[Step]) -> None:
        """Whatever happens in whatever order: a cool-down after the last failure, calls may go.

        And once one of them is answered, all may.
        """
        site, under_way = Site(), list[Call]()
        for step in steps:
            with suppress(ServiceError):
                _take(site, step, under_way)
        site.time.now += LIMITS.cool_down

        site.call(about=("p", 0))
        assert State.CLOSED is site.state()
        for who in range(1, 6):
            site.call(about=("p", who))
        for call in under_way:
            site.breaker.ended(asyncio.CancelledError(), call)
        assert 0 == site.breaker._strangers


def _take(site: Site, step: Step, under_way: list[Call]) -> None:
    what, who, error, seconds = step
    if what == "call":
        site.breaker.ended(error, site.breaker.began(("p", who)))
    elif what == "begin":
        under_way.append(site.breaker.began(("p", who)))
    elif what == "end" and under_way:
        site.breaker.ended(error, under_way.pop(who % len(under_way)))
    elif what == "renew":
        site.breaker.renew()
    else:
        site.time.now += seconds


def _met(site: Site, steps: list[Step]) -> list[object]:
    """Return how each step leaves the breaker, and what it is refused with."""
    under_way, met = list[Call](), list[object]()
    for step in steps:
        try:
            _take(site, step, under_way)
        except ServiceError as error:
            met.append((type(error), error.detail, error.retry_after))
        met.append((site.state(), site.breaker.resting, [call.is_stranger for call in under_way]))
    return met


class TestBlame:
    def test_the_tables_are_complete(self) -> None:
        """Every code is one of Gigya's, and whatever stops a site has its words and its state."""
        assert set() == BY_CODE.keys() - CODES.keys()
        assert REJECTIONS | OF_ALL < KINDS.keys()
        assert set(KINDS.values()) == REFUSALS.keys() == STATES.keys()
        assert set(BY_ERROR.values()) < KINDS.keys()

    def test_a_rejection_is_a_rejection(self) -> None:
        """What is blamed on our credentials is what callers hear as ``upstream-rejected``."""
        ours = [code for code, blame in BY_CODE.items() if blame in REJECTIONS]

        assert {UpstreamRejected} == {CODES[code].error for code in ours}

    @pytest.mark.parametrize(
        ("error", "blame"),
        [
            (UpstreamRejected("no", reason="oauth-invalid_client"), Blame.CREDENTIALS),
            (UpstreamRejected("plain", reason="came-back-plain"), Blame.NOBODY),
            (UpstreamBusy("429", exchange=Exchange(attempts=1)), Blame.PAUSE),
            (UpstreamInvalid("html", exchange=Exchange(attempts=1)), Blame.OUTAGE),
            (UpstreamTimeout("late"), Blame.OUTAGE),
            (NoSession("none"), Blame.NOBODY),
        ],
        ids=str,
    )
    def test_what_has_no_code_is_known_by_its_kind(self, error: ServiceError, blame: Blame) -> None:
        """Where Gigya did not speak, what happened does."""
        assert blame is blame_of(error)
