import asyncio
import ssl
import threading
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from service.simulator import Authority, Wire, serving, serving_in_thread
from service.simulator.world import GET_SESSION_INFO
from tests.simulator.asking import Asking

PATH = f"/{GET_SESSION_INFO}"


@pytest.fixture
def asking() -> Asking:
    """Return a customer whose plain HTTP counts as TLS."""
    return Asking(options={"loopback_is_secure": True})


def trusting(authority: Authority) -> ssl.SSLContext:
    """Return a client's context that trusts ``authority`` and no other."""
    return ssl.create_default_context(cadata=authority.pem.decode())


class TestServing:
    async def test_plain(self, asking: Asking) -> None:
        """It serves from the moment it is entered, on a free port, and keeps connections."""
        async with serving(asking.gigya) as address, httpx.AsyncClient() as client:
            answers = [
                await client.post(address.url + PATH, data=asking.with_secret()) for _ in range(2)
            ]
        assert [0, 0] == [answer.json()["errorCode"] for answer in answers]

    async def test_stops(self, asking: Asking) -> None:
        """When it is left the port is closed, and who waits for an answer gets none."""
        asking.gigya.knobs.turn(hold=asyncio.Event())
        async with httpx.AsyncClient() as client:
            async with serving(asking.gigya) as address:
                url = address.url + PATH
                call = asyncio.create_task(client.post(url, data=asking.with_secret()))
                await asking.gigya.calls.arrive(1)
            with pytest.raises(httpx.TransportError):
                await call
            with pytest.raises(httpx.ConnectError):
                await client.post(url)

    async def test_signature_over_a_port(self, asking: Asking) -> None:
        """The port is part of the URL that is signed."""
        async with serving(asking.gigya) as address, httpx.AsyncClient() as client:
            asking.base = address.url
            form = asking.form(userKey=asking.made.user_key)
            signed = asking.signed(form, asking.made.user_secret)
            answer = await client.post(address.url + PATH, data=signed)
        assert 0 == answer.json()["errorCode"]

    async def test_live(self, asking: Asking) -> None:
        """``/livez`` answers without being a call."""
        async with serving(asking.gigya) as address, httpx.AsyncClient() as client:
            answer = await client.get(f"{address.url}/livez")
        assert (200, 0) == (answer.status_code, asking.gigya.calls.total)

    async def test_lifespan(self, asking: Asking) -> None:
        """Another server's lifespan messages are answered."""
        asked = iter(["lifespan.startup", "lifespan.shutdown"])
        answered: list[str] = []

        async def receive() -> dict[str, str]:
            return {"type": next(asked)}

        async def send(message: MutableMapping[str, Any]) -> None:
            answered.append(message["type"])

        await asking.gigya({"type": "lifespan"}, receive, send)
        assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == answered

    def test_thread(self, asking: Asking) -> None:
        """In a thread it serves a caller without a loop, errors of the caller's own or not."""
        with serving_in_thread(asking.gigya) as address:
            answer = httpx.post(address.url + PATH, data=asking.with_secret())
        assert 0 == answer.json()["errorCode"]
        with pytest.raises(httpx.ConnectError):
            httpx.post(address.url + PATH)

    def test_thread_ends(self, asking: Asking) -> None:
        """The thread ends, and the port is closed, when its caller fails."""
        with pytest.raises(LookupError) as raised:
            fail_while_serving(asking)
        assert "gigya-simulator" not in {each.name for each in threading.enumerate()}
        with pytest.raises(httpx.ConnectError):
            httpx.get(str(raised.value))


def fail_while_serving(asking: Asking) -> None:
    """Raise an error that tells where the simulator is serving."""
    with serving_in_thread(asking.gigya) as address:
        raise LookupError(address.url)


class TestWire:
    @pytest.mark.parametrize(
        ("wire", "failure"),
        [
            (Wire.CLOSE, httpx.RemoteProtocolError),
            (Wire.RESET, httpx.ReadError),
            (Wire.RESET_AFTER_HEADERS, httpx.ReadError),
            (Wire.RESET_IN_BODY, httpx.ReadError),
            (Wire.TRUNCATE, httpx.RemoteProtocolError),
            (Wire.NOT_HTTP, httpx.RemoteProtocolError),
        ],
    )
    @pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])
    async def test_broken(
        self, asking: Asking, wire: Wire, failure: type[Exception], *, is_tls: bool
    ) -> None:
        """A connection breaks as the knob says, once, and the next call is served."""
        authority = Authority()
        context = authority.certificate().context() if is_tls else None
        asking.gigya.knobs.turn(wire=wire, times=1)
        async with (
            serving(asking.gigya, context=context) as address,
            httpx.AsyncClient(verify=trusting(authority)) as client,
        ):
            with pytest.raises(failure):
                await client.post(address.url + PATH, data=asking.with_secret())
            answer = await client.post(address.url + PATH, data=asking.with_secret())
        assert 0 == answer.json()["errorCode"]

    async def test_silence(self, asking: Asking) -> None:
        """Silence lasts until the client goes."""
        asking.gigya.knobs.turn(wire=Wire.SILENCE)
        async with serving(asking.gigya) as address, httpx.AsyncClient() as client:
            call = asyncio.create_task(client.post(address.url + PATH, data=asking.with_secret()))
            await asking.gigya.calls.arrive(1)
            assert not call.done()
            call.cancel()
            await asyncio.wait([call])

    def test_all(self) -> None:
        """Every way to break is tried here."""
        tried = {mark for mark in Wire if mark is not Wire.SILENCE}
        params = self.test_broken.pytestmark[1].args[1]  # type: ignore[attr-defined]  # pytest's
        assert tried == {each[0] for each in params}


def expired(authority: Authority) -> ssl.SSLContext:
    """Return a server's context whose certificate ended yesterday."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    before = yesterday - timedelta(days=1)
    return authority.certificate(not_before=before, not_after=yesterday).context()


class TestTls:
    async def test_trusted(self, asking: Asking) -> None:
        """Who trusts the simulator's authority reaches it over TLS."""
        authority = Authority()
        context = authority.certificate().context()
        async with (
            serving(asking.gigya, context=context) as address,
            httpx.AsyncClient(verify=trusting(authority)) as client,
        ):
            answer = await client.post(address.url + PATH, data=asking.with_secret())
        assert ("https", 0) == (address.scheme, answer.json()["errorCode"])

    @pytest.mark.parametrize(
        "context_of",
        [
            lambda _: Authority().certificate().context(),
            lambda authority: authority.certificate(["elsewhere.example"]).context(),
            expired,
        ],
        ids=["other-authority", "name", "date"],
    )
    async def test_untrusted(
        self, asking: Asking, context_of: Callable[[Authority], ssl.SSLContext]
    ) -> None:
        """Another authority, a wrong name or a past date fails the handshake."""
        authority = Authority()
        async with (
            serving(asking.gigya, context=context_of(authority)) as address,
            httpx.AsyncClient(verify=trusting(authority)) as client,
        ):
            with pytest.raises(httpx.ConnectError):
                await client.post(address.url + PATH, data=asking.with_secret())
        assert 0 == asking.gigya.calls.total
