from typing import Any

import pytest

from service.simulator import Connection, ExpiryForm, Knob, ProviderUidForm, Seal
from service.simulator.providers import ALIASES, FAMILIES, Family
from tests.simulator.asking import NOW, Asking, hmac_sha1, opened

PADDINGS = ["PKCS7", "PKCS5", "ZEROS"]


def change(asking: Asking, **changes: Any) -> None:
    """Change the site that is asked."""
    asking.made.world.change(asking.made.api_key, **changes)


def plain(asking: Asking, reply: dict[str, Any], name: str) -> str:
    """Return what is sealed in a field, without its padding."""
    octets = opened(reply[name], reply["IV"], asking.made.partner_secret)
    return octets.rstrip(bytes(range(17))).decode()


class TestFields:
    @pytest.mark.parametrize("provider", FAMILIES)
    async def test_every_provider(self, asking: Asking, provider: str) -> None:
        """Every provider's user has the fields of its family, and no others."""
        expected = {
            Family.FACEBOOK: {"authToken", "tokenExpirationUTC"},
            Family.OAUTH1: {"authToken", "tokenSecret"},
            Family.OAUTH2: {"authToken", "tokenExpirationUTC", "sessionHandle"},
        }[FAMILIES[provider]]
        reply = await asking.ask(UID=f"user-{provider}", provider=provider)
        generic = {"statusCode", "statusReason", "errorCode", "callId", "apiVersion", "time"}
        assert expected | {"providerUID"} == set(reply) - generic

    @pytest.mark.parametrize("provider", ["google", "yahoo", "linkedin"])
    async def test_former_oauth1(self, asking: Asking, provider: str) -> None:
        """The three that were OAuth 1 have a user whose session still is, with everything."""
        reply = await asking.ask(UID=f"user-{provider}-oauth1", provider=provider)
        wanted = {"tokenSecret", "sessionHandle", "tokenExpirationUTC", "sessionExpiration"}
        assert wanted <= set(reply)

    @pytest.mark.parametrize("alias", ALIASES)
    async def test_aliases(self, asking: Asking, alias: str) -> None:
        """A documented alias is the same provider."""
        uid = f"user-{ALIASES[alias]}"
        replies = [await asking.ask(UID=uid, provider=p) for p in (alias, ALIASES[alias])]
        assert replies[0]["authToken"] == replies[1]["authToken"]

    async def test_empty_fields(self, asking: Asking) -> None:
        """A site may send what the provider does not need as empty, and never seals it."""
        change(asking, empty_fields=True)
        reply = await asking.ask(UID="user-facebook", provider="facebook", encrypt="true")
        assert ["", "", ""] == [
            reply[name] for name in ("tokenSecret", "sessionHandle", "sessionExpiration")
        ]

    async def test_same_seed(self) -> None:
        """Two worlds of one seed hold the same tokens."""
        replies = [await Asking().ask() for _ in range(2)]
        assert replies[0]["authToken"] == replies[1]["authToken"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("form", "code"),
        [
            ({"UID": "stranger"}, 403005),
            ({"UID": ""}, 400002),
            ({"provider": ""}, 400002),
            ({"provider": "Twitter"}, 400006),
            ({"provider": "friendster"}, 400006),
            ({"provider": "saml-unknown"}, 400106),
            ({"provider": "facebook"}, 400106),
            ({"UID": "user-nobody"}, 400106),
            ({"UID": "user-expired"}, 403009),
            ({"paddingMode": "OAEP"}, 400006),
            ({"encrypt": "maybe"}, 400006),
            ({"encryptAll": "2"}, 400006),
            ({"signIDs": "ja"}, 400006),
        ],
        ids=lambda v: ",".join(f"{k}={v[k]}" for k in v) if isinstance(v, dict) else None,
    )
    async def test_refused(self, asking: Asking, form: dict[str, str], code: int) -> None:
        """What Gigya cannot answer it refuses with the code its documentation gives."""
        assert code == await asking.code(**form)

    async def test_unknown_uid(self, asking: Asking) -> None:
        """A site may answer 404003 for an unknown UID."""
        change(asking, unknown_uid=404003)
        assert 404003 == await asking.code(UID="stranger")

    async def test_no_application(self, asking: Asking) -> None:
        """A provider without an application at the site is 500031."""
        change(asking, applications=frozenset({"facebook"}))
        assert 500031 == await asking.code()

    async def test_not_supported(self, asking: Asking) -> None:
        """A provider that has no session info is 400096."""
        change(asking, unsupported=frozenset({"twitter"}))
        assert 400096 == await asking.code()

    async def test_world_changes(self, asking: Asking) -> None:
        """Users connect and disconnect while the simulator runs."""
        made = asking.made
        connection = Connection(auth_token="new-token", provider_uid="1")
        made.world.connect(made.api_key, "newcomer", "twitter", connection)
        assert "new-token" == (await asking.ask(UID="newcomer"))["authToken"]
        made.world.disconnect(made.api_key, "newcomer", "twitter")
        assert 400106 == await asking.code(UID="newcomer")


class TestEncryption:
    async def test_off_over_tls(self, asking: Asking) -> None:
        """Over TLS nothing is sealed unless it is asked."""
        reply = await asking.ask(UID="user-google-oauth1", provider="google")
        assert reply["tokenSecret"].startswith("google-secret-")
        assert "IV" not in reply

    @pytest.mark.parametrize("value", ["true", "True", "1"])
    @pytest.mark.parametrize("padding", PADDINGS)
    async def test_on(self, asking: Asking, padding: str, value: str) -> None:
        """``encrypt`` seals tokenSecret and sessionHandle, in any of the three paddings."""
        reply = await asking.ask(
            UID="user-google-oauth1", provider="google", encrypt=value, paddingMode=padding
        )
        assert plain(asking, reply, "tokenSecret").startswith("google-secret-")
        assert plain(asking, reply, "sessionHandle").startswith("google-handle-")
        assert reply["authToken"].startswith("google-token-")

    async def test_on_over_http(self, asking: Asking) -> None:
        """Over plain HTTP it is on, unless it is switched off."""
        asking.base = "http://socialize.us1.gigya.com"
        form = asking.form(userKey=asking.made.user_key)
        replies = [
            await asking.post(
                "socialize.getSessionInfo",
                asking.signed({**form, **more}, asking.made.user_secret, nonce=str(more)),
            )
            for more in ({}, {"encrypt": "false"})
        ]
        assert [False, True] == [r["tokenSecret"].startswith("twitter-") for r in replies]

    async def test_by_default(self, asking: Asking) -> None:
        """A site may seal over TLS too though nobody asks, and not know ``encrypt`` at all."""
        change(asking, encrypts_by_default=True, ignores=frozenset({"encrypt"}))
        reply = await asking.ask(encrypt="false")
        assert plain(asking, reply, "tokenSecret").startswith("twitter-secret-")
        assert ["encrypt"] == [each["paramName"] for each in reply["ignoredParams"]]

    async def test_all(self, asking: Asking) -> None:
        """``encryptAll`` seals every field that the site says, the token included."""
        reply = await asking.ask(UID="user-google", provider="google", encryptAll="true")
        assert plain(asking, reply, "authToken").startswith("google-token-")
        assert "2027-01-15 09:00:00" == plain(asking, reply, "tokenExpirationUTC")
        assert reply["providerUID"].isdigit()

    async def test_all_of_a_site(self, asking: Asking) -> None:
        """Which fields that are is a switch of the site."""
        change(asking, encrypt_all=frozenset({"providerUID"}))
        reply = await asking.ask(encryptAll="true")
        assert plain(asking, reply, "providerUID").isdigit()
        assert reply["authToken"].startswith("twitter-token-")

    async def test_iv_without_anything_sealed(self, asking: Asking) -> None:
        """An IV does not prove that anything is sealed."""
        reply = await asking.ask(UID="user-facebook", provider="facebook", encrypt="true")
        assert "IV" in reply
        assert reply["authToken"].startswith("facebook-token-")

    async def test_iv_is_fresh(self, asking: Asking) -> None:
        """Each reply has an IV of its own."""
        replies = [await asking.ask(encrypt="true") for _ in range(2)]
        assert replies[0]["IV"] != replies[1]["IV"]


class TestSealKnobs:
    async def sealed(self, asking: Asking, seal: Seal) -> dict[str, Any]:
        """Return a reply whose seal is spoiled."""
        asking.gigya.knobs.turn(seal=seal)
        return await asking.ask(encrypt="true")

    async def test_wrong_key(self, asking: Asking) -> None:
        """The partner secret does not open what another key sealed."""
        reply = await self.sealed(asking, Seal.WRONG_KEY)
        octets = opened(reply["tokenSecret"], reply["IV"], asking.made.partner_secret)
        assert b"twitter" not in octets

    async def test_wrong_padding(self, asking: Asking) -> None:
        """The key is right, the padding is none."""
        reply = await self.sealed(asking, Seal.WRONG_PADDING)
        octets = opened(reply["tokenSecret"], reply["IV"], asking.made.partner_secret)
        assert (b"twitter", 0x11) == (octets[:7], octets.rstrip(b"\0")[-1])

    async def test_plain(self, asking: Asking) -> None:
        """The field comes as it is, and nothing in the reply says so."""
        reply = await self.sealed(asking, Seal.PLAIN)
        assert reply["tokenSecret"].startswith("twitter-secret-")
        assert "ignoredParams" not in reply

    async def test_not_base64(self, asking: Asking) -> None:
        """The field is no base64."""
        assert "*" == (await self.sealed(asking, Seal.NOT_BASE64))["tokenSecret"][0]

    async def test_part_of_a_block(self, asking: Asking) -> None:
        """The last block lacks an octet."""
        reply = await self.sealed(asking, Seal.PART_OF_A_BLOCK)
        assert reply["tokenSecret"].endswith("=")

    @pytest.mark.parametrize(("seal", "expected"), [(Seal.NO_IV, 0), (Seal.SHORT_IV, 12)])
    async def test_iv(self, asking: Asking, seal: Seal, expected: int) -> None:
        """The IV is missing, or of 8 octets."""
        assert expected == len((await self.sealed(asking, seal)).get("IV", ""))

    async def test_ignored(self, asking: Asking) -> None:
        """An ignored ``encrypt`` leaves the field plain and is reported."""
        asking.gigya.knobs.turn(ignores=frozenset({"encrypt", "signIDs", "paddingMode"}))
        reply = await asking.ask(encrypt="true", signIDs="true", paddingMode="nonsense")
        names = [each["paramName"] for each in reply["ignoredParams"]]
        assert {"encrypt", "signIDs", "paddingMode"} == set(names)
        assert reply["tokenSecret"].startswith("twitter-secret-")
        assert "providerUIDSig" not in reply


class TestExpiries:
    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            (ExpiryForm.DATE_TIME, "2027-01-15 09:00:00"),
            (ExpiryForm.ISO, "2027-01-15T09:00:00.000Z"),
            (ExpiryForm.ISO_OFFSET, "2027-01-15T09:00:00+00:00"),
            (ExpiryForm.SECONDS, "1800003600"),
            (ExpiryForm.MILLISECONDS, "1800003600000"),
            (ExpiryForm.RELATIVE, "3600"),
            (ExpiryForm.EMPTY, ""),
            (ExpiryForm.ZERO, "0"),
            (ExpiryForm.GARBAGE, "next Tuesday, perhaps"),
        ],
    )
    async def test_forms(self, asking: Asking, form: ExpiryForm, expected: str) -> None:
        """An expiry is written in the form that a knob or the site says."""
        question = {"UID": "user-google", "provider": "google"}
        change(asking, expiry_form=form)
        by_site = await asking.ask(**question)
        change(asking, expiry_form=ExpiryForm.DATE_TIME)
        asking.gigya.knobs.turn(expiry_form=form)
        by_knob = await asking.ask(**question)
        assert [expected] * 2 == [r["tokenExpirationUTC"] for r in (by_site, by_knob)]

    async def test_field(self, asking: Asking) -> None:
        """The older name of the field is a knob and a switch too."""
        question = {"UID": "user-google", "provider": "google"}
        asking.gigya.knobs.turn(expiry_field="tokenExpiration", times=1)
        by_knob = await asking.ask(**question)
        change(asking, expiry_field="tokenExpiration")
        by_site = await asking.ask(**question)
        for reply in (by_knob, by_site):
            assert ("tokenExpiration" in reply, "tokenExpirationUTC" in reply) == (True, False)

    @pytest.mark.parametrize(("later", "left"), [(0, 3600), (3599, 1), (3600, 3600), (9000, 1800)])
    async def test_renewal(self, asking: Asking, later: int, left: int) -> None:
        """A seeded token is renewed when its time is over, so that it is never past."""
        asking.time.now += later
        asking.gigya.knobs.turn(expiry_form=ExpiryForm.RELATIVE)
        reply = await asking.ask(UID="user-google", provider="google")
        assert str(left) == reply["tokenExpirationUTC"]

    async def test_past(self, asking: Asking) -> None:
        """One that is not renewed stays past."""
        connection = Connection(auth_token="t", provider_uid="1", token_expires_at=NOW - 10)
        asking.made.world.connect(asking.made.api_key, "user-twitter", "twitter", connection)
        asking.gigya.knobs.turn(expiry_form=ExpiryForm.RELATIVE)
        assert "-10" == (await asking.ask())["tokenExpirationUTC"]


class TestSignIds:
    async def signature(self, asking: Asking) -> tuple[str, str, str]:
        """Return timestamp, provider UID and its signature."""
        reply = await asking.ask(signIDs="true")
        return reply["timestamp"], reply["providerUID"], reply["providerUIDSig"]

    async def test_session_info_form(self, asking: Asking) -> None:
        """``timestamp_providerUID`` is signed with the partner secret."""
        timestamp, uid, signature = await self.signature(asking)
        assert hmac_sha1(asking.made.partner_secret, f"{timestamp}_{uid}") == signature

    @pytest.mark.parametrize("by", ["site", "knob"])
    async def test_identity_form(self, asking: Asking, by: str) -> None:
        """The Identity page's form is a switch and a knob."""
        if by == "site":
            change(asking, provider_uid_form=ProviderUidForm.IDENTITY)
        else:
            asking.gigya.knobs.turn(provider_uid_form=ProviderUidForm.IDENTITY)
        timestamp, uid, signature = await self.signature(asking)
        assert hmac_sha1(asking.made.partner_secret, f"{timestamp}_twitter_{uid}") == signature

    async def test_absent(self, asking: Asking) -> None:
        """Unasked, nothing is signed."""
        assert "providerUIDSig" not in await asking.ask()

    async def test_wrong(self, asking: Asking) -> None:
        """A knob lets another key sign."""
        asking.gigya.knobs.turn(wrong_signature=True)
        timestamp, uid, signature = await self.signature(asking)
        assert hmac_sha1(asking.made.partner_secret, f"{timestamp}_{uid}") != signature

    async def test_old(self, asking: Asking) -> None:
        """A knob lets the signature be old."""
        asking.gigya.knobs.turn(Knob(signature_age=1000))
        assert str(int(NOW) - 1000) == (await self.signature(asking))[0]

    async def test_uid_signature(self, asking: Asking) -> None:
        """A site signs a UID for its user's browser with the secret that seals."""
        signature = asking.made.site.sign_uid("user-twitter", "1700000000")
        assert hmac_sha1(asking.made.partner_secret, "1700000000_user-twitter") == signature
