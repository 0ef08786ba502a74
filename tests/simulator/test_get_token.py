import base64

import pytest

from service.simulator.world import GET_SESSION_INFO, GET_TOKEN
from tests.simulator.asking import Asking


def basic(name: str, secret: str) -> dict[str, str]:
    """Return a Basic Authorization header."""
    credential = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return {"authorization": f"Basic {credential}"}


class TestGetToken:
    async def test_user_key(self, asking: Asking) -> None:
        """A user key and its secret in the body give a token and its life in seconds."""
        reply = await asking.post(GET_TOKEN, asking.token_form())
        assert (0, 3600) == (reply["errorCode"], reply["expires_in"])

    @pytest.mark.parametrize("grant_type", ["none", "client_credentials"])
    async def test_body(self, asking: Asking, grant_type: str) -> None:
        """At an old site API key and partner secret in the body do, for both grant types."""
        form = {
            "grant_type": grant_type,
            "client_id": asking.made.legacy_api_key,
            "client_secret": asking.made.partner_secret,
        }
        assert "access_token" in await asking.post(GET_TOKEN, form)

    async def test_basic(self, asking: Asking) -> None:
        """So they do as Basic credentials."""
        headers = basic(asking.made.legacy_api_key, asking.made.partner_secret)
        reply = await asking.post(GET_TOKEN, {"grant_type": "none"}, headers=headers)
        assert "access_token" in reply

    async def test_since_2023(self, asking: Asking) -> None:
        """At today's sites the partner secret gives no token."""
        headers = basic(asking.made.api_key, asking.made.partner_secret)
        response = await asking.send(
            "POST", f"/{GET_TOKEN}", data={"grant_type": "none"}, headers=headers
        )
        assert (401, "invalid_client") == (response.status_code, response.json()["error"])

    async def test_user_key_not_in_basic(self, asking: Asking) -> None:
        """A user key's secret is not taken from Basic credentials."""
        headers = basic(asking.made.api_key, asking.made.user_secret)
        form = {"grant_type": "none", "userKey": asking.made.user_key}
        reply = await asking.post(GET_TOKEN, form, headers=headers)
        assert "invalid_client" == reply["error"]

    @pytest.mark.parametrize(
        "spoiled",
        [
            {"client_id": "3_nobody"},
            {"secret": "AAAA"},
            {"userKey": "Anobody"},
            {"client_id": ""},
        ],
    )
    async def test_spoiled(self, asking: Asking, spoiled: dict[str, str]) -> None:
        """A wrong client gets OAuth 2's words, and no error code."""
        reply = await asking.post(GET_TOKEN, asking.token_form(**spoiled))
        assert ("invalid_client", False) == (reply["error"], "errorCode" in reply)

    async def test_malformed_basic(self, asking: Asking) -> None:
        """Basic credentials that are no base64 are a wrong client."""
        reply = await asking.post(
            GET_TOKEN, {"grant_type": "none"}, headers={"authorization": "Basic ???"}
        )
        assert "invalid_client" == reply["error"]

    async def test_grant_type(self, asking: Asking) -> None:
        """Other grant types are not supported."""
        reply = await asking.post(GET_TOKEN, asking.token_form(grant_type="password"))
        assert "unsupported_grant_type" == reply["error"]

    async def test_get(self, asking: Asking) -> None:
        """It is called with POST alone."""
        response = await asking.send("GET", f"/{GET_TOKEN}", params=asking.token_form())
        assert 400001 == response.json()["errorCode"]

    async def test_plain_http(self, asking: Asking) -> None:
        """It is not called over plain HTTP."""
        asking.base = "http://socialize.us1.gigya.com"
        assert 400001 == (await asking.post(GET_TOKEN, asking.token_form()))["errorCode"]

    async def test_never_expires(self, asking: Asking) -> None:
        """A reply without ``expires_in`` is of a token that never expires."""
        asking.made.world.change(asking.made.api_key, token_life=None)
        reply = await asking.post(GET_TOKEN, asking.token_form())
        asking.time.now += 10**8
        form = asking.form(oauth_token=reply["access_token"])
        assert "expires_in" not in reply
        assert 0 == (await asking.post(GET_SESSION_INFO, form))["errorCode"]

    async def test_asked_life(self, asking: Asking) -> None:
        """``x_sessionExpiration`` asks for another life."""
        reply = await asking.post(GET_TOKEN, asking.token_form(x_sessionExpiration="7"))
        assert 7 == reply["expires_in"]


class TestAccessToken:
    async def ask(self, asking: Asking, headers: dict[str, str] | None = None, **form: str) -> int:
        """Return the error code of a call whose only parameters are ``form``."""
        whole = {"UID": "user-twitter", "provider": "twitter", **form}
        reply = await asking.post(GET_SESSION_INFO, whole, headers=headers or {})
        return int(reply["errorCode"])

    async def test_parameter(self, asking: Asking) -> None:
        """A token is enough as ``oauth_token``, without the API key."""
        assert 0 == await self.ask(asking, oauth_token=await asking.access_token())

    @pytest.mark.parametrize("scheme", ["OAuth", "Bearer"])
    async def test_header(self, asking: Asking, scheme: str) -> None:
        """It is enough in the Authorization header, under either name."""
        headers = {"authorization": f"{scheme} {await asking.access_token()}"}
        assert 0 == await self.ask(asking, headers)

    async def test_bound_to_a_user(self, asking: Asking) -> None:
        """A token bound to a user needs no UID, and speaks for no other user."""
        token = await asking.access_token(x_siteUID="user-nobody")
        assert 400106 == await self.ask(asking, oauth_token=token)

    async def test_unknown(self, asking: Asking) -> None:
        """A token that was not given out is 403025."""
        assert 403025 == await self.ask(asking, oauth_token="guess")

    async def test_expired(self, asking: Asking) -> None:
        """So is one whose life is over."""
        token = await asking.access_token()
        asking.time.now += 3600
        assert 403025 == await self.ask(asking, oauth_token=token)

    async def test_revoked(self, asking: Asking) -> None:
        """So is one that was revoked."""
        token = await asking.access_token()
        asking.gigya.tokens.revoke_all()
        assert 403025 == await self.ask(asking, oauth_token=token)

    async def test_other_site(self, asking: Asking) -> None:
        """So is one of another site than the API key's."""
        token = await asking.access_token()
        code = await self.ask(asking, oauth_token=token, apiKey=asking.made.legacy_api_key)
        assert 403025 == code

    async def test_plain_http(self, asking: Asking) -> None:
        """So is one over plain HTTP."""
        token = await asking.access_token()
        asking.base = "http://socialize.us1.gigya.com"
        assert 403025 == await self.ask(asking, oauth_token=token)
