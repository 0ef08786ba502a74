"""Spans kept in memory, and a house that is traced."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext

from service.collector import CollectorTracer
from tests.house import House


class Kept(SpanExporter):
    """Keeps what would be delivered."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS

    def named(self, name: str) -> ReadableSpan:
        """Return the one span of that name."""
        [found] = [span for span in self.spans if span.name == name]
        return found

    def tree(self) -> dict[str, str | None]:
        """Return each span's name with its parent's."""
        names = {context_of(span).span_id: span.name for span in self.spans}
        return {
            span.name: None if span.parent is None else names.get(span.parent.span_id, "outside")
            for span in self.spans
        }


def traced(directory: Path, *, share: float = 1.0) -> tuple[House, Kept]:
    """Return a house whose spans are kept; they are there when it is closed."""
    kept = Kept()
    return House(directory, tracer=CollectorTracer(kept, share=share, build="test")), kept


def attributes(spans: Iterable[ReadableSpan]) -> list[dict[str, Any]]:
    """Return what spans tell."""
    return [dict(span.attributes or {}) for span in spans]


def context_of(span: ReadableSpan) -> SpanContext:
    """Return the ids of a span."""
    context = span.get_span_context()
    assert context is not None
    return context
