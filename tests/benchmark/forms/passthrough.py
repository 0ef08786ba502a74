"""The limit on this server: a bare ASGI pass-through with a raw client, and nothing else.

No JWT, policy, decryption, mapping, audit, metrics or log; a response parser and a pool that no
service should carry. What it costs is what uvicorn, uvloop and TLS cost.
"""

import argparse
import asyncio
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final, cast

import httptools
import uvicorn

Message = MutableMapping[str, Any]
FORM: Final = (
    b"POST /socialize.getSessionInfo HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"
)
ANSWER: Final[Message] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json")],
}


class Connection(asyncio.Protocol):
    """One connection to the upstream, one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[bytes] | None = None
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type

    def ask(self, request: bytes) -> "asyncio.Future[bytes]":
        """Send ``request``; the body of its answer is the result."""
        self._body = []
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Keep a part (called by the parser)."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand out the whole (called by the parser)."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(b"".join(self._body))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError())


class Passthrough:
    """The application: a body in, a form out, the answer back."""

    def __init__(self, upstream: int, context: ssl.SSLContext) -> None:
        self._upstream = upstream
        self._context = context
        self._idle: list[Connection] = []

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        body = (await receive())["body"]
        connection = self._idle.pop() if self._idle else await self._connect()
        answer = await connection.ask(FORM % (len(body), body))
        self._idle.append(connection)
        await send(dict(ANSWER))
        await send({"type": "http.response.body", "body": answer})

    async def _connect(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, "127.0.0.1", self._upstream, ssl=self._context, server_hostname="localhost"
        )
        return connection


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("upstream", type=int)
    given = parser.parse_args()
    context = ssl.create_default_context(cafile=str(given.directory / "ca.pem"))
    app = Passthrough(given.upstream, context)
    uvicorn.run(
        cast("Any", app),
        port=given.port,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="error",
    )


if __name__ == "__main__":
    main()
