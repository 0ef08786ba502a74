"""Where spans go, if anywhere."""

from typing import Annotated

from pydantic import Field

from service.settings.shapes import File, Origin, Section


class Tracing(Section):
    """Spans for an OpenTelemetry collector; needs the extra `tracing`."""

    endpoint: Origin | None = None
    """OTLP over HTTP, a URL without a path, such as `http://collector:4318`; absent: no tracing."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of traces that begin here and are kept; what callers sample is kept anyway."""
    ca_file: File | None = None
    """Authorities by which the collector is known; absent: the built-in ones."""
