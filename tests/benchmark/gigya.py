"""A lean Gigya for the benchmark: TLS, one sealed reply, hardly any CPU of its own."""

import argparse
import asyncio
import base64
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import uvloop
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

SECRET: Final = bytes(range(32))
IV: Final = bytes(range(16))


def sealed(text: str) -> str:
    """Return ``text`` as Gigya seals it: AES-CBC, PKCS#7, base64."""
    padder = PKCS7(128).padder()
    padded = padder.update(text.encode()) + padder.finalize()
    encryptor = Cipher(algorithms.AES(SECRET), modes.CBC(IV)).encryptor()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def reply() -> bytes:
    """Return the one HTTP answer."""
    body = json.dumps(
        {
            "callId": "b0cce660845e4e40bf3d4663953564f3",
            "errorCode": 0,
            "statusCode": 200,
            "statusReason": "OK",
            "time": "2026-11-22T08:48:28.537Z",
            "authToken": "1234567890-abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
            "tokenSecret": sealed("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHI"),
            "sessionHandle": sealed("handle-abcdefghijklmnopqrstuvwxyz"),
            "tokenExpirationUTC": "2035-01-01T00:00:00Z",
            "IV": base64.b64encode(IV).decode(),
            "providerUID": "1234567890",
        }
    ).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nDate: Sun, 22 Nov 2026 08:48:28 GMT\r\n\r\n"
    )
    return head.encode() + body


@dataclass(slots=True)
class Gigya:
    """What all connections share: the answer, and after how many seconds it comes.

    While fewer than ``crowd`` requests are unanswered, it comes at once.
    """

    answer: bytes
    delay: float
    crowd: int
    asked: int = 0


class Peer(asyncio.Protocol):
    """Answers each request that has a Content-Length."""

    def __init__(self, gigya: Gigya) -> None:
        self._gigya = gigya
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type

    def data_received(self, data: bytes) -> None:
        """Count requests by their lengths."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._gigya.asked += 1
            if self._gigya.delay and self._gigya.asked >= self._gigya.crowd:
                asyncio.get_running_loop().call_later(self._gigya.delay, self._reply)
            else:
                self._reply()

    def _reply(self) -> None:
        self._gigya.asked -= 1
        if not self._transport.is_closing():
            self._transport.write(self._gigya.answer)


async def main(directory: Path, port: int, delay: float, crowd: int) -> None:
    """Serve until killed; says so on standard output when it is up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "gigya.pem")
    gigya = Gigya(reply(), delay, crowd)
    server = await asyncio.get_running_loop().create_server(
        lambda: Peer(gigya), "127.0.0.1", port, ssl=context, backlog=4096
    )
    print("up", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--crowd", type=int, default=1)
    given = parser.parse_args()
    uvloop.run(main(given.directory, given.port, given.delay, given.crowd))
