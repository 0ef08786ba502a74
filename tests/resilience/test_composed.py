"""The whole service when many ask at once, and when Gigya is away for a while."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from service.simulator.knobs import Body, Knob, Wire
from tests.house import House, Visitor

MANY = 1000
RATE = 20
"""Requests a second in an outage."""
SECONDS = 30
COOL_DOWN = 5


def house_of(directory: Path, **settings: Any) -> House:
    """Return a house whose pauses take no time."""
    house = House(directory, fraction=lambda: 0.0)
    house.settings |= settings
    return house


def count(visitor: Visitor, series: str) -> int:
    """Return one value of the metrics, 0 where there is none yet."""
    lines = visitor.application.metrics.exposition().decode().splitlines()
    found = [line for line in lines if line.startswith(f"credential_proxy_{series} ")]
    return int(float(found[0].rpartition(" ")[2])) if found else 0


async def rise(visitor: Visitor, series: str, to: int) -> None:
    """Wait until a metric has risen; it tells nobody when it does."""
    while count(visitor, series) < to:  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(0)


class TestManyAtOnce:
    async def test_for_one_session_are_one_call(self, tmp_path: Path) -> None:
        """A thousand requests for one session are a thousand releases and one call to Gigya."""
        house = house_of(tmp_path, listeners={"api": {"max_in_flight": 2 * MANY}})
        go = asyncio.Event()
        house.simulator.knobs.turn(hold=go)
        async with house.open() as visitor:
            asking = [asyncio.create_task(visitor.ask()) for _ in range(MANY)]
            await rise(visitor, 'flights_total{event="joined"}', MANY - 1)
            go.set()
            answers = await asyncio.gather(*asking)

        assert {200} == {answer.status_code for answer in answers}
        assert MANY == len({answer.headers["audit-id"] for answer in answers})
        assert MANY == len([r for r in house.records() if r["outcome"] == "released"])
        assert 1 == house.simulator.calls.total

    async def test_that_go_away_leave_nothing(self, tmp_path: Path) -> None:
        """Whoever leaves, first or last, harms nobody and leaves no call, slot or task behind."""
        house = house_of(tmp_path)
        async with house.open() as visitor:
            await visitor.ask()
            before = len(asyncio.all_tasks())
            for leaving in range(5):
                go = asyncio.Event()
                knob = house.simulator.knobs.turn(hold=go)
                arrived = house.simulator.calls.total
                asking = [asyncio.create_task(visitor.ask()) for _ in range(4)]
                await house.simulator.calls.arrive(arrived + 1)
                for task in asking[:leaving]:
                    task.cancel()
                await asyncio.sleep(0)
                go.set()
                answers = await asyncio.gather(*asking, return_exceptions=True)
                house.simulator.knobs.undo(knob)
                served = [a for a in answers if not isinstance(a, BaseException)]
                assert [200] * (4 - leaving) == [answer.status_code for answer in served]
                await _turns()
                for gauge in ("flights_under_way", "requests_in_flight"):
                    assert 0 == count(visitor, gauge)
                assert 0 == count(visitor, 'upstream_in_flight{site="shop"}')
            assert before == len(asyncio.all_tasks())


async def _turns() -> None:
    """Let the loop turn: how many turns a cancelled call takes to end is Python's own affair."""
    for _ in range(5):
        await asyncio.sleep(0)


EVERYWHERE = (
    "twitter", "yahoo", "linkedin", "xing", "google", "facebook", "renren", "mixi", "line",
    "amazon", "vkontakte", "qq", "foursquare", "microsoft", "apple",
)  # fmt: skip
"""Users who each have a session with the provider whose name they bear."""

AWAY = {
    "500001": Knob(error_code=500001),
    "gateway": Knob(body=Body.HTML, http_status=503),
    "lost": Knob(wire=Wire.RESET),
    "garbage": Knob(body=Body.GARBAGE),
}
REFUSES = (301001, 400008, 400093, 403002, 403003, 403004, 403006, 403010, 403025, 403036)
"""Codes that cannot be about one session."""


class TestOutage:
    @pytest.mark.parametrize("sessions", [len(EVERYWHERE), 4, 1], ids="{} asked for".format)
    @pytest.mark.parametrize("caching", [False, True], ids=["no cache", "cache"])
    @pytest.mark.parametrize("knob", AWAY.values(), ids=AWAY)
    async def test_is_left_alone_and_ends_soon(
        self, knob: Knob, tmp_path: Path, *, caching: bool, sessions: int
    ) -> None:
        """Calls fall below a tenth of the requests; healed, it is whole in one probe interval.

        And it is told, whether many sessions are asked for or one.
        """
        house = house_of(tmp_path, cache={"enabled": caching})
        house.simulator.knobs.turn(knob)
        async with house.open() as visitor:
            away = await self._ask(house, visitor, RATE * SECONDS, sessions)
            assert {502, 503} >= set(away)
            assert house.simulator.calls.total < 0.1 * len(away)
            assert 1 == count(visitor, 'breaker_open{site="shop"}')

            house.simulator.knobs.clear()
            house.time.now += COOL_DOWN
            healed = await self._ask(house, visitor, RATE, sessions)
            assert 0 == count(visitor, 'breaker_open{site="shop"}')

        assert {200} == set(healed)

    @pytest.mark.parametrize("code", REFUSES)
    async def test_of_ours_is_told_and_not_hammered(self, code: int, tmp_path: Path) -> None:
        """Whatever it is that Gigya refuses of us: an alarm, and a call each cool-down."""
        house = house_of(tmp_path)
        house.simulator.knobs.turn(Knob(error_code=code))
        async with house.open() as visitor:
            refused = await self._ask(house, visitor, RATE * SECONDS, len(EVERYWHERE))
            assert 1 == count(visitor, 'credentials_rejected{site="shop"}')

        assert {502} == set(refused)
        assert house.simulator.calls.total < 0.1 * len(refused)

    @pytest.mark.parametrize(
        "knob",
        [Knob(error_code=403048), Knob(body=Body.HTML, http_status=429)],
        ids=["403048", "429"],
    )
    async def test_of_a_rate_limit_is_honoured(self, knob: Knob, tmp_path: Path) -> None:
        """Asked to slow down, all of us do: far below a tenth, and it is told."""
        house = house_of(tmp_path, upstream={"attempts": 1})
        house.simulator.knobs.turn(knob)
        async with house.open() as visitor:
            limited = await self._ask(house, visitor, RATE * SECONDS, len(EVERYWHERE))
            assert 1 == count(visitor, 'breaker_open{site="shop"}')

        assert {503} == set(limited)
        assert house.simulator.calls.total < 0.03 * len(limited)

    @pytest.mark.parametrize("code", [403024, 409030, 500023])
    async def test_of_less_than_the_site_stops_no_more(self, code: int, tmp_path: Path) -> None:
        """A provider that is away, a user asked for too often: only that one is left alone."""
        house = house_of(tmp_path, upstream={"attempts": 1})
        house.simulator.knobs.turn(Knob(error_code=code, uid="user-twitter"))
        async with house.open() as visitor:
            sick = await self._ask(house, visitor, RATE * SECONDS, 1)
            calls = house.simulator.calls.total
            assert 1 == count(visitor, 'upstream_resting{site="shop"}')
            assert 200 == (await visitor.ask(uid="user-yahoo", provider="yahoo")).status_code

        assert ({503}, True) == (set(sick), calls < 0.03 * len(sick))

    async def test_of_credentials_is_another_alarm(self, tmp_path: Path) -> None:
        """Gigya refuses us: that is no outage, and not hammered; a new key is used at once."""
        house = house_of(tmp_path)
        house.files["/secrets/user"] = b"bm90IHRoZSByaWdodCBvbmUsIHNhZGx5LCBub3QgaXQ="
        async with house.open() as visitor:
            refused = await self._ask(house, visitor, RATE * SECONDS, 1)
            gauges = [
                count(visitor, f'{name}{{site="shop"}}')
                for name in ("breaker_open", "credentials_rejected")
            ]
            assert ({502}, [0, 1]) == (set(refused), gauges)
            assert house.simulator.calls.total < 0.1 * len(refused)

            house.files["/secrets/user"] = house.gigya.user_secret.encode()
            await visitor.look()
            assert 200 == (await visitor.ask()).status_code
            assert 0 == count(visitor, 'credentials_rejected{site="shop"}')

    async def _ask(self, house: House, visitor: Visitor, times: int, sessions: int) -> list[int]:
        """Ask for so many sessions in turn; return the statuses."""
        statuses = []
        for number in range(times):
            house.time.now += 1 / RATE
            provider = EVERYWHERE[number % sessions]
            answer = await visitor.ask(uid=f"user-{provider}", provider=provider)
            statuses.append(answer.status_code)
        return statuses


class TestOverload:
    async def test_is_told_at_once(self, tmp_path: Path) -> None:
        """Beyond the slots and the queue there is a 503 and a time to come back; no waiting."""
        limits = {"concurrency": 2, "queue": 3}
        house = house_of(tmp_path, upstream=limits)
        go = asyncio.Event()
        house.simulator.knobs.turn(hold=go)
        uids = [f"user-{name}" for name in ("twitter", "yahoo", "linkedin", "xing", "everything")]
        async with house.open() as visitor:
            asking = [asyncio.create_task(self._ask(visitor, uid)) for uid in uids]
            await rise(visitor, 'upstream_waiting{site="shop"}', limits["queue"])
            shed = await visitor.ask(uid="user-expired")
            go.set()
            await asyncio.gather(*asking)

        assert (503, "overloaded", "1") == (
            shed.status_code,
            shed.json()["code"],
            shed.headers["retry-after"],
        )
        assert len(uids) == house.simulator.calls.total

    async def _ask(self, visitor: Visitor, uid: str) -> None:
        provider = "twitter" if uid == "user-everything" else uid.removeprefix("user-")
        with contextlib.suppress(asyncio.CancelledError):
            await visitor.ask(uid=uid, provider=provider)
