from typing import Any

import pytest

from tests.simulator.asking import Asking


@pytest.fixture
def asking() -> Asking:
    """Return a customer whose simulator has its control paths open."""
    return Asking(options={"has_control": True}, base="https://localhost:9321")


class TestControl:
    async def test_turn(self, asking: Asking) -> None:
        """A knob is turned, or several at once, and shown with the calls it has left."""
        await asking.send("POST", "/_simulator/knobs", json={"error_code": 500001, "times": 1})
        await asking.send("POST", "/_simulator/knobs", json=[{"ignores": ["b", "a"]}])
        answer = await asking.send("GET", "/_simulator/knobs")
        expected = [
            {"error_code": 500001, "times": 1, "left": 1},
            {"ignores": ["a", "b"], "left": None},
        ]
        assert expected == answer.json()["knobs"]
        assert [500001, 0] == [await asking.code(), await asking.code()]

    async def test_clear(self, asking: Asking) -> None:
        """All knobs are taken back."""
        asking.gigya.knobs.turn(error_code=500001)
        answer = await asking.send("DELETE", "/_simulator/knobs")
        assert ([], 0) == (answer.json()["knobs"], await asking.code())

    async def test_calls(self, asking: Asking) -> None:
        """Calls are counted, and their parameters not shown."""
        await asking.ask(UID="stranger")
        answer = await asking.send("GET", "/_simulator/calls")
        by_method = {"socialize.getSessionInfo": 1}
        expected = {"total": 1, "by_method": by_method, "by_code": {"403005": 1}}
        assert expected == answer.json()

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (b"{}", "text/plain"),
            (b"{", "application/json"),
            (b'{"knob": 1}', "application/json"),
            (b"\xff", "application/json"),
        ],
    )
    async def test_bad_request(self, asking: Asking, body: bytes, content_type: str) -> None:
        """What is no knob in JSON is a bad request."""
        answer = await asking.send(
            "POST", "/_simulator/knobs", content=body, headers={"content-type": content_type}
        )
        assert 400 == answer.status_code

    async def test_unknown_path(self, asking: Asking) -> None:
        """Another path says which there are."""
        answer = await asking.send("GET", "/_simulator/sites")
        assert (404, True) == (answer.status_code, "GET knobs" in answer.json()["paths"])

    @pytest.mark.parametrize(
        ("peer", "base"),
        [
            ("10.0.0.7", "https://localhost:9321"),
            ("127.0.0.1", "https://rebound.example:9321"),
            ("127.0.0.1", "https://socialize.us1.gigya.com"),
            ("", "https://localhost"),
        ],
    )
    async def test_elsewhere(self, asking: Asking, peer: str, base: str) -> None:
        """Another machine may not, nor a page that was given the name of this one."""
        asking.peer, asking.base = peer, base
        assert 403 == (await asking.send("GET", "/_simulator/knobs")).status_code

    @pytest.mark.parametrize(
        "base", ["https://127.0.0.1:1", "https://[::1]:1", "https://localhost"]
    )
    async def test_here(self, asking: Asking, base: str) -> None:
        """This machine may, by any of its names."""
        asking.base = base
        assert 200 == (await asking.send("GET", "/_simulator/knobs")).status_code

    async def test_closed(self) -> None:
        """Unless they are opened there are no control paths."""
        answer: Any = await Asking().send("GET", "/_simulator/knobs")
        assert 405001 == answer.json()["errorCode"]
