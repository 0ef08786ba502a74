"""A transport of httpx's as an engine: how tests and simulations stand in for a peer."""

from collections.abc import Mapping
from typing import cast

import httpx

from service.engine import Heard, Preamble


class OverHttpx:
    """Drives ``transport`` as ``Outbound`` drives an engine; no body comes whole."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def ask(
        self, preamble: Preamble, headers: Mapping[str, str] | None, body: bytes, connect: float
    ) -> Heard:
        """Send a request once; raises what the transport raises."""
        request = httpx.Request(
            preamble.method,
            preamble.address,
            headers=[*preamble.fields, *(headers or {}).items()],
            stream=httpx.ByteStream(body),
            extensions={
                "timeout": {"connect": connect, "pool": connect, "read": None, "write": None}
            },
        )
        response = await self._transport.handle_async_request(request)
        encodings = response.headers.get_list("content-encoding")
        stream = cast("httpx.AsyncByteStream", response.stream)
        return response.status_code, encodings, response.headers.raw, stream

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()
