import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, SpanKind, StatusCode

from service.cli.serve import tracer_of
from service.collector import CollectorSpan, CollectorTracer, exporter
from service.gigya.sealing import unsealed
from service.policy import Policy
from service.settings.tracing import Tracing
from service.tracing import ATTRIBUTES
from service.wiring.traced import Traces
from tests.house import TOKEN, House
from tests.observing.spans import attributes, context_of, traced

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
PARENT: Final = f"00-{TRACE}-b7ad6b7169203331-01"
WHOLE: Final = "POST /v1/provider-tokens"


class TestSpans:
    async def test_tell_the_way_of_a_release(self, tmp_path: Path) -> None:
        """One request is one trace: who, what, Gigya, the key, the record, the answer."""
        house, kept = traced(tmp_path)
        async with house.open() as visitor:
            answer = await visitor.ask()

        assert 200 == answer.status_code
        assert {
            WHOLE: None,
            "authenticate": WHOLE,
            "decide": WHOLE,
            "call Gigya": WHOLE,
            "decrypt": WHOLE,
            "commit": WHOLE,
            "respond": WHOLE,
        } == kept.tree()
        assert 1 == len({context_of(span).trace_id for span in kept.spans})
        assert SpanKind.SERVER == kept.named(WHOLE).kind
        assert SpanKind.CLIENT == kept.named("call Gigya").kind

    async def test_say_what_the_record_says(self, tmp_path: Path) -> None:
        """The trace leads to its audit record, and the record to its trace."""
        house, kept = traced(tmp_path)
        async with house.open() as visitor:
            await visitor.ask()

        [record] = house.records()
        [line] = house.lines()
        whole = kept.named(WHOLE)
        trace_id = f"{context_of(whole).trace_id:032x}"
        assert trace_id == record["trace_id"] == line["trace_id"]
        assert {
            "http.request.method": "POST",
            "http.route": "/v1/provider-tokens",
            "http.response.status_code": 200,
            "credential_proxy.audit_id": record["audit_id"],
            "credential_proxy.caller": "crm",
            "credential_proxy.site": "shop",
            "credential_proxy.provider": "twitter",
            "credential_proxy.outcome": "released",
            "credential_proxy.reason": "granted",
            "credential_proxy.rule": "crm/grants[0]",
            "credential_proxy.cached": False,
            "gigya.error_code": 0,
            "gigya.call_id": record["upstream"]["call_id"],
        } == dict(whole.attributes or {})

    async def test_go_on_what_the_caller_began(self, tmp_path: Path) -> None:
        """The caller's trace is ours, and the request to Gigya has our span as its parent."""
        house, kept = traced(tmp_path, share=0.0)
        heard: list[str | None] = []
        simulator = httpx.ASGITransport(house.simulator)

        class Listening(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                heard.append(request.headers.get("traceparent"))
                return await simulator.handle_async_request(request)

        house.dial = lambda _: Listening()
        async with house.open() as visitor:
            await visitor.ask(headers={"traceparent": PARENT})

        call = context_of(kept.named("call Gigya"))
        assert [f"00-{TRACE}-{call.span_id:016x}-01"] == heard
        assert "outside" == kept.tree()[WHOLE]
        assert [TRACE] == [record["trace_id"] for record in house.records()]

    @pytest.mark.parametrize(
        "given", ["", "00-xyz", f"ff-{TRACE}-b7ad6b7169203331-01", f"00-{'0' * 32}-{'1' * 16}-01"]
    )
    async def test_begin_anew_where_the_header_makes_no_sense(
        self, tmp_path: Path, given: str
    ) -> None:
        """What is no ``traceparent`` is no reason to refuse, and begins a trace of ours."""
        house, kept = traced(tmp_path)
        async with house.open() as visitor:
            answer = await visitor.ask(headers={"traceparent": given})

        assert 200 == answer.status_code
        assert kept.tree()[WHOLE] is None
        assert TRACE != house.records()[0]["trace_id"]

    async def test_are_not_made_for_what_nobody_keeps(self, tmp_path: Path) -> None:
        """With a share of 0 nothing is delivered, and records have a trace id all the same."""
        house, kept = traced(tmp_path, share=0.0)
        async with house.open() as visitor:
            await visitor.ask()

        assert [] == kept.spans
        assert 32 == len(house.records()[0]["trace_id"])

    async def test_fail_with_what_failed(self, tmp_path: Path) -> None:
        """A refusal by Gigya marks its span and the whole; a refusal of ours is no failure."""
        house, kept = traced(tmp_path)
        async with house.open() as visitor:
            house.simulator.knobs.turn(error_code=500001)
            await visitor.ask()
            await visitor.ask(provider="nonsense")
            await visitor.ask(token=None)

        whole = [span for span in kept.spans if span.name == WHOLE]
        assert [
            (503, StatusCode.ERROR, "upstream-unavailable"),
            (400, StatusCode.UNSET, None),
            (401, StatusCode.UNSET, None),
        ] == [
            (s.attributes["http.response.status_code"], s.status.status_code, s.status.description)
            for s in whole
            if s.attributes is not None
        ]

    async def test_hold_nothing_but_what_is_allowed(self, tmp_path: Path) -> None:
        """No attribute beside the list, no event, no link, no user, no token, no error's text."""
        house, kept = traced(tmp_path)
        async with house.open() as visitor:
            tokens = (await visitor.ask()).json()["tokens"]
            await visitor.ask(uid="user-expired")
            await visitor.post(b"{")
            house.simulator.knobs.turn(members={"errorCode": "x"})
            await visitor.ask(max_age=0)

        told = json.dumps([*attributes(kept.spans), *(span.name for span in kept.spans)])
        secrets = [TOKEN, "user-twitter", "user-expired", *map(str, tokens.values())]
        assert set() == {name for each in attributes(kept.spans) for name in each} - set(ATTRIBUTES)
        assert [] == [secret for secret in secrets if secret in told]
        assert [] == [span.name for span in kept.spans if span.events or span.links]

    @given(st.text(max_size=20), st.one_of(st.none(), st.text(), st.integers(-5, 5)))
    @settings(max_examples=60)
    def test_drop_what_is_not_allowed(self, name: str, value: Any) -> None:
        """Whoever tells a span something else tells nobody."""
        told: dict[str, Any] = {}

        class Listening(NonRecordingSpan):
            def set_attribute(self, key: str, value: Any) -> None:
                told[key] = value

        span = CollectorSpan(Listening(INVALID_SPAN_CONTEXT))
        span.tell(name, value)
        span.tell("credential_proxy.caller", value)

        assert ({} if value is None else {"credential_proxy.caller": value}) == told


class TestUntraced:
    def test_nothing_is_wrapped(self) -> None:
        """Without a tracer every part is the very same: what is off costs nothing."""
        untraced: Any = Traces(None)
        part = object()

        assert part is untraced.requests(part)
        assert part is untraced.identify(part)
        assert part is untraced.journal(part)
        assert part is untraced.outbound(part, "shop")
        assert Policy.decision is untraced.decide()
        assert unsealed is untraced.unseal()

    def test_the_sdk_is_not_even_loaded(self) -> None:
        """The service imports nothing of OpenTelemetry until a configuration asks for it."""
        script = "import service.cli.serve, sys; sys.exit('opentelemetry' in sys.modules)"
        ended = subprocess.run(  # noqa: S603  # our own
            [sys.executable, "-c", script], check=False
        )

        assert 0 == ended.returncode

    def test_no_endpoint_is_no_tracer(self) -> None:
        """Tracing is off unless there is somewhere to send spans to."""
        assert tracer_of(Tracing()) is None

    async def test_records_have_the_callers_trace(self, tmp_path: Path) -> None:
        """Without tracing, a caller's trace id still stands in record and log."""
        house = House(tmp_path)
        async with house.open() as visitor:
            await visitor.ask(headers={"traceparent": PARENT})

        assert [TRACE] == [record["trace_id"] for record in house.records()]


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Return a collector's URL on loopback, and what it was sent."""
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            got.append((self.path, self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


class TestCollector:
    async def test_gets_spans_at_the_end_at_the_latest(
        self, tmp_path: Path, collector: tuple[str, list[tuple[str, bytes]]]
    ) -> None:
        """Over real HTTP, as OTLP; what is left is sent when the service ends."""
        url, got = collector
        tracer = CollectorTracer(exporter(url, ca_file=None), share=1.0, build="test")
        async with House(tmp_path, tracer=tracer).open() as visitor:
            await visitor.ask()

        assert {"/v1/traces"} == {path for path, _ in got}
        body = b"".join(octets for _, octets in got)
        assert b"call Gigya" in body
        assert b"gigya-credential-proxy" in body
        assert TOKEN.encode() not in body

    def test_is_made_from_the_configuration(self) -> None:
        """An endpoint in the configuration is all that it takes."""
        tracer = tracer_of(Tracing(endpoint="http://127.0.0.1:4318"))
        assert isinstance(tracer, CollectorTracer)
        tracer._provider.shutdown()
