"""The whole way to Gigya over real TLS, and what breaks below HTTP."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from service.engine import open_transport, tls_context
from service.errors import ServiceError, UpstreamInvalid, UpstreamUnavailable
from service.gigya.authentication import Credentials, OAuth2, UserKey, UserKeySigned
from service.gigya.keys import HmacKey
from service.secret import Secret
from service.simulator.knobs import Wire
from service.simulator.running import serving
from service.simulator.seeds import EVERYTHING
from service.simulator.tls import Authority
from tests.gigya.rig import Rig

AUTHORITY = Authority()


@asynccontextmanager
async def over_tls(rig: Rig) -> AsyncIterator[None]:
    """Serve the rig's simulator over TLS and let the rig reach it through the real engine."""
    context = AUTHORITY.certificate().context()
    async with serving(rig.simulator, context=context) as address:
        transport = open_transport(context=tls_context(AUTHORITY.pem))
        rig.reach(transport, f"https://localhost:{address.port}")
        try:
            yield
        finally:
            await transport.aclose()


class TestWays:
    @pytest.mark.parametrize(
        "credentials",
        [
            lambda rig: rig.bearer(),
            lambda rig: UserKey(
                user_key=rig.seeded.user_key, secret=Secret(rig.seeded.user_secret)
            ),
            lambda rig: UserKeySigned(
                user_key=rig.seeded.user_key, key=HmacKey.from_base64(rig.seeded.user_secret)
            ),
            lambda rig: OAuth2(user_key=rig.seeded.user_key, secret=Secret(rig.seeded.user_secret)),
        ],
        ids=["bearer", "user key", "signed", "OAuth 2"],
    )
    async def test_work_over_real_tls(self, credentials: Callable[[Rig], Credentials]) -> None:
        """Each way reaches a session over a real connection, sealed and opened."""
        rig = Rig(credentials=credentials(Rig()))
        async with over_tls(rig):
            session = await rig.session("twitter")
        connection = rig.seeded.site.users[EVERYTHING]["twitter"]
        assert session.auth_token.matches(connection.auth_token)
        assert session.token_secret is not None
        assert session.token_secret.matches(connection.token_secret)


class TestBreaks:
    @pytest.mark.parametrize(
        ("wire", "kind", "reason"),
        [
            (Wire.CLOSE, UpstreamUnavailable, "unreachable-connection-lost"),
            (Wire.RESET, UpstreamUnavailable, "unreachable-connection-lost"),
            (Wire.RESET_AFTER_HEADERS, UpstreamInvalid, "broken-reply"),
            (Wire.RESET_IN_BODY, UpstreamInvalid, "broken-reply"),
            (Wire.TRUNCATE, UpstreamInvalid, "broken-reply"),
            (Wire.NOT_HTTP, UpstreamInvalid, "broken-reply"),
        ],
    )
    async def test_have_their_names(
        self, wire: Wire, kind: type[ServiceError], reason: str
    ) -> None:
        """What breaks below HTTP is told by name, after the attempts that are allowed."""
        rig = Rig()
        rig.knobs.turn(wire=wire)
        async with over_tls(rig):
            with pytest.raises(kind) as caught:
                await rig.session()
        assert (reason, 3) == (caught.value.reason, len(rig.calls))

    @pytest.mark.parametrize("wire", [wire for wire in Wire if wire is not Wire.SILENCE])
    async def test_once_are_healed(self, wire: Wire) -> None:
        """A connection that breaks once costs one more call, and nobody notices."""
        rig = Rig()
        async with over_tls(rig):
            await rig.session()
            rig.knobs.turn(wire=wire, times=1)
            assert 2 == (await rig.session()).exchange.attempts
