"""What a listener owes its peers over TLS, with real handshakes on both event loops."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from service.handshake import CERTIFICATE_FAULTS, HANDSHAKE_FAULTS, refusal_reason
from service.live import Live
from service.model import PEER_CERTIFICATE, PEER_DISTRUSTED
from service.tls import PeerCertificate, parse
from tests.listening import GET, Client, Door, Held, answer, listening
from tests.pki import HOUR, NOW, SERVER, Authority, Leaf, client_context

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

AUTHORITY, STRANGER = Authority("authority"), Authority("stranger")
BELOW = Authority("below", under=AUTHORITY)
SERVER_LEAF = AUTHORITY.issue("server", purpose=SERVER)
CALLER = AUTHORITY.issue("caller")


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": LOOPS[request.param]}


def context(*trusted: Authority, leaf: Leaf = SERVER_LEAF) -> ssl.SSLContext:
    return parse((leaf.certificate, leaf.key, *[b"".join(each.pem for each in trusted)][:1]))


def mutual(*trusted: Authority) -> Live[ssl.SSLContext]:
    return Live(context(*(trusted or (AUTHORITY,))))


async def whoami(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the peer's certificate, or that it is no longer trusted."""
    del receive
    known = scope.get(PEER_CERTIFICATE, b"nobody")
    await answer(send, b"distrusted" if scope.get(PEER_DISTRUSTED) else known)


@asynccontextmanager
async def refused_client(door: Door, client: ssl.SSLContext) -> AsyncIterator[Client | None]:
    """Connect as one who is refused: in TLS 1.3 that shows after the client's own handshake."""
    try:
        async with door.client(client) as refused:
            yield refused
    except (OSError, ssl.SSLError):
        yield None


async def until_empty(door: Door) -> None:
    """Wait until nobody is connected."""
    while door.listener.connections:
        door.listener.hall.left.clear()
        await door.listener.hall.left.wait()


class TestHandshake:
    async def test_hands_the_certificate_to_the_application(self, tmp_path: Path) -> None:
        """A peer that verifies is served, and its certificate stands in the scope."""
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        async with listening(whoami, tls=mutual()) as door, door.client(peer) as client:
            assert CALLER.der == await client.ask()

    async def test_needs_no_certificate_without_an_authority(self, tmp_path: Path) -> None:
        """Plain TLS serves anybody, as nobody."""
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        tls = Live(parse((SERVER_LEAF.certificate, SERVER_LEAF.key)))
        async with listening(whoami, tls=tls) as door, door.client(peer) as client:
            assert b"nobody" == await client.ask()

    async def test_speaks_http_1_1(self, tmp_path: Path) -> None:
        """A peer that offers HTTP/2 as well gets HTTP/1.1."""
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        peer.set_alpn_protocols(["h2", "http/1.1"])
        async with listening(whoami, tls=mutual()) as door, door.client(peer) as client:
            secured = client.writer.get_extra_info("ssl_object")
            assert "http/1.1" == secured.selected_alpn_protocol()

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_gives_no_ticket(self, tmp_path: Path, version: ssl.TLSVersion) -> None:
        """Nothing that a peer could keep outlives the context that is current."""
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        peer.maximum_version = version
        async with listening(whoami, tls=mutual()) as door, door.client(peer) as client:
            await client.ask()
            session = client.writer.get_extra_info("ssl_object").session
            assert not session.has_ticket

    async def test_serves_what_came_with_the_handshake(self, tmp_path: Path) -> None:
        """A request in the segment that ends the handshake is not lost."""
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        async with listening(whoami, tls=mutual()) as door:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            secured = peer.wrap_bio(incoming, outgoing, server_hostname="localhost")
            async with door.client() as client:
                with pytest.raises(ssl.SSLWantReadError):
                    secured.do_handshake()
                client.writer.write(outgoing.read())
                while outgoing.pending == 0:
                    incoming.write(await client.reader.read(65536))
                    try:
                        secured.do_handshake()
                    except ssl.SSLWantReadError:
                        continue
                secured.write(GET)
                client.writer.write(outgoing.read())
                incoming.write(await client.reader.read(65536))
                assert secured.read(15) == b"HTTP/1.1 200 OK"

    async def test_makes_room_for_another(self, tmp_path: Path) -> None:
        """Whoever is long over its handshake leaves its place to who comes."""
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        async with listening(whoami, tls=mutual(), max_connections=1) as door:
            async with door.client() as silent, door.client(peer) as client:
                assert CALLER.der == await client.ask()
                assert b"" == await silent.rest()
            assert ("connection-refused", "made-room") == await door.refused()
            await until_empty(door)

    async def test_ends_with_the_drain(self, tmp_path: Path) -> None:
        """What has begun over TLS is answered like anything else."""
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        held = Held()
        async with listening(held, tls=mutual()) as door, door.client(peer) as client:
            client.writer.write(GET)
            await held.arrived.wait()
            draining = asyncio.create_task(door.listener.drain(5))
            held.go.set()
            assert (await client.rest()).endswith(b"connection: close\r\n\r\nGET / ")
            client.writer.close()
            assert await draining


REFUSED: dict[str, tuple[Leaf | None, str]] = {
    "no certificate": (None, "no-certificate"),
    "another authority": (STRANGER.issue(), "unknown-ca"),
    "an issuer that was not sent": (BELOW.issue(), "unknown-ca"),
    "expired": (
        AUTHORITY.issue(begin=NOW - 2 * HOUR, end=NOW - HOUR),
        "certificate-expired",
    ),
    "not yet valid": (
        AUTHORITY.issue(begin=NOW + HOUR, end=NOW + 2 * HOUR),
        "certificate-not-yet-valid",
    ),
    "a server's": (AUTHORITY.issue(purpose=SERVER), "wrong-purpose"),
}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class TestRefusal:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize(("leaf", "reason"), REFUSED.values(), ids=REFUSED)
    async def test_is_told_with_its_reason(
        self, tmp_path: Path, leaf: Leaf | None, reason: str, version: ssl.TLSVersion
    ) -> None:
        """A peer whose certificate is no good is refused in the handshake, and it is told why."""
        peer = client_context(AUTHORITY, leaf, tmp_path)
        peer.maximum_version = version
        async with listening(whoami, tls=mutual()) as door, refused_client(door, peer) as client:
            assert ("tls-refused", reason) == await door.refused()
            if client is not None:
                assert b"" == await client.rest()

    async def test_sends_the_alert(self, tmp_path: Path) -> None:
        """The peer is told, too: event loops would just reset its connection."""
        peer = client_context(AUTHORITY, None, tmp_path)
        async with listening(whoami, tls=mutual()) as door, door.client(peer) as client:
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                await client.reader.read()

    async def test_takes_a_chain_that_was_sent(self, tmp_path: Path) -> None:
        """A certificate of an intermediate passes when the peer sends the intermediate."""
        leaf = BELOW.issue()
        chained = Leaf(certificate=leaf.certificate + BELOW.pem, key=leaf.key)
        peer = client_context(AUTHORITY, chained, tmp_path)
        async with listening(whoami, tls=mutual()) as door, door.client(peer) as client:
            assert leaf.der == await client.ask()

    async def test_trusts_an_intermediate_alone(self, tmp_path: Path) -> None:
        """What is listed is trusted, be it a root or not; what is above it is not."""
        leaf = BELOW.issue()
        async with listening(whoami, tls=mutual(BELOW)) as door:
            async with door.client(client_context(AUTHORITY, leaf, tmp_path)) as client:
                assert leaf.der == await client.ask()
            above = client_context(AUTHORITY, CALLER, tmp_path)
            async with refused_client(door, above):
                assert ("tls-refused", "unknown-ca") == await door.refused()

    async def test_needs_tls_1_2(self, tmp_path: Path) -> None:
        """A peer that speaks nothing newer than TLS 1.1 is refused by version."""
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            peer.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            peer.maximum_version = ssl.TLSVersion.TLSv1_1
        peer.set_ciphers("DEFAULT@SECLEVEL=0")
        async with listening(whoami, tls=mutual()) as door, refused_client(door, peer):
            assert ("tls-refused", "protocol-version") == await door.refused()

    async def test_names_plain_http(self) -> None:
        """Plain HTTP on a TLS port is named, and gets no answer in plain HTTP."""
        async with listening(whoami, tls=mutual()) as door, door.client() as client:
            client.writer.write(GET)
            assert ("tls-refused", "not-tls") == await door.refused()
            assert b"HTTP" not in await client.rest()

    async def test_names_a_peer_that_hangs_up(self) -> None:
        """A peer that goes away in its handshake is told apart from a refused one."""
        async with listening(whoami, tls=mutual()) as door, door.client() as client:
            client.writer.write_eof()
            assert ("tls-refused", "closed") == await door.refused()

    async def test_names_a_peer_that_resets(self) -> None:
        """So is one that resets its connection."""
        async with listening(whoami, tls=mutual()) as door:
            peer = socket.create_connection((door.address.host, door.address.port))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            assert ("tls-refused", "closed") == await door.refused()

    async def test_names_a_peer_that_stalls(self) -> None:
        """A handshake has ``header_timeout``, too."""
        tls = mutual()
        async with listening(whoami, tls=tls, header_timeout=0.05) as door, door.client():
            assert ("tls-refused", "timeout") == await door.refused()

    async def test_names_a_peer_that_refuses_us(self, tmp_path: Path) -> None:
        """A peer that does not trust our certificate is who refuses."""
        peer = client_context(STRANGER, CALLER, tmp_path)

        def distrust(door: Door) -> None:  # in a thread: event loops do not send the alert
            refused = pytest.raises(ssl.SSLCertVerificationError)
            with socket.create_connection((door.address.host, door.address.port)) as plain, refused:
                peer.wrap_socket(plain, server_hostname="localhost")

        async with listening(whoami, tls=mutual()) as door:
            await asyncio.to_thread(distrust, door)
            assert ("tls-refused", "refused-by-peer") == await door.refused()

    async def test_ends_when_the_listener_is_cut(self) -> None:
        """A handshake that goes on is no reason to wait."""
        async with listening(whoami, tls=mutual()) as door, door.client() as client:
            while not door.listener.connections:  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(0)
            await door.listener.cut()
            assert b"" == await client.rest()
            assert 0 == door.listener.connections

    async def test_does_not_keep_others_out(self, tmp_path: Path) -> None:
        """A hundred refusals later a good peer is served, and nothing is left of them."""
        async with listening(whoami, tls=mutual()) as door:
            for _ in range(100):
                async with door.client() as bad:
                    bad.writer.write(GET)
                    await door.refused()
            good = client_context(AUTHORITY, CALLER, tmp_path)
            async with door.client(good) as client:
                assert CALLER.der == await client.ask()
                assert 1 == len(door.listener.hall.connections)


RENEWED = Authority("authority", key=AUTHORITY.key)
"""The same name and key in another certificate, as when a root is renewed."""
NAMESAKE = Authority("authority")
"""The same name, and another key."""
ISSUED_BELOW = BELOW.issue()
BELOW_LEAF = Leaf(certificate=ISSUED_BELOW.certificate + BELOW.pem, key=ISSUED_BELOW.key)
MOVES: dict[str, tuple[bytes, Leaf, bytes, bool]] = {
    "another added": (AUTHORITY.pem, CALLER, AUTHORITY.pem + STRANGER.pem, True),
    "another removed": (AUTHORITY.pem + STRANGER.pem, CALLER, AUTHORITY.pem, True),
    "its own removed": (AUTHORITY.pem + STRANGER.pem, CALLER, STRANGER.pem, False),
    "its own renewed": (AUTHORITY.pem, CALLER, RENEWED.pem, True),
    "a namesake instead": (AUTHORITY.pem, CALLER, NAMESAKE.pem, False),
    "by way of an intermediate": (AUTHORITY.pem, BELOW_LEAF, AUTHORITY.pem + STRANGER.pem, True),
    "the root instead of the intermediate": (BELOW.pem, BELOW_LEAF, AUTHORITY.pem, True),
    "the intermediate instead of the root": (AUTHORITY.pem, BELOW_LEAF, BELOW.pem, True),
    "root of an intermediate removed": (
        AUTHORITY.pem + STRANGER.pem,
        BELOW_LEAF,
        STRANGER.pem,
        False,
    ),
    "an anchor is sent along": (
        AUTHORITY.pem + STRANGER.pem,
        Leaf(certificate=CALLER.certificate + STRANGER.pem, key=CALLER.key),
        STRANGER.pem,
        False,
    ),
    "the certificate itself": (AUTHORITY.pem, CALLER, CALLER.certificate, True),
}


class TestReplacedContext:
    async def test_presents_the_new_certificate(self, tmp_path: Path) -> None:
        """New connections see the certificate that was put in place last."""
        tls = mutual()
        second = AUTHORITY.issue("second", purpose=SERVER)
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        async with listening(whoami, tls=tls) as door:
            tls.replace(context(AUTHORITY, leaf=second))
            async with door.client(peer) as client:
                secured = client.writer.get_extra_info("ssl_object")
                assert second.der == secured.getpeercert(binary_form=True)

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_stops_trusting_a_removed_authority(
        self, tmp_path: Path, version: ssl.TLSVersion
    ) -> None:
        """After a CA is taken out its certificates are refused; the other's still pass."""
        tls = mutual(AUTHORITY, STRANGER)
        removed = client_context(AUTHORITY, STRANGER.issue(), tmp_path)
        removed.maximum_version = version
        kept = client_context(AUTHORITY, CALLER, tmp_path)
        async with listening(whoami, tls=tls) as door:
            async with door.client(removed) as client:
                assert b"nobody" != await client.ask()
            tls.replace(context(AUTHORITY))
            async with refused_client(door, removed):
                assert ("tls-refused", "unknown-ca") == await door.refused()
            async with door.client(kept) as client:
                assert CALLER.der == await client.ask()

    async def test_resumes_no_session_of_an_older_one(self, tmp_path: Path) -> None:
        """A peer that offers a session of TLS 1.2 is verified by the context that is current."""
        tls = mutual(AUTHORITY, STRANGER)
        peer = client_context(AUTHORITY, STRANGER.issue(), tmp_path)
        peer.maximum_version = ssl.TLSVersion.TLSv1_2

        def meet(door: Door, session: ssl.SSLSession | None) -> ssl.SSLSession:
            with (
                socket.create_connection((door.address.host, door.address.port)) as plain,
                peer.wrap_socket(plain, server_hostname="localhost", session=session) as secured,
            ):
                kept = secured.session
                secured.unwrap().close()
                assert kept is not None
                return kept

        async with listening(whoami, tls=tls) as door:
            session = await asyncio.to_thread(meet, door, None)
            tls.replace(context(AUTHORITY))
            with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
                await asyncio.to_thread(meet, door, session)
            assert ("tls-refused", "unknown-ca") == await door.refused()

    async def test_retires_older_connections(self, tmp_path: Path) -> None:
        """A connection made before the change is told to end with its next answer."""
        tls = mutual()
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        async with listening(whoami, tls=tls) as door, door.client(peer) as client:
            await client.ask()
            tls.replace(context(AUTHORITY))
            client.writer.write(GET)
            head, _ = await client.answer()
        assert b"connection: close" in head

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize(("before", "leaf", "after", "expected"), MOVES.values(), ids=MOVES)
    async def test_asks_again_whom_it_trusts(
        self,
        tmp_path: Path,
        *,
        before: bytes,
        leaf: Leaf,
        after: bytes,
        expected: bool,
        version: ssl.TLSVersion,
    ) -> None:
        """A peer that is connected is told apart by whether it would be let in now."""
        peer = client_context(AUTHORITY, leaf, tmp_path)
        peer.maximum_version = version
        tls = Live(parse((SERVER_LEAF.certificate, SERVER_LEAF.key, before)))
        async with listening(whoami, tls=tls) as door, door.client(peer) as client:
            assert leaf.der == await client.ask()
            tls.replace(parse((SERVER_LEAF.certificate, SERVER_LEAF.key, after)))
            client.writer.write(GET)
            head, body = await client.answer()
        assert (leaf.der if expected else b"distrusted") == body
        assert b"connection: close" in head

    @pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "removed"])
    async def test_asks_again_about_a_resumed_session(
        self, tmp_path: Path, *, is_kept: bool
    ) -> None:
        """OpenSSL has verified nothing in it; what the peer once sent is enough to tell."""
        tls = mutual(AUTHORITY, STRANGER)
        peer = client_context(AUTHORITY, BELOW_LEAF, tmp_path)
        peer.maximum_version = ssl.TLSVersion.TLSv1_2

        def meet(door: Door) -> bytes:
            address = (door.address.host, door.address.port)
            with (
                socket.create_connection(address) as plain,
                peer.wrap_socket(plain, server_hostname="localhost") as first,
                socket.create_connection(address) as again,
                peer.wrap_socket(again, server_hostname="localhost", session=first.session) as one,
            ):
                assert one.session_reused
                tls.replace(context(AUTHORITY if is_kept else STRANGER))
                one.sendall(GET)
                return b"".join(iter(lambda: one.recv(65536), b""))

        async with listening(whoami, tls=tls) as door:
            told = await asyncio.to_thread(meet, door)
        assert is_kept is (b"distrusted" not in told)

    async def test_keeps_serving_while_it_changes(self, tmp_path: Path) -> None:
        """Certificate, key and CA are replaced under load, and nothing that should pass fails."""
        tls = mutual()
        peer = client_context(AUTHORITY, CALLER, tmp_path)

        async def ask(door: Door) -> bytes:
            async with door.client(peer) as client:
                return await client.ask()

        async def call(door: Door) -> list[bytes]:
            return [await ask(door) for _ in range(5)]

        async with listening(whoami, tls=tls) as door:
            calls = [asyncio.create_task(call(door)) for _ in range(4)]
            while not all(each.done() for each in calls):
                tls.replace(context(AUTHORITY, STRANGER))
                await ask(door)
            answers = [body for each in calls for body in await each]
        assert [CALLER.der] * 20 == answers


class TestExpiryWhileConnected:
    async def test_ends_the_connection(self, tmp_path: Path) -> None:
        """Past ``notAfter`` an open connection ends with its answer: the next handshake decides.

        The application still sees the certificate, so that its refusal has the true reason.
        """
        now = [NOW.timestamp()]
        peer = client_context(AUTHORITY, CALLER, tmp_path)
        opened = listening(whoami, tls=mutual(), wall=lambda: now[0])
        async with opened as door, door.client(peer) as client:
            assert CALLER.der == await client.ask()
            now[0] = (NOW + HOUR).timestamp()
            client.writer.write(GET)
            head, body = await client.answer()
        assert CALLER.der == body
        assert b"connection: close" in head


class TestPeerCertificate:
    def test_is_absent_without_tls(self) -> None:
        """A plain connection has no certificate."""
        assert PeerCertificate.of(asyncio.BaseTransport()) is None


class TestRefusalReason:
    @pytest.mark.parametrize(("code", "reason"), CERTIFICATE_FAULTS.items())
    def test_names_what_is_wrong_with_a_certificate(self, code: int, reason: str) -> None:
        """OpenSSL's verdict has a name of ours."""
        error = ssl.SSLCertVerificationError()
        error.verify_code = code
        assert reason == refusal_reason(error)

    @pytest.mark.parametrize(
        ("reason", "slug"),
        [
            *HANDSHAKE_FAULTS.items(),
            ("TLSV1_ALERT_UNKNOWN_CA", "refused-by-peer"),
            ("SSLV3_ALERT_BAD_CERTIFICATE", "refused-by-peer"),
            ("SOMETHING_NEW", "handshake-failed"),
            (None, "handshake-failed"),
        ],
    )
    def test_names_what_is_wrong_with_a_handshake(self, reason: str | None, slug: str) -> None:
        """So do the reasons of its library; unknown ones share a name."""
        error = ssl.SSLError()
        error.reason = reason  # type: ignore[assignment]  # it can be None, whatever the stub says
        assert slug == refusal_reason(error)

    @pytest.mark.parametrize(
        ("error", "slug"),
        [
            (ConnectionAbortedError(), "timeout"),
            (TimeoutError(), "timeout"),
            (ConnectionResetError(), "closed"),
            (BrokenPipeError(), "closed"),
            (RuntimeError(), "other"),
        ],
        ids=["aborted by the loop", "timeout", "reset", "pipe", "bug"],
    )
    def test_names_what_the_network_does(self, error: Exception, slug: str) -> None:
        """Peers that vanish or stall are not faults of a certificate."""
        assert slug == refusal_reason(error)

    def test_has_a_name_for_any_verdict(self) -> None:
        """A verdict that is in no table is a bad certificate."""
        error = ssl.SSLCertVerificationError()
        error.verify_code = 9999
        assert "bad-certificate" == refusal_reason(error)
