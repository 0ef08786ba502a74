import asyncio
import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from service.simulator.world import GET_SESSION_INFO
from tests.simulator.asking import NOW, Asking

NAMESPACE = "{urn:com:gigya:api}"


class TestEnvelope:
    async def test_success(self, asking: Asking) -> None:
        """A good reply says so, and names the call."""
        reply = await asking.ask()
        expected = {"statusCode": 200, "errorCode": 0, "statusReason": "OK", "apiVersion": 2}
        assert expected.items() <= reply.items()
        assert ("2027-01-15T08:00:00.000Z", 32) == (reply["time"], len(reply["callId"]))

    async def test_failure(self, asking: Asking) -> None:
        """A refusal has the code, its text and its details, and HTTP says 200."""
        response = await asking.send(
            "POST", f"/{GET_SESSION_INFO}", data=asking.with_secret(UID="stranger")
        )
        expected = {
            "errorCode": 403005,
            "errorMessage": "Unauthorized user",
            "statusCode": 403,
            "statusReason": "Forbidden",
        }
        assert expected.items() <= response.json().items()
        assert 200 == response.status_code

    async def test_http_status_codes(self, asking: Asking) -> None:
        """With ``httpStatusCodes`` HTTP says what the reply says."""
        form = asking.with_secret(UID="stranger", httpStatusCodes="true")
        response = await asking.send("POST", f"/{GET_SESSION_INFO}", data=form)
        assert 403 == response.status_code

    async def test_date(self, asking: Asking) -> None:
        """``Date`` is the simulator's own clock, which a knob can set wrong."""
        responses = []
        for _ in range(2):
            responses.append(await asking.send("GET", f"/{GET_SESSION_INFO}"))
            asking.gigya.knobs.turn(date_offset=-300)
        assert ["Fri, 15 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 2027 07:55:00 GMT"] == [
            response.headers["date"] for response in responses
        ]

    async def test_context(self, asking: Asking) -> None:
        """The context is echoed, on success and on failure."""
        contexts = [
            (await asking.ask(context="c 1", UID=u))["context"] for u in ("x", "user-twitter")
        ]
        assert ["c 1", "c 1"] == contexts

    @pytest.mark.parametrize(("echo", "expected"), [("other", "other"), ("", None)])
    async def test_wrong_context(self, asking: Asking, echo: str, expected: str | None) -> None:
        """A knob echoes another one, or none."""
        asking.gigya.knobs.turn(context=echo)
        assert expected == (await asking.ask(context="mine")).get("context")


class TestParameters:
    async def test_get(self, asking: Asking) -> None:
        """GET is as good as POST."""
        response = await asking.send("GET", f"/{GET_SESSION_INFO}", params=asking.with_secret())
        assert 0 == response.json()["errorCode"]

    async def test_names_in_any_case(self, asking: Asking) -> None:
        """Names match whatever their case: ``uid`` is ``UID``."""
        form = {name.lower(): value for name, value in asking.with_secret().items()}
        assert 0 == (await asking.post(GET_SESSION_INFO, form))["errorCode"]

    async def test_ignored(self, asking: Asking) -> None:
        """Unknown parameters are dropped and reported, good call or not."""
        entries = [
            (await asking.ask(ignoreMe="1", _host="h", **more))["ignoredParams"]
            for more in ({}, {"provider": "facebook"})
        ]
        expected = {"paramName": "ignoreMe", "warningCode": 403007}
        assert [True, True] == [expected.items() <= each[0].items() for each in entries]
        assert "_host" == entries[0][1]["paramName"]

    async def test_known(self, asking: Asking) -> None:
        """All documented parameters are known."""
        reply = await asking.ask(
            cid="c", context="x", sdk="java_3.2.4", format="json", httpStatusCodes="false",
            checkParams="true", paddingMode="PKCS7", encrypt="true", encryptAll="false",
            signIDs="true", timestamp="1",
        )  # fmt: skip
        assert (0, False) == (reply["errorCode"], "ignoredParams" in reply)

    async def test_check_params(self, asking: Asking) -> None:
        """With ``checkParams`` the first unknown one fails the call."""
        reply = await asking.ask(ignoreMe="1", andMe="2", checkParams="true")
        assert (403007, "ignoreMe") == (
            reply["errorCode"],
            reply["errorDetails"].rpartition(" ")[2],
        )

    async def test_check_params_ignored(self, asking: Asking) -> None:
        """A parameter that this Gigya does not know any more counts as unknown."""
        asking.made.world.change(asking.made.api_key, ignores=frozenset({"encrypt"}))
        assert 403007 == await asking.code(encrypt="true", checkParams="true")

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (b"UID=a", "application/json"),
            (b"UID=a", ""),
            (b"UID=%FF", "application/x-www-form-urlencoded"),
            (b"UID=\xc3\xa9", "application/x-www-form-urlencoded"),
            (b"UID=a&UID=b", "application/x-www-form-urlencoded"),
            (b"UID=a&uid=b", "application/x-www-form-urlencoded"),
        ],
        ids=["json", "no-type", "octet", "raw-octets", "twice", "twice-by-case"],
    )
    async def test_bad_form(self, asking: Asking, body: bytes, content_type: str) -> None:
        """A body that is not one URL-encoded form of UTF-8 is 400001."""
        response = await asking.send(
            "POST", f"/{GET_SESSION_INFO}", content=body, headers={"content-type": content_type}
        )
        assert 400001 == response.json()["errorCode"]

    async def test_query_and_body(self, asking: Asking) -> None:
        """One name in query and body is there twice."""
        response = await asking.send(
            "POST", f"/{GET_SESSION_INFO}?UID=a", data=asking.with_secret()
        )
        assert 400001 == response.json()["errorCode"]

    async def test_method(self, asking: Asking) -> None:
        """A method that there is not is 405001."""
        reply = await asking.post("socialize.getEverything", asking.with_secret())
        assert 405001 == reply["errorCode"]


class TestFormats:
    async def test_xml(self, asking: Asking) -> None:
        """``format=xml`` gives the documented document."""
        form = asking.with_secret(format="xml", context="<&>\x01")
        response = await asking.send("POST", f"/{GET_SESSION_INFO}", data=form)
        root = ET.fromstring(response.content)  # noqa: S314  # our own XML
        assert f"{NAMESPACE}socialize.getSessionInfoResponse" == root.tag
        assert "0" == root.findtext(f"{NAMESPACE}errorCode")
        assert "<&>\ufffd" == root.findtext(f"{NAMESPACE}context")

    async def test_xml_failure(self, asking: Asking) -> None:
        """So are refusals, and the parameters that were ignored."""
        form = asking.with_secret(format="xml", UID="stranger", ignoreMe="1")
        response = await asking.send("POST", f"/{GET_SESSION_INFO}", data=form)
        root = ET.fromstring(response.content)  # noqa: S314  # our own XML
        path = f"{NAMESPACE}ignoredParams/{NAMESPACE}ignoredParam/{NAMESPACE}paramName"
        assert ["403005", "ignoreMe"] == [
            root.findtext(f"{NAMESPACE}errorCode"),
            root.findtext(path),
        ]

    async def test_jsonp(self, asking: Asking) -> None:
        """``format=jsonp`` calls the callback."""
        form = asking.with_secret(format="jsonp", callback="f")
        response = await asking.send("POST", f"/{GET_SESSION_INFO}", data=form)
        assert 0 == json.loads(response.text.removeprefix("f(").removesuffix(");"))["errorCode"]

    @pytest.mark.parametrize("form", [{"format": "yaml"}, {"format": "jsonp"}])
    async def test_unknown(self, asking: Asking, form: dict[str, str]) -> None:
        """Another format, or JSONP without a callback, is 400006."""
        assert 400006 == await asking.code(**form)


class TestDataCenter:
    async def test_elsewhere(self, asking: Asking) -> None:
        """A site of another data center is 301001, which says where it is."""
        form = asking.with_secret(apiKey=asking.made.elsewhere_api_key)
        reply = await asking.post(GET_SESSION_INFO, form)
        assert (301001, "eu1.gigya.com") == (reply["errorCode"], reply["apiDomain"])
        assert f"https://socialize.eu1.gigya.com/{GET_SESSION_INFO}" == reply["location"]

    async def test_there(self, asking: Asking) -> None:
        """Asked there, it answers."""
        asking.base = "https://accounts.eu1.gigya.com"
        form = asking.with_secret(apiKey=asking.made.elsewhere_api_key)
        assert 0 == (await asking.post(GET_SESSION_INFO, form))["errorCode"]

    async def test_any_other_host(self, asking: Asking) -> None:
        """Under a host that names no data center the simulator is its own."""
        asking.base = "https://127.0.0.1:9321"
        assert 0 == await asking.code()

    async def test_location_header(self, asking: Asking) -> None:
        """With ``httpStatusCodes`` it is a redirect."""
        form = asking.with_secret(apiKey=asking.made.elsewhere_api_key, httpStatusCodes="true")
        response = await asking.send("POST", f"/{GET_SESSION_INFO}", data=form)
        assert (301, response.json()["location"]) == (
            response.status_code,
            response.headers["location"],
        )


class TestLimits:
    async def test_rate(self, asking: Asking) -> None:
        """Calls above the site's rate are 403048, until the next second."""
        asking.made.world.change(asking.made.api_key, calls_per_second=2)
        codes = [await asking.code() for _ in range(3)]
        asking.time.now += 1
        assert [0, 0, 403048, 0] == [*codes, await asking.code()]

    async def test_concurrency(self, asking: Asking) -> None:
        """More than five calls at once for one UID are 409030; other UIDs do not mind."""
        door = asyncio.Event()
        asking.gigya.knobs.turn(hold=door)
        tasks = [asyncio.create_task(asking.code()) for _ in range(6)]
        await asking.gigya.calls.arrive(6)
        other = asyncio.create_task(asking.code(UID="user-facebook", provider="facebook"))
        await asking.gigya.calls.arrive(7)
        door.set()
        assert [0] * 5 + [409030] == sorted(await asyncio.gather(*tasks))
        assert (0, 6) == (await other, asking.gigya.in_flight.most)

    async def test_concurrency_ends(self, asking: Asking) -> None:
        """What was served, or given up, is in flight no more."""
        asking.gigya.knobs.turn(hold=asyncio.Event(), times=1)
        task = asyncio.create_task(asking.code())
        await asking.gigya.calls.arrive(1)
        task.cancel()
        await asyncio.wait([task])
        assert (0, {}) == (await asking.code(), dict(asking.gigya.in_flight.counts))


class TestCalls:
    async def test_log(self, asking: Asking) -> None:
        """Every call is kept with what it sent and what it got."""
        await asking.ask(cid="one")
        await asking.ask(UID="stranger")
        last = asking.gigya.calls.last
        counted: Any = dict(asking.gigya.calls.by_code)
        assert (2, {0: 1, 403005: 1}) == (asking.gigya.calls.total, counted)
        assert ("stranger", 403005, NOW) == (last.get("uid"), last.error_code, last.at)

    async def test_shows_no_secret(self, asking: Asking) -> None:
        """A call that is printed shows neither parameters nor headers."""
        await asking.ask_with(asking.bearer())
        await asking.ask()
        assert not any(
            secret in repr(call)
            for call in asking.gigya.calls.kept
            for secret in (asking.made.user_secret, "Bearer", "user-twitter")
        )
