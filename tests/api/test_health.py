import asyncio
from collections.abc import Mapping
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import httpx
import pytest

from service.api.health import management
from tests.house import AUDIT_FILE, House


async def ask(path: str, *, method: str = "GET", **parts: Any) -> httpx.Response:
    """Ask the management port of a process that is so."""
    given = {"readiness": dict, "exposition": lambda: b"", "content_type": "text/plain"}
    app = management(**{**given, **parts})
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://proxy"
    ) as client:
        return await client.request(method, path)


class TestLiveness:
    async def test_is_alive_while_it_answers(self) -> None:
        """Whoever can answer is alive, ready or not."""
        answer = await ask("/livez", readiness=lambda: {"listening": False})

        assert (200, "ok\n") == (answer.status_code, answer.text)


class TestReadiness:
    @pytest.mark.parametrize(
        ("parts", "status", "text"),
        [
            ({}, 200, ""),
            ({"a": True, "b": True}, 200, "ok  a\nok  b\n"),
            ({"a": True, "b": False}, 503, "ok  a\nnot b\n"),
        ],
        ids=["nothing needed", "all", "not all"],
    )
    async def test_says_what_is_missing(
        self, parts: Mapping[str, bool], status: int, text: str
    ) -> None:
        """Every part must be so; the answer names each."""
        answer = await ask("/readyz", readiness=lambda: parts)

        assert (status, text) == (answer.status_code, answer.text)

    async def test_does_not_depend_on_others(self, tmp_path: Path) -> None:
        """With Gigya failing, the audit gone and a key file faulty the process stays ready."""
        house = House(tmp_path)
        house.settings["upstream"] = {"attempts": 1}
        house.simulator.knobs.turn(error_code=500001)
        async with house.open() as visitor:
            await asyncio.sleep(0)
            house.files["/secrets/partner"] = b"not a key"
            await visitor.look()
            told = [(await visitor.ask()).json()["code"]]
            (tmp_path / AUDIT_FILE).unlink()
            (tmp_path / AUDIT_FILE).mkdir()
            async with asyncio.timeout(20):
                while told[-1] != "audit-unavailable":
                    told.append((await visitor.ask()).json()["code"])
            answer = await visitor.manage("/readyz")

        assert {"upstream-unavailable", "audit-unavailable"} == set(told)
        assert 200 == answer.status_code

    async def test_ends_when_the_process_is_to_end(self, tmp_path: Path) -> None:
        """Who drains is not ready, and says so."""
        async with House(tmp_path).open() as visitor:
            visitor.application.lifecycle.drain()
            answer = await visitor.manage("/readyz")
            served = await visitor.ask()

        assert (503, 200) == (answer.status_code, served.status_code)
        assert "not taking new requests\n" in answer.text


class TestMetrics:
    async def test_are_made_off_the_event_loop(self) -> None:
        """An exposition takes milliseconds, which no request should wait for."""
        threads = []

        def exposition() -> bytes:
            threads.append(current_thread())
            return b"metric 1\n"

        answer = await ask("/metrics", exposition=exposition, content_type="text/plain; version=1")

        assert "metric 1\n" == answer.text
        assert answer.headers["content-type"].startswith("text/plain; version=1")
        assert main_thread() not in threads


class TestEverythingElse:
    @pytest.mark.parametrize("path", ["/", "/livez/", "/v1/grants", "/openapi.json", "/Livez"])
    async def test_is_not_here(self, path: str) -> None:
        """The management port has three routes, and none of the API's."""
        answer = await ask(path)

        assert 404 == answer.status_code
        assert "/readyz" in answer.text

    @pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
    async def test_is_only_read(self, path: str) -> None:
        """Nothing can be changed through it."""
        assert [405] * 3 == [
            (await ask(path, method=method)).status_code for method in ("POST", "PUT", "DELETE")
        ]


class TestLatest:
    async def test_is_used_again_for_a_second(self) -> None:
        """Whoever asks for metrics without end makes them once a second, never twice at once."""
        made: list[bytes] = []

        def make() -> bytes:
            made.append(b"")
            return str(len(made)).encode()

        app = management(readiness=dict, exposition=make, content_type="text/plain")
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://proxy"
        ) as client:
            answers = await asyncio.gather(*(client.get("/metrics") for _ in range(20)))

        assert ({"1"}, 1) == ({answer.text for answer in answers}, len(made))
