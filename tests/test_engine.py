"""The engine's trust, over real connections; the rest of it is tested through ``outbound``."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.deadline import Clock, Deadline
from service.engine import open_transport, tls_context
from service.live import Live
from service.outbound import Outbound, Unreachable
from tests.pki import SERVER, Authority

CLOCK = Clock(wall=time.time, monotonic=time.monotonic)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Peer:
    """A server of one authority: it counts connections, and answers when it is let."""

    def __init__(self, authority: Authority, directory: Path) -> None:
        leaf = authority.issue(purpose=SERVER)
        (directory / "chain.pem").write_bytes(leaf.key + leaf.certificate)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / "chain.pem")
        self.connections = 0
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the other end goes away."""
        self.connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.arrived.set()
                await self.go.wait()
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def at_work(authority: Authority, directory: Path) -> AsyncIterator[Peer]:
    """Open a server whose certificate ``authority`` signed."""
    peer = Peer(authority, directory)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=peer.context)
    peer.url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    async with server:
        yield peer


class Way:
    """A way out whose trust can be replaced."""

    def __init__(self, trusted: Authority) -> None:
        self.live = Live(tls_context(trusted.pem))
        self.outbound = Outbound(open_transport(trust=self.live))

    async def ask(self, peer: Peer) -> bytes:
        """Ask once."""
        deadline = Deadline.after(30, CLOCK)
        return (await self.outbound.send("GET", peer.url, deadline=deadline)).body


class TestAuthorities:
    async def test_are_trusted_whether_or_not_they_are_roots(self, tmp_path: Path) -> None:
        """A file that holds an intermediate alone is enough, as it is for callers' certificates."""
        intermediate = Authority("intermediate", under=Authority("root"))
        way = Way(intermediate)
        async with at_work(intermediate, tmp_path) as peer:
            assert b"{}" == await way.ask(peer)
            await way.outbound.aclose()

    def test_may_lack_what_public_ones_must_have(self) -> None:
        """With each Python, a private authority needs no key identifiers: many clusters' have none.

        Python 3.13 asks for them by default; that a plain authority passes is in all tests of TLS.
        """
        flags = tls_context(Authority("plain").pem).verify_flags
        assert not flags & ssl.VERIFY_X509_STRICT


class TestTrust:
    async def test_is_asked_for_each_connection(self, tmp_path: Path) -> None:
        """Once the trust was replaced, a peer that only the old one knew is refused."""
        old, new = Authority("old"), Authority("new")
        way = Way(old)
        async with at_work(old, tmp_path) as peer:
            assert b"{}" == await way.ask(peer)
            way.live.replace(tls_context(new.pem))
            with pytest.raises(Unreachable) as caught:
                await way.ask(peer)
            await way.outbound.aclose()
        assert ("tls", 1) == (caught.value.reason, peer.connections)

    async def test_that_is_new_makes_new_connections(self, tmp_path: Path) -> None:
        """No request goes over a connection that was made with another trust than today's."""
        authority = Authority("both")
        way = Way(authority)
        async with at_work(authority, tmp_path) as peer:
            await way.ask(peer)
            await way.ask(peer)
            before = peer.connections
            way.live.replace(tls_context(authority.pem))
            await way.ask(peer)
            await way.outbound.aclose()
        assert (1, 2) == (before, peer.connections)

    async def test_lets_end_what_is_under_way(self, tmp_path: Path) -> None:
        """A request that began with the old trust gets its answer."""
        authority, other = Authority("old"), Authority("new")
        way = Way(authority)
        async with at_work(authority, tmp_path) as peer:
            peer.go.clear()
            task = asyncio.create_task(way.ask(peer))
            await peer.arrived.wait()
            way.live.replace(tls_context(other.pem))
            peer.go.set()
            assert b"{}" == await task
            await way.outbound.aclose()
