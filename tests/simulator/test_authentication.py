import base64
import json
from dataclasses import replace
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from service.simulator import UserKey
from service.simulator.seeds import throwaway_key
from service.simulator.world import GET_SESSION_INFO, GET_TOKEN
from tests.simulator.asking import Asking, opened

OTHER_SECRET: Final = base64.b64encode(bytes(32)).decode()


def plain_http(asking: Asking) -> Asking:
    """Return the same customer, who forgot the s of https."""
    asking.base = "http://socialize.us1.gigya.com"
    return asking


class TestUserKey:
    async def test_secret(self, asking: Asking) -> None:
        """A user key and its secret are enough over TLS."""
        assert 0 == await asking.code()

    @pytest.mark.parametrize(
        ("spoiled", "code"),
        [
            ({"secret": OTHER_SECRET}, 403010),
            ({"secret": ""}, 403010),
            ({"userKey": "Anobody"}, 403010),
            ({"apiKey": "3_nobody"}, 400093),
            ({"apiKey": ""}, 400002),
        ],
        ids=["secret", "empty", "user-key", "api-key", "no-api-key"],
    )
    async def test_spoiled(self, asking: Asking, spoiled: dict[str, str], code: int) -> None:
        """A wrong secret, key or site is refused."""
        assert code == await asking.code(**spoiled)

    async def test_partner_secret_is_not_its_secret(self, asking: Asking) -> None:
        """The partner secret does not stand in for a user key's."""
        assert 403010 == await asking.code(secret=asking.made.partner_secret)

    async def test_plain_http(self, asking: Asking) -> None:
        """A secret over plain HTTP is 403006."""
        assert 403006 == await plain_http(asking).code()

    async def test_rights(self, asking: Asking) -> None:
        """A key without the right to call the method is 403007."""
        key = UserKey(
            user_key=asking.made.user_key,
            secrets=(asking.made.user_secret,),
            may=frozenset({GET_TOKEN}),
        )
        asking.made.world.change(asking.made.api_key, user_keys={key.user_key: key})
        assert 403007 == await asking.code()

    async def test_two_secrets(self, asking: Asking) -> None:
        """While a secret rotates, the old and the new one are good."""
        key = asking.made.site.user_keys[asking.made.user_key]
        both = replace(key, secrets=(OTHER_SECRET, asking.made.user_secret))
        asking.made.world.change(asking.made.api_key, user_keys={key.user_key: both})
        assert [0, 0] == [await asking.code(secret=each) for each in both.secrets]


class TestPartnerSecret:
    async def test_old_site(self, asking: Asking) -> None:
        """Where it still authenticates, the partner secret is enough over TLS."""
        form = asking.form(apiKey=asking.made.legacy_api_key, secret=asking.made.partner_secret)
        assert 0 == (await asking.post(GET_SESSION_INFO, form))["errorCode"]

    async def test_since_2023(self, asking: Asking) -> None:
        """At today's sites it is refused, plain and signed alike."""
        plain = asking.form(secret=asking.made.partner_secret)
        signed = asking.signed(asking.form(), asking.made.partner_secret)
        replies = [await asking.post(GET_SESSION_INFO, form) for form in (plain, signed)]
        assert [403010, 403010] == [reply["errorCode"] for reply in replies]

    async def test_wrong(self, asking: Asking) -> None:
        """A wrong one is 403010."""
        form = asking.form(apiKey=asking.made.legacy_api_key, secret=OTHER_SECRET)
        assert 403010 == (await asking.post(GET_SESSION_INFO, form))["errorCode"]

    async def test_plain_http(self, asking: Asking) -> None:
        """Over plain HTTP it is 403006, good or not."""
        form = asking.form(apiKey=asking.made.legacy_api_key, secret=asking.made.partner_secret)
        reply = await plain_http(asking).post(GET_SESSION_INFO, form)
        assert 403006 == reply["errorCode"]


class TestSigned:
    def form(self, asking: Asking, **more: str) -> dict[str, str]:
        """Return a form signed with the partner secret at the old site."""
        form = asking.form(apiKey=asking.made.legacy_api_key, **more)
        return asking.signed(form, asking.made.partner_secret)

    async def code(self, asking: Asking, form: dict[str, str]) -> int:
        """Return the error code that ``form`` gets."""
        return int((await asking.post(GET_SESSION_INFO, form))["errorCode"])

    async def test_partner(self, asking: Asking) -> None:
        """A signature by the partner secret is enough, at an old site."""
        assert 0 == await self.code(asking, self.form(asking))

    async def test_user_key(self, asking: Asking) -> None:
        """A signature by a user key's secret is enough, and at today's sites."""
        form = asking.form(userKey=asking.made.user_key)
        assert 0 == await self.code(asking, asking.signed(form, asking.made.user_secret))

    async def test_plain_http(self, asking: Asking) -> None:
        """A signature is good over plain HTTP: no secret travels."""
        assert 0 == await self.code(asking, self.form(plain_http(asking)))

    async def test_awkward_values(self, asking: Asking) -> None:
        """Every awkward character may be in what is signed."""
        cid = "a b~c*d+e/f&g=h!i'j(k)l%m?n#o:p@ ünï日本\U0001f600"
        assert 0 == await self.code(asking, self.form(asking, cid=cid))

    async def test_get(self, asking: Asking) -> None:
        """A GET is signed as GET."""
        form = asking.form(apiKey=asking.made.legacy_api_key)
        signed = asking.signed(form, asking.made.partner_secret, method="GET")
        answers = [
            await asking.send(verb, f"/{GET_SESSION_INFO}", params=signed)
            for verb in ("POST", "GET")
        ]
        assert [403003, 0] == [answer.json()["errorCode"] for answer in answers]

    @pytest.mark.parametrize("quoted", ["+", "%20"])
    async def test_either_encoding(self, asking: Asking, quoted: str) -> None:
        """The body is decoded first: PHP's and RFC 3986's encoding are the same to it."""
        form = self.form(asking, cid="a b")
        body = "&".join(f"{k}={v}" for k, v in form.items()).replace("+", "%2B")
        response = await asking.send(
            "POST",
            f"/{GET_SESSION_INFO}",
            content=body.replace(" ", quoted),
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        assert 0 == response.json()["errorCode"]

    async def test_spoiled(self, asking: Asking) -> None:
        """A changed parameter is 403003, with what the signature should have been."""
        form = self.form(asking)
        reply = await asking.post(GET_SESSION_INFO, {**form, "provider": "facebook"})
        right = asking.signed(
            {k: v for k, v in {**form, "provider": "facebook"}.items() if k != "sig"},
            asking.made.partner_secret,
        )
        assert (403003, right["sig"]) == (reply["errorCode"], reply["expectedSignature"])
        assert reply["baseString"].startswith("POST&https%3A%2F%2Fsocialize.us1.gigya.com%2F")

    async def test_wrong_secret(self, asking: Asking) -> None:
        """A signature by another secret is 403003."""
        form = asking.signed(asking.form(userKey=asking.made.user_key), OTHER_SECRET)
        assert 403003 == await self.code(asking, form)

    async def test_replay(self, asking: Asking) -> None:
        """The same nonce a second time is 403004; another is good."""
        form = self.form(asking)
        again = asking.signed(
            asking.form(apiKey=asking.made.legacy_api_key),
            asking.made.partner_secret,
            nonce="another",
        )
        assert [0, 403004, 0] == [await self.code(asking, each) for each in (form, form, again)]

    @pytest.mark.parametrize(("off", "code"), [(-121, 403002), (-120, 0), (120, 0), (121, 403002)])
    async def test_clock(self, asking: Asking, off: int, code: int) -> None:
        """A timestamp outside the site's window, early or late, is 403002."""
        form = self.form(asking)
        asking.time.now += off
        assert code == await self.code(asking, form)

    @pytest.mark.parametrize("missing", ["timestamp", "nonce"])
    async def test_missing(self, asking: Asking, missing: str) -> None:
        """Without timestamp or nonce there is nothing to verify."""
        form = {k: v for k, v in self.form(asking).items() if k != missing}
        assert 400002 == await self.code(asking, form)

    @pytest.mark.parametrize("timestamp", ["soon", "-1", "²", "1800000000.0"])
    async def test_no_seconds(self, asking: Asking, timestamp: str) -> None:
        """A timestamp is whole seconds in digits."""
        form = {**self.form(asking), "timestamp": timestamp}
        assert 400006 == await self.code(asking, form)

    async def test_milliseconds(self, asking: Asking) -> None:
        """Milliseconds, which one library sends, are far outside the window."""
        form = asking.form(apiKey=asking.made.legacy_api_key)
        form["timestamp"] = str(int(asking.time.now * 1000))
        assert 403002 == await self.code(asking, asking.signed(form, asking.made.partner_secret))


class TestBearer:
    async def test_token(self, asking: Asking) -> None:
        """An RS256 token of a user key is enough over TLS."""
        assert 0 == (await asking.ask_with(asking.bearer()))["errorCode"]

    async def test_standard_alphabet(self, asking: Asking) -> None:
        """The standard base64 alphabet with padding is taken too, as .NET sends it."""
        key = asking.made.private_key
        header = {"alg": "RS256", "kid": asking.made.user_key}
        claims = {"iat": int(asking.time.now), "jti": "~~??>>"}
        parts = [base64.b64encode(json.dumps(each).encode()) for each in (header, claims)]
        signature = key.sign(b".".join(parts), PKCS1v15(), SHA256())
        token = b".".join([*parts, base64.b64encode(signature)]).decode()
        reply = await asking.ask_with({"authorization": f"Bearer {token}"})
        assert 0 == reply["errorCode"]

    async def test_replay(self, asking: Asking) -> None:
        """The same ``jti`` a second time is 403004; another is good."""
        headers = asking.bearer("one")
        replies = [await asking.ask_with(h) for h in (headers, headers, asking.bearer("two"))]
        assert [0, 403004, 0] == [reply["errorCode"] for reply in replies]

    @pytest.mark.parametrize(("off", "code"), [(-121, 403002), (120, 0), (121, 403002)])
    async def test_clock(self, asking: Asking, off: int, code: int) -> None:
        """An ``iat`` outside the site's window is 403002."""
        headers = asking.bearer()
        asking.time.now += off
        assert code == (await asking.ask_with(headers))["errorCode"]

    async def test_wrong_key(self, asking: Asking) -> None:
        """A token by another key is 403003, and nothing tells the right signature."""
        reply = await asking.ask_with(asking.bearer(key=throwaway_key(1)))
        assert 403003 == reply["errorCode"]
        assert "expectedSignature" not in reply

    async def test_two_keys(self, asking: Asking) -> None:
        """While a key rotates, the old and the new one are good."""
        key = asking.made.site.user_keys[asking.made.user_key]
        both = (throwaway_key(1).public_key(), *key.public_keys)
        new = replace(key, public_keys=both)
        asking.made.world.change(asking.made.api_key, user_keys={key.user_key: new})
        tokens = [asking.bearer("a", key=throwaway_key(1)), asking.bearer("b")]
        assert [0, 0] == [(await asking.ask_with(each))["errorCode"] for each in tokens]

    async def test_unknown_key(self, asking: Asking) -> None:
        """A ``kid`` that is no user key of the site is 403010."""
        assert 403010 == (await asking.ask_with(asking.bearer(kid="Anobody")))["errorCode"]

    @pytest.mark.parametrize(
        "token",
        [
            "a.b.c",
            "..",
            "eyJhbGciOiJub25lIiwia2lkIjoiYSJ9.e30.",
            "eyJhbGciOiJIUzI1NiIsImtpZCI6ImEifQ.eyJpYXQiOjEsImp0aSI6ImEifQ.AA",
            "eyJhbGciOiJSUzI1NiJ9.eyJpYXQiOjEsImp0aSI6ImEifQ.AA",
            "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpYXQiOiIxIiwianRpIjoiYSJ9.AA",
            "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpYXQiOjEsImp0aSI6IiJ9.AA",
            "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.W10.AA",
        ],
        ids=["letters", "dots", "none", "hs256", "no-kid", "iat-text", "jti-empty", "array"],
    )
    async def test_malformed(self, asking: Asking, token: str) -> None:
        """What is no RS256 token with ``kid``, ``iat`` and ``jti`` is 400001."""
        reply = await asking.ask_with({"authorization": f"Bearer {token}"})
        assert 400001 == reply["errorCode"]

    async def test_plain_http(self, asking: Asking) -> None:
        """Over plain HTTP it is 400001."""
        reply = await plain_http(asking).ask_with(asking.bearer())
        assert 400001 == reply["errorCode"]


class TestOneWay:
    async def test_none(self, asking: Asking) -> None:
        """Without credentials the call is forbidden."""
        assert 403000 == (await asking.post(GET_SESSION_INFO, asking.form()))["errorCode"]

    async def test_two(self, asking: Asking) -> None:
        """Two ways in one request are 400001."""
        reply = await asking.post(GET_SESSION_INFO, asking.with_secret(), headers=asking.bearer())
        assert 400001 == reply["errorCode"]


class TestLoopback:
    async def test_off(self, asking: Asking) -> None:
        """Plain HTTP from loopback is plain HTTP, unless the simulator is told otherwise."""
        asking.base = "http://127.0.0.1:9321"
        assert 403006 == await asking.code()

    @pytest.mark.parametrize(
        ("peer", "code"), [("127.0.0.1", 0), ("::1", 0), ("10.0.0.7", 403006), ("", 403006)]
    )
    async def test_on(self, peer: str, code: int) -> None:
        """If it is, a loopback peer counts as TLS, and no other."""
        asking = Asking(
            options={"loopback_is_secure": True}, peer=peer, base="http://127.0.0.1:9321"
        )
        assert code == await asking.code()

    async def test_does_not_encrypt_by_itself(self) -> None:
        """Then the default of ``encrypt`` is that of TLS too."""
        asking = Asking(options={"loopback_is_secure": True}, base="http://127.0.0.1:9321")
        assert "twitter-secret" in (await asking.ask())["tokenSecret"]


class TestPartnerSecrets:
    async def test_rotation(self, asking: Asking) -> None:
        """Old and new overlap: both authenticate, and the site says which one seals."""
        made, key = asking.made, asking.made.legacy_api_key
        old, new = made.partner_secret, OTHER_SECRET
        seen = []
        for sealing in (old, new):
            made.world.change(key, partner_secrets=(new, old), sealing_secret=sealing)
            for secret in (old, new):
                form = asking.form(apiKey=key, secret=secret, encrypt="true")
                reply = await asking.post(GET_SESSION_INFO, form)
                plain = opened(reply["tokenSecret"], reply["IV"], sealing)
                seen.append(plain.startswith(b"twitter-secret-"))
        assert [True] * 4 == seen
