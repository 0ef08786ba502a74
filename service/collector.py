"""Spans for an OpenTelemetry collector (OTLP over HTTP), by the standard SDK.

This module can be imported only where the extra ``tracing`` is installed.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.tracing import ATTRIBUTES, Kind, Value

SECONDS: Final = 5.0
"""What one delivery to the collector may take."""
_KINDS: Final = {
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.INTERNAL: SpanKind.INTERNAL,
}
_FORMAT: Final = TraceContextTextMapPropagator()


def exporter(endpoint: str, *, ca_file: str | None) -> SpanExporter:
    """Return what delivers to the collector at ``endpoint``, a URL without a path."""
    session = requests.Session()
    session.trust_env = False
    return OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces",
        certificate_file=ca_file,
        headers={},
        timeout=SECONDS,
        session=session,
    )


class CollectorTracer:
    """Makes spans.

    ``share`` of the traces that begin here are kept; of those that others began, what they keep.
    """

    def __init__(self, delivers: SpanExporter, *, share: float, build: str) -> None:
        self._provider = TracerProvider(
            resource=Resource({"service.name": "gigya-credential-proxy", "service.version": build}),
            sampler=ParentBased(TraceIdRatioBased(share)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(delivers))
        self._tracer = self._provider.get_tracer("service")

    @contextmanager
    def span(
        self, name: str, *, kind: Kind = Kind.INTERNAL, traceparent: str | None = None
    ) -> Iterator["CollectorSpan"]:
        """Return a span, which lasts as long as its block and fails with it."""
        given = None
        if kind is Kind.SERVER:
            carrier = {} if traceparent is None else {"traceparent": traceparent}
            given = _FORMAT.extract(carrier, context.Context())
        made = self._tracer.start_span(name, given, _KINDS[kind])
        span = CollectorSpan(made)
        token = context.attach(trace.set_span_in_context(made))
        try:
            yield span
        except Exception as error:
            span.fail(str(getattr(error, "code", type(error).__name__)))
            raise
        finally:
            context.detach(token)
            made.end()

    def traceparent(self) -> str:
        """Return what to hand on of the span that goes on."""
        carrier: dict[str, str] = {}
        _FORMAT.inject(carrier)
        return carrier.get("traceparent", "")

    async def aclose(self) -> None:
        """Send what is left; waits for the collector as long as one delivery may take."""
        await asyncio.to_thread(self._provider.shutdown)


class CollectorSpan:
    """One span; tells only what is allowed."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def tell(self, name: str, value: Value | None) -> None:
        """Note one of ``ATTRIBUTES``; anything else, and ``None``, is dropped."""
        if value is not None and name in ATTRIBUTES:
            self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        """Call the span otherwise."""
        self._span.update_name(name)

    def fail(self, why: str) -> None:
        """Mark the span as failed; ``why`` is a slug of ours."""
        self._span.set_status(Status(StatusCode.ERROR, why))
