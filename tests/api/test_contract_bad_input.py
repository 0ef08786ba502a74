"""Bad input end to end: each a clear problem, never a 500, nothing of it echoed (issue 2)."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from service import heads
from service.api.problems import BEFORE
from tests.house import AUDIT_FILE, TOKEN, House, body
from tests.listening import Held, listening

SENT: Final = "s3cret-that-was-sent"
GOOD: Final[dict[str, Any]] = {"uid": "user-twitter", "provider": "twitter"}


def with_(**members: Any) -> bytes:
    return json.dumps({**GOOD, **members}).encode()


def without(name: str) -> bytes:
    return json.dumps({k: v for k, v in GOOD.items() if k != name}).encode()


def raw(name: str, value: bytes) -> bytes:
    """Return a good request with one more member, written as given."""
    return b'{"uid": "user-twitter", "provider": "twitter", "%s": %s}' % (name.encode(), value)


NOT_AN_OBJECT: Final[Mapping[str, bytes]] = {
    "empty": b"",
    "white space": b" \n",
    "not JSON": SENT.encode(),
    "half a document": with_()[:-5],
    "two documents": with_() + with_(),
    "a comment": b"/* */" + with_(),
    "a trailing comma": b'{"uid": "u", "provider": "twitter",}',
    "single quotes": b"{'uid': 'u'}",
    "an array": b"[" + with_() + b"]",
    "a string": b'"%s"' % SENT.encode(),
    "a number": b"1",
    "null": b"null",
    "a form": f"uid={SENT}&provider=twitter".encode(),
    "a byte order mark": b"\xef\xbb\xbf" + with_(),
    "UTF-16": with_().decode().encode("utf-16"),
    "bad UTF-8": raw("cid", b'"\xff\xfe"'),
    "overlong UTF-8": raw("cid", b'"\xc0\xaf"'),
    "an encoded surrogate": raw("cid", b'"\xed\xa0\x80"'),
    "half a surrogate pair": raw("cid", rb'"\ud800"'),
    "a surrogate in a name": b'{"\\udc00": 1}',
    "a raw control character": raw("cid", b'"a\x00b"'),
    "NaN": raw("min_ttl", b"NaN"),
    "Infinity": raw("min_ttl", b"-Infinity"),
    "a number out of range": raw("context", b"1e999"),
    "a number of 5000 digits": raw("context", b"9" * 5000),
    "a duplicate member": raw("uid", b'"%s"' % SENT.encode()),
    "a duplicate member inside": raw("context", b'{"a": 1, "a": 2}'),
    "a member that escapes hide": b'{"uid": "u", "\\u0075id": "v", "provider": "twitter"}',
    "too deep": raw("context", b"[" * 40 + b"]" * 40),
    "deeper than any stack": raw("context", b"[" * 8000),
}
"""Bodies without one meaning: the detail says what they are not."""

MEMBERS: Final[Mapping[str, tuple[str, bytes]]] = {
    "uid missing": ("uid", without("uid")),
    "provider missing": ("provider", without("provider")),
    "uid null": ("uid", with_(uid=None)),
    "uid a number": ("uid", with_(uid=42)),
    "uid empty": ("uid", with_(uid="")),
    "uid a list": ("uid", with_(uid=[SENT])),
    "uid too long": ("uid", with_(uid="u" * 513)),
    "uid with a line break": ("uid", with_(uid=f"{SENT}\n")),
    "uid with a NUL": ("uid", with_(uid=f"{SENT}\0")),
    "uid with a C1 control": ("uid", with_(uid=f"{SENT}\x85")),
    "provider too long": ("provider", with_(provider="p" * 101)),
    "site true": ("site", with_(site=True)),
    "site empty": ("site", with_(site="")),
    "fields a text": ("fields", with_(fields="oauth_token")),
    "fields empty": ("fields", with_(fields=[])),
    "fields with an empty name": ("fields", with_(fields=[""])),
    "fields with a number": ("fields", with_(fields=[1])),
    "fields twice": ("fields", with_(fields=["authToken", "authToken"])),
    "fields too many": ("fields", with_(fields=[f"f{n}" for n in range(33)])),
    "fields unknown": ("fields", with_(fields=[SENT])),
    "fields of another provider": ("fields", with_(provider="facebook", fields=["oauth_token"])),
    "fields in odd case": ("fields", with_(fields=["AuthToken"])),
    "min_ttl negative": ("min_ttl", with_(min_ttl=-1)),
    "min_ttl a text": ("min_ttl", with_(min_ttl="1")),
    "min_ttl a float": ("min_ttl", with_(min_ttl=1.0)),
    "min_ttl a Boolean": ("min_ttl", with_(min_ttl=True)),
    "min_ttl beyond reason": ("min_ttl", with_(min_ttl=10**30)),
    "max_age null": ("max_age", with_(max_age=None)),
    "cid too long": ("cid", with_(cid="c" * 101)),
    "cid with a control character": ("cid", with_(cid="a\tb")),
    "context too large": ("context", with_(context="c" * 4096)),
    "context too large in UTF-8": ("context", with_(context="ä" * 2048)),
    "verify_provider_uid a text": ("verify_provider_uid", with_(verify_provider_uid="true")),
    "verify_provider_uid a number": ("verify_provider_uid", with_(verify_provider_uid=1)),
    "uid_signature a text": ("uid_signature", with_(uid_signature=SENT)),
    "uid_signature without a signature": (
        "uid_signature",
        with_(uid_signature={"timestamp": "1"}),
    ),
    "uid_signature with more": (
        "uid_signature",
        with_(uid_signature={"timestamp": "1", "signature": "x", SENT: 1}),
    ),
    "uid_signature with a number": (
        "uid_signature",
        with_(uid_signature={"timestamp": 1, "signature": "x"}),
    ),
    "an unknown member": ("Members not known here: 1", with_(**{SENT: 1})),
    "a member in odd case": ("Members not known here: 1", with_(UID="u")),
}
"""What one member can have wrong, and what the detail names."""

PROVIDERS: Final = (
    *("Facebook", "FACEBOOK", "facebook ", "myspace2", "livejournal", "saml-acme"),
    SENT,
)

TYPES: Final[Mapping[str, list[tuple[str, str]]]] = {
    "none": [],
    "text": [("content-type", "text/plain")],
    "a form": [("content-type", "application/x-www-form-urlencoded")],
    "another JSON": [("content-type", "application/problem+json")],
    "another charset": [("content-type", "application/json; charset=latin-1")],
    "another parameter": [("content-type", "application/json; version=1")],
    "two": [("content-type", "application/json"), ("content-type", "application/json")],
    "two in one": [("content-type", "application/json, application/json")],
    "empty": [("content-type", "")],
}


def check(answer: httpx.Response, status: int, code: str) -> str:
    """Check the form of a problem that quotes nothing; return its detail."""
    problem = answer.json()
    members = {"type", "title", "status", "detail", "code", "audit_id", "retryable"}
    assert members == set(problem) - {"missing"}
    assert (status, code, status) == (answer.status_code, problem["code"], problem["status"])
    assert "application/problem+json" == answer.headers["content-type"]
    assert problem["audit_id"] == answer.headers["audit-id"]
    assert SENT not in answer.text
    assert SENT not in str(answer.headers)
    return str(problem["detail"])


async def posted(directory: Path, octets: bytes) -> tuple[httpx.Response, House]:
    house = House(directory)
    async with house.open() as visitor:
        answer = await visitor.post(octets)
    assert SENT not in house.log.getvalue() + str(house.records())
    assert 0 == house.simulator.calls.total
    return answer, house


class TestBodies:
    @pytest.mark.parametrize("octets", NOT_AN_OBJECT.values(), ids=NOT_AN_OBJECT)
    async def test_that_have_no_one_meaning(self, octets: bytes, tmp_path: Path) -> None:
        """What is no JSON object, or could be read in two ways, is refused."""
        answer, house = await posted(tmp_path, octets)

        detail = check(answer, 400, "invalid-request")
        assert detail.startswith("The body is ")
        assert "not-a-json-object" == house.records()[0]["reason"]

    @pytest.mark.parametrize("size", [17 * 1024, 1024 * 1024])
    async def test_that_are_too_large(self, size: int, tmp_path: Path) -> None:
        """Over 16 KiB nothing is parsed."""
        answer, _ = await posted(tmp_path, with_(context="c" * size))

        assert "16384" in check(answer, 413, "request-too-large")

    async def test_that_are_just_small_enough(self, tmp_path: Path) -> None:
        """White space up to 16 KiB does no harm."""
        async with House(tmp_path).open() as visitor:
            answer = await visitor.post(with_().ljust(16 * 1024))

        assert 200 == answer.status_code

    @pytest.mark.parametrize("lines", TYPES.values(), ids=TYPES)
    async def test_of_another_type(self, lines: list[tuple[str, str]], tmp_path: Path) -> None:
        """One Content-Type says JSON in UTF-8, or the body is not looked at."""
        async with House(tmp_path).open() as visitor:
            answer = await visitor.request(
                "POST",
                "/v1/provider-tokens",
                content=with_(),
                headers=[("authorization", f"Bearer {TOKEN}"), *lines],
            )

        check(answer, 415, "unsupported-media-type")

    @pytest.mark.parametrize(
        "value",
        ["application/json", "Application/JSON", 'application/json; charset="UTF-8"',
         "application/json;charset=utf-8"],
    )  # fmt: skip
    async def test_of_the_type_in_any_spelling(self, value: str, tmp_path: Path) -> None:
        """The media type is matched as RFC 9110 says: whatever its case."""
        async with House(tmp_path).open() as visitor:
            answer = await visitor.post(with_(), content_type=value)

        assert 200 == answer.status_code


class TestMembers:
    @pytest.mark.parametrize(("named", "octets"), MEMBERS.values(), ids=MEMBERS)
    async def test_that_are_wrong(self, named: str, octets: bytes, tmp_path: Path) -> None:
        """The detail names the member, and never what it held."""
        answer, _ = await posted(tmp_path, octets)

        assert named in check(answer, 400, "invalid-request")

    async def test_are_all_told_at_once(self, tmp_path: Path) -> None:
        """A caller learns of everything that is wrong in one answer."""
        answer, _ = await posted(tmp_path, b'{"min_ttl": -1, "cid": 1, "x": 1}')

        detail = check(answer, 400, "invalid-request")
        assert all(name in detail for name in ("uid", "provider", "min_ttl", "cid", "not known"))

    @pytest.mark.parametrize("provider", PROVIDERS)
    async def test_provider_in_its_exact_case(self, provider: str, tmp_path: Path) -> None:
        """A provider of another spelling, or without a mapping, is unknown."""
        answer, house = await posted(tmp_path, with_(provider=provider))

        check(answer, 400, "unknown-provider")
        assert "provider" not in house.records()[0]

    @pytest.mark.parametrize("site", ["Shop", "shop ", SENT])
    async def test_site_in_its_exact_case(self, site: str, tmp_path: Path) -> None:
        """A site of another spelling is one that is not granted."""
        answer, house = await posted(tmp_path, with_(site=site))

        check(answer, 403, "access-denied")
        assert "site" == answer.json()["missing"]
        assert "site" not in house.records()[0]

    async def test_unusual_texts_are_texts(self, tmp_path: Path) -> None:
        """Any UID without control characters is asked for, and Gigya gets exactly that."""
        house = House(tmp_path)
        uid = "_guid_Ünï+/c&=d é%41~*日本=="

        async with house.open() as visitor:
            answer = await visitor.ask(uid=uid, cid="ç&=+ %")

        assert 200 == answer.status_code
        call = house.simulator.calls.last
        assert (uid, "ç&=+ %") == (call.get("UID"), call.get("cid"))


class TestHeaders:
    @pytest.mark.parametrize("value", ["0", "soon", "1e3", "-1", SENT])
    async def test_request_timeout(self, value: str, tmp_path: Path) -> None:
        """A Request-Timeout that is no decimal number of seconds is refused."""
        async with House(tmp_path).open() as visitor:
            answer = await visitor.ask(headers={"request-timeout": value})

        assert "Request-Timeout" in check(answer, 400, "invalid-request")

    @pytest.mark.parametrize(
        "value", ["", SENT, f"00-{'0' * 32}-{'1' * 16}-01", f"ff-{'1' * 32}-{'1' * 16}-01"]
    )
    async def test_a_bad_traceparent_is_none(self, value: str, tmp_path: Path) -> None:
        """A malformed traceparent costs nothing and is not kept."""
        house = House(tmp_path)
        async with house.open() as visitor:
            answer = await visitor.ask(headers={"traceparent": value})

        assert 200 == answer.status_code
        assert "trace_id" not in house.records()[0]


class TestSilence:
    async def test_half_a_request_and_then_nothing(self, tmp_path: Path) -> None:
        """Over a real socket: a body that stops gets 408, a record, and the connection's end."""
        house = House(tmp_path)
        house.settings["listeners"] = {"api": {"body_timeout": 0.1}}
        head = (
            "POST /v1/provider-tokens HTTP/1.1\r\nHost: proxy\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(with_())}\r\n\r\n"
        )
        async with (
            house.open() as visitor,
            listening(visitor.application.api, body_timeout=0.1) as door,
            door.client() as client,
        ):
            client.writer.write(head.encode() + with_()[:10])
            lines, octets = await client.answer()
            rest = await client.rest()

        assert lines[0].startswith(b"http/1.1 408")
        problem = json.loads(octets)
        assert ("request-timeout", True) == (problem["code"], problem["retryable"])
        assert b"" == rest
        [record] = house.records()
        assert ("request-timeout", 408) == (record["outcome"], record["status"])
        assert problem["audit_id"] == record["audit_id"]

    async def test_half_a_request_and_then_the_callers_end(self, tmp_path: Path) -> None:
        """A caller that goes away is recorded as gone; there is nobody to answer."""
        house = House(tmp_path)
        async with house.open() as visitor:
            exchange = await visitor.exchange(
                body(with_()[:10], more=True), {"type": "http.disconnect"}
            )

        assert [] == exchange.sent
        assert "caller-gone" == house.records()[0]["outcome"]


HEAD: Final = b"GET /v1/grants HTTP/1.1\r\nHost: proxy\r\n"
NO_REQUESTS: Final[Mapping[str, tuple[bytes, int, str, str]]] = {
    "half a head": (HEAD, 408, "request-timeout", "header-timeout"),
    "a long path": (
        b"GET /" + SENT.encode() * 2000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        431,
        "request-too-large",
        "head-too-large",
    ),
    "a long header": (
        HEAD + b"X: " + SENT.encode() * 2000 + b"\r\n\r\n",
        431,
        "request-too-large",
        "head-too-large",
    ),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "invalid-request", "host-header"),
    "two hosts": (HEAD + b"Host: b\r\n\r\n", 400, "invalid-request", "host-header"),
    "no HTTP": (SENT.encode() + b"\r\n\r\n", 400, "invalid-request", "parse-error"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 400, "invalid-request", "parse-error"),
    "a bad chunk": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
        "invalid-request",
        "parse-error",
    ),
    "a chunk full of extensions": (
        b"POST /v1/provider-tokens HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;"
        + b"x" * 60_000,
        400,
        "invalid-request",
        "body-framing",
    ),
}


class TestNoRequest:
    def test_has_an_answer_for_every_fault(self) -> None:
        """Each fault that a head can have is listed, and its status has its code."""
        faults = [each for each in vars(heads).values() if isinstance(each, heads.Unacceptable)]
        assert set(faults) == set(heads.REFUSALS)
        assert {fault.status for fault in faults} == set(BEFORE)
        assert {fault.reason for fault in faults} - {"pipeline"} == {
            r for *_, r in NO_REQUESTS.values()
        }

    @pytest.mark.parametrize("name", NO_REQUESTS)
    async def test_is_a_clear_problem(self, name: str, tmp_path: Path) -> None:
        """What never becomes a request gets a problem like any other, which repeats nothing."""
        octets, status, code, reason = NO_REQUESTS[name]
        house = House(tmp_path)
        async with (
            house.open() as visitor,
            listening(Held(), turn_away=visitor.application.turn_away, header_timeout=0.2) as door,
            door.client() as client,
        ):
            client.writer.write(octets)
            lines, told = await client.answer()
            rest = await client.rest()
            metrics = (await visitor.manage("/metrics")).text
            contract = (await visitor.get("/openapi.json")).json()

        problem = json.loads(told)
        assert (f"http/1.1 {status} ".encode(), b"") == (lines[0][:13], rest)
        assert (status, code) == (problem["status"], problem["code"])
        assert SENT not in told.decode()
        assert {
            b"connection: close",
            b"cache-control: no-store",
            b"content-type: application/problem+json",
            b"audit-id: " + problem["audit_id"].encode(),
        } <= set(lines)
        responses = contract["paths"]["/v1/grants"]["get"]["responses"]
        assert code in json.dumps(responses[str(status)])
        assert f'problems_total{{code="{code}"}} 1.0' in metrics
        assert f'"{reason}"' in (tmp_path / AUDIT_FILE).read_text()

    async def test_of_a_head_has_no_body(self, tmp_path: Path) -> None:
        """Where HTTP forbids a body there is none."""
        async with (
            House(tmp_path).open() as visitor,
            listening(turn_away=visitor.application.turn_away) as door,
            door.client() as client,
        ):
            client.writer.write(b"HEAD / HTTP/1.1\r\n\r\n")
            received = await client.rest()

        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.endswith(b"\r\n\r\n")


PIECES: Final = (
    *(b'{"uid":', b'"u"', b",", b'"provider":', b'"twitter"', b"}", b"[", b'"context":', b"1e5"),
    *(b"\xff", b"\0", b'"\\ud800"', b"null", b"-", b'"uid_signature":{', b'"fields":["', with_()),
)


class TestAnything:
    async def test_never_a_fault_of_ours(self, tmp_path: Path) -> None:
        """Whatever octets are sent, the answer is not a 500, and a refusal is a problem."""
        chance = random.Random(20)
        async with House(tmp_path).open() as visitor:
            for _ in range(400):
                octets = b"".join(chance.choices(PIECES, k=chance.randint(0, 7)))
                answer = await visitor.post(octets)
                assert answer.status_code in {200, 400, 403, 404}, octets
                assert answer.status_code == 200 or answer.json()["code"]
