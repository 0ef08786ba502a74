import asyncio
import gzip
import json
from typing import Any

import pytest

from service.simulator import Body, Knob, Knobs, Wire, knob_json
from service.simulator.bodies import SPOILERS
from service.simulator.codes import NAMES
from service.simulator.world import GET_SESSION_INFO, GET_TOKEN
from tests.simulator.asking import Asking
from tests.virtual_time import VIRTUAL


def take(knobs: Knobs, uid: str = "u") -> int | None:
    """Return the error code that one call suffers."""
    return knobs.take(method=GET_SESSION_INFO, api_key="3_a", uid=uid).error_code


class TestKnobs:
    def test_times(self) -> None:
        """A knob holds for the next n calls, then it is gone."""
        knobs = Knobs()
        knobs.turn(error_code=1, times=2)
        assert [1, 1, None] == [take(knobs) for _ in range(3)]
        assert () == knobs.in_force

    def test_for_ever(self) -> None:
        """Without a number it holds for ever, until it is taken back."""
        knobs = Knobs()
        turned = knobs.turn(error_code=1)
        seen = [take(knobs) for _ in range(3)]
        knobs.undo(turned)
        assert [1, 1, 1, None] == [*seen, take(knobs)]

    def test_skip(self) -> None:
        """Some calls may go by before."""
        knobs = Knobs(Knob(error_code=1, skip=2, times=1))
        assert [None, None, 1, None] == [take(knobs) for _ in range(4)]

    def test_uid(self) -> None:
        """It may be for one UID, and other calls do not count."""
        knobs = Knobs(Knob(error_code=1, uid="a", times=1))
        assert [None, 1, None] == [take(knobs, uid) for uid in ("b", "a", "a")]

    @pytest.mark.parametrize("other", [{"method": GET_TOKEN}, {"api_key": "3_b"}])
    def test_scope(self, other: dict[str, Any]) -> None:
        """It may be for one method or site."""
        assert take(Knobs(Knob(error_code=1, **other))) is None

    def test_together(self) -> None:
        """Several hold together, later ones over earlier."""
        knobs = Knobs(Knob(error_code=1, delay=2.0), Knob(error_code=3, wire=Wire.RESET))
        knob = knobs.take(method=GET_SESSION_INFO, api_key=None, uid=None)
        assert (3, 2.0, Wire.RESET) == (knob.error_code, knob.delay, knob.wire)

    def test_clear(self) -> None:
        """All can be taken back at once, and one that is gone can be taken back again."""
        knobs = Knobs()
        turned = knobs.turn(error_code=1)
        knobs.clear()
        knobs.undo(turned)
        assert take(knobs) is None


class TestKnobJson:
    def test_read(self) -> None:
        """A knob in JSON has its attributes' names."""
        knob = knob_json.read(
            {"wire": "reset", "body": "html", "times": 2, "ignores": ["encrypt"], "delay": 0.5}
        )
        expected = Knob(
            wire=Wire.RESET, body=Body.HTML, times=2, ignores=frozenset({"encrypt"}), delay=0.5
        )
        assert expected == knob

    @pytest.mark.parametrize(
        "document",
        [
            [],
            "html",
            {"hold": True},
            {"bodies": "html"},
            {"body": "htm"},
            {"times": "2"},
            {"times": True},
            {"delay": None},
            {"headers": []},
            {"ignores": "encrypt"},
        ],
    )
    def test_refused(self, document: Any) -> None:
        """Anything else is refused."""
        with pytest.raises(ValueError, match=r"."):
            knob_json.read(document)


class TestErrorCodes:
    @pytest.mark.parametrize("code", [*sorted(NAMES)[1:], 999999, -1, 403999])
    async def test_any(self, asking: Asking, code: int) -> None:
        """Any code can be forced, listed or not."""
        asking.gigya.knobs.turn(error_code=code, times=1)
        assert [code, 0] == [await asking.code(), await asking.code()]

    async def test_after_authentication(self, asking: Asking) -> None:
        """The call is authenticated first, so that a replayed nonce is still found."""
        asking.gigya.knobs.turn(error_code=500001, times=1)
        headers = asking.bearer()
        codes = [(await asking.ask_with(headers))["errorCode"] for _ in range(2)]
        assert [500001, 403004] == codes

    async def test_get_token(self, asking: Asking) -> None:
        """So can ``socialize.getToken`` be made to fail."""
        asking.gigya.knobs.turn(error_code=500001, method=GET_TOKEN)
        reply = await asking.post(GET_TOKEN, asking.token_form())
        assert (500001, 0) == (reply["errorCode"], await asking.code())

    async def test_of_a_site(self, asking: Asking) -> None:
        """A knob for a site finds the calls that carry an access token of it."""
        token = await asking.access_token()
        asking.gigya.knobs.turn(error_code=500028, api_key=asking.made.api_key)
        form = {"UID": "user-twitter", "provider": "twitter", "oauth_token": token}
        assert 500028 == (await asking.post(GET_SESSION_INFO, form))["errorCode"]


class TestAnswers:
    async def test_status_and_headers(self, asking: Asking) -> None:
        """HTTP status and headers can be anything."""
        asking.gigya.knobs.turn(http_status=503, headers={"Retry-After": "7"})
        response = await asking.send("GET", f"/{GET_SESSION_INFO}")
        assert (503, "7") == (response.status_code, response.headers["retry-after"])

    async def test_members(self, asking: Asking) -> None:
        """Members of the reply can be anything, or missing."""
        asking.gigya.knobs.turn(members={"errorCode": "0", "authToken": None, "new": [1]})
        reply = await asking.ask()
        assert ("0", [1], False) == (reply["errorCode"], reply["new"], "authToken" in reply)

    async def test_raises_in_process(self, asking: Asking) -> None:
        """In process a broken connection is an exception."""
        asking.gigya.knobs.turn(wire=Wire.RESET_IN_BODY)
        with pytest.raises(ConnectionResetError):
            await asking.ask()

    async def test_truncates_in_process(self, asking: Asking) -> None:
        """A truncated answer is half the body there."""
        asking.gigya.knobs.turn(wire=Wire.TRUNCATE)
        with pytest.raises(json.JSONDecodeError):
            await asking.ask()


class TestDelay:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """Time is virtual here."""
        return VIRTUAL

    async def test_delay(self, asking: Asking) -> None:
        """An answer can be late by any time."""
        asking.gigya.knobs.turn(delay=3600.0)
        await asking.ask()
        assert 3600.0 == asyncio.get_running_loop().time()


class TestBodies:
    async def body(self, asking: Asking, body: Body, size: int = 1 << 20) -> tuple[bytes, str]:
        """Return a spoiled body as sent, and its content encoding."""
        asking.gigya.knobs.turn(body=body, body_size=size)
        sent: list[bytes] = []

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            sent.extend(v for k, v in message.get("headers", []) if k == b"content-encoding")

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {
            "type": "http", "method": "GET", "scheme": "https", "path": f"/{GET_SESSION_INFO}",
            "query_string": "&".join(
                f"{k}={v.replace('+', '%2B')}" for k, v in asking.with_secret().items()
            ).encode(),
            "headers": [(b"host", b"localhost")],
        }  # fmt: skip
        await asking.gigya(scope, receive, send)
        return sent[-1], "gzip" if b"gzip" in sent else ""

    def test_all(self) -> None:
        """Every form has its row."""
        assert set(Body) == set(SPOILERS)

    @pytest.mark.parametrize(
        "form", set(Body) - {Body.HUGE, Body.NUMBER, Body.ARRAY, Body.DUPLICATE, Body.NAN}
    )
    async def test_not_strict_json(self, asking: Asking, form: Body) -> None:
        """Most forms are no JSON at all."""
        octets, _ = await self.body(asking, form)
        with pytest.raises((ValueError, RecursionError)):
            json.loads(octets.decode("utf-8"))

    @pytest.mark.parametrize(
        ("form", "kind"), [(Body.NUMBER, int), (Body.ARRAY, list), (Body.HUGE, dict)]
    )
    async def test_json(self, asking: Asking, form: Body, kind: type) -> None:
        """Others are JSON of another kind, or too much of it."""
        octets, _ = await self.body(asking, form, 100_000)
        assert kind is type(json.loads(octets))
        assert (form is Body.HUGE) == (len(octets) > 100_000)

    async def test_duplicate(self, asking: Asking) -> None:
        """A duplicate member makes two readings of one reply."""
        octets, _ = await self.body(asking, Body.DUPLICATE)
        pairs = json.loads(octets, object_pairs_hook=list)
        assert 2 == [name for name, _ in pairs].count("authToken")

    @pytest.mark.parametrize(("form", "size"), [(Body.GZIP, None), (Body.GZIP_BOMB, 50_000)])
    async def test_gzip(self, asking: Asking, form: Body, size: int | None) -> None:
        """Encoded bodies say that they are, and unpack to the reply or to a great deal."""
        octets, encoding = await self.body(asking, form, size or 0)
        unpacked = gzip.decompress(octets)
        assert "gzip" == encoding
        assert size == len(unpacked) if size else json.loads(unpacked)["errorCode"] == 0
