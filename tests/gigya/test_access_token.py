import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.deadline import Deadline
from service.errors import UpstreamInvalid, UpstreamRejected, UpstreamTimeout, UpstreamUnavailable
from service.gigya.access_token import AccessToken, Issued, issued
from service.gigya.replies import Verdict
from service.gigya.troubles import Result, Trouble, Troubled
from service.model import Exchange
from service.outbound import Answer
from service.secret import Secret
from tests.virtual_time import VIRTUAL, VirtualLoop, virtual_clock

SENTINEL = "s3nt1nel"
DOWN = Trouble(error=UpstreamUnavailable, reason="down", result=Result.DOWN)


class Desk:
    """Gives tokens out, ``takes`` seconds each; raises what ``fails`` holds first."""

    def __init__(self, *, life: float | None = 600, takes: float = 1, fails: int = 0) -> None:
        self.life = life
        self.takes = takes
        self.fails = fails
        self.asked = 0
        self.given: list[Secret[str]] = []

    async def __call__(self, _: Deadline) -> Issued:
        """Give one out."""
        self.asked += 1
        await asyncio.sleep(self.takes)
        if self.fails:
            self.fails -= 1
            raise Troubled(DOWN)
        self.given.append(Secret(f"token {self.asked}"))
        return Issued(token=self.given[-1], life=self.life)


def kept(desk: Desk, **options: Any) -> AccessToken:
    """Return a token that ``desk`` gives out."""
    return AccessToken(desk, clock=virtual_clock(), **options)


def later(seconds: float) -> Deadline:
    """Return a deadline so many seconds from now."""
    return Deadline.after(seconds, virtual_clock())


class TestAccessToken:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """Time is virtual."""
        return VIRTUAL

    @pytest.mark.parametrize(
        ("life", "max_age", "expected"),
        [(600, 3600, 570), (600, 100, 100), (None, 3600, 3600), (9000, 3600, 3600)],
    )
    async def test_is_kept_while_it_is_good(
        self, life: float | None, max_age: float, expected: float
    ) -> None:
        """It is kept until shortly before it expires, and never beyond the configured age."""
        desk = Desk(life=life, takes=0)
        token = kept(desk, max_age=max_age)
        first = await token.get(later(10))
        await asyncio.sleep(expected - 0.01)
        assert await token.get(later(10)) is first
        await asyncio.sleep(0.02)
        assert await token.get(later(10)) is not first
        assert 2 == desk.asked

    async def test_too_short_a_life_serves_those_who_waited(self) -> None:
        """A token that lives shorter than the margin is used and not kept."""
        desk = Desk(life=20)
        token = kept(desk)
        assert await token.get(later(10)) is desk.given[0]
        assert await token.get(later(10)) is desk.given[1]

    async def test_is_asked_for_by_one_flight(self) -> None:
        """All who come while it is being asked for get the same one."""
        desk = Desk()
        token = kept(desk)
        got = await asyncio.gather(*(token.get(later(10)) for _ in range(50)))
        assert (1, 1) == (desk.asked, len({id(each) for each in got}))

    async def test_is_forgotten_when_refused(self) -> None:
        """A refused token is replaced; one that was replaced already is not thrown away."""
        desk = Desk()
        token = kept(desk)
        first = await token.get(later(10))
        token.reject(first)
        second = await token.get(later(10))
        token.reject(first)
        assert await token.get(later(10)) is second
        assert 2 == desk.asked

    async def test_failure_reaches_all_who_waited_and_is_not_kept(self) -> None:
        """Each waiter gets the trouble as an error of its own, and the next one asks again."""
        desk = Desk(fails=1)
        token = kept(desk)
        waiting = (token.get(later(10)) for _ in range(3))
        failed = await asyncio.gather(*waiting, return_exceptions=True)
        assert [DOWN] * 3 == [each.trouble for each in failed if isinstance(each, Troubled)]
        assert 3 == len({id(each) for each in failed})
        assert await token.get(later(10)) is desk.given[0]

    async def test_waits_no_longer_than_the_deadline(self) -> None:
        """Who has no more time goes; the flight lands for the others."""
        desk = Desk(takes=5)
        token = kept(desk)
        with pytest.raises(Troubled) as caught:
            await token.get(later(2))
        assert UpstreamTimeout is caught.value.trouble.error
        assert await token.get(later(10)) is desk.given[0]
        assert (1, 5.0) == (desk.asked, virtual_clock().monotonic())

    async def test_cancelling_the_first_harms_no_other(self) -> None:
        """The flight belongs to nobody who waits for it."""
        desk = Desk()
        token = kept(desk)
        first = asyncio.create_task(token.get(later(10)))
        second = asyncio.create_task(token.get(later(10)))
        await asyncio.sleep(0.5)
        first.cancel()
        assert await second is desk.given[0]
        assert (True, 1) == (first.cancelled(), desk.asked)

    async def test_closing_ends_the_flight(self) -> None:
        """Who waits while everything ends is told so, and nothing goes on."""
        before = asyncio.all_tasks()
        token = kept(Desk(takes=100))
        await token.aclose()
        waiting = asyncio.create_task(token.get(later(1000)))
        await asyncio.sleep(0)
        await token.aclose()
        with pytest.raises(Troubled):
            await waiting
        await token.aclose()
        assert before == asyncio.all_tasks()


class TestCancelling:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32), st.integers(1, 12))
    def test_at_random_harms_nobody(self, seed: int, waiters: int) -> None:
        """Whoever is cancelled, the others get the token, and nothing is left behind."""
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(_cancel_some(random.Random(seed), waiters))


async def _cancel_some(draw: random.Random, waiters: int) -> None:
    desk = Desk()
    token = kept(desk)

    async def wait() -> Secret[str]:
        await asyncio.sleep(draw.random())
        return await token.get(later(10))

    tasks = [asyncio.create_task(wait()) for _ in range(waiters)]
    doomed = [task for task in tasks if draw.random() < 0.5]
    await asyncio.sleep(draw.random())
    for task in doomed:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    spared = [each for task, each in zip(tasks, outcomes, strict=True) if task not in doomed]
    assert not [each for each in spared if isinstance(each, BaseException)]
    await asyncio.sleep(5)
    assert 1 == len(asyncio.all_tasks())


def answer(document: Any, status: int = 200) -> Answer:
    """Return an answer that holds ``document``."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Answer(status=status, headers={}, body=body)


class TestIssued:
    @pytest.mark.parametrize(
        ("more", "life"),
        [({}, None), ({"expires_in": None}, None), ({"expires_in": 3600}, 3600.0),
         ({"expires_in": "3600"}, 3600.0), ({"expires_in": 60, "errorCode": 0}, 60.0)],
        ids=str,
    )  # fmt: skip
    def test_is_read(self, more: dict[str, Any], life: float | None) -> None:
        """A token is a text; its life is seconds, or none where it never expires."""
        got = issued(answer({"access_token": "abc", "token_type": "bearer", **more}))
        assert ("abc", life) == (got.token.reveal(), got.life)

    @pytest.mark.parametrize(
        ("document", "status", "reason", "result", "verdict"),
        [
            ({"error": "invalid_client"}, 401, "oauth-invalid_client",
             Result.CREDENTIALS_REJECTED, Verdict.NEVER),
            ({"error": "unauthorized_client"}, 400, "oauth-unauthorized_client",
             Result.CREDENTIALS_REJECTED, Verdict.NEVER),
            ({"error": "invalid_request"}, 400, "oauth-invalid_request",
             Result.REJECTED, Verdict.NEVER),
            ({"error": "temporarily_unavailable"}, 503, "oauth-temporarily_unavailable",
             Result.DOWN, Verdict.BACK_OFF),
            ({"error": SENTINEL}, 400, "oauth-error", Result.REJECTED, Verdict.NEVER),
            ({"errorCode": 403010}, 200, "gigya-403010",
             Result.CREDENTIALS_REJECTED, Verdict.NEVER),
            ({"errorCode": 500001}, 200, "gigya-500001", Result.DOWN, Verdict.BACK_OFF),
            ({"errorCode": 0}, 200, "malformed-reply", Result.MALFORMED, Verdict.BACK_OFF),
            ({"access_token": ""}, 200, "malformed-reply", Result.MALFORMED, Verdict.BACK_OFF),
            ({"access_token": 7}, 200, "malformed-reply", Result.MALFORMED, Verdict.BACK_OFF),
            ({"access_token": "a", "expires_in": 0}, 200, "malformed-reply",
             Result.MALFORMED, Verdict.BACK_OFF),
            ({"access_token": "a", "expires_in": True}, 200, "malformed-reply",
             Result.MALFORMED, Verdict.BACK_OFF),
            ({"access_token": "a", "expires_in": "soon"}, 200, "malformed-reply",
             Result.MALFORMED, Verdict.BACK_OFF),
            ({"access_token": "a", "expires_in": 10**30}, 200, "malformed-reply",
             Result.MALFORMED, Verdict.BACK_OFF),
            ([], 200, "malformed-reply", Result.MALFORMED, Verdict.BACK_OFF),
            (b"<html>", 200, "malformed-reply", Result.MALFORMED, Verdict.BACK_OFF),
            (b"<html>", 502, "gateway-error", Result.DOWN, Verdict.BACK_OFF),
            (b"<html>", 404, "not-gigya", Result.MALFORMED, Verdict.NEVER),
        ],
        ids=str,
    )  # fmt: skip
    def test_or_it_is_a_trouble(
        self, document: Any, status: int, reason: str, result: Result, verdict: Verdict
    ) -> None:
        """An error of OAuth's, of Gigya's, or of whoever answers: each has its name."""
        with pytest.raises(Troubled) as caught:
            issued(answer(document, status))
        trouble = caught.value.trouble
        assert (reason, result, verdict) == (trouble.reason, trouble.result, trouble.verdict)

    @pytest.mark.parametrize(
        ("document", "kind"),
        [({"error": "invalid_client", "error_description": SENTINEL}, UpstreamRejected),
         ({"error": SENTINEL}, UpstreamRejected), ({"access_token": [SENTINEL]}, UpstreamInvalid)],
    )  # fmt: skip
    def test_a_trouble_quotes_nothing(self, document: Any, kind: type[Exception]) -> None:
        """No word of the answer's gets into an error."""
        with pytest.raises(Troubled) as caught:
            issued(answer(document))
        error = caught.value.trouble.as_error(Exchange())
        assert kind is type(error)
        assert SENTINEL not in f"{error!r} {vars(error)} {caught.value!r} {caught.value.trouble!r}"
        assert caught.value.__context__ is None

    @given(st.binary(max_size=200))
    def test_no_octets_are_a_surprise(self, body: bytes) -> None:
        """Whatever comes is a token or a trouble."""
        try:
            assert issued(answer(body)).token is not None
        except Troubled as error:
            assert error.trouble.reason  # noqa: PT017  # either way is fine
