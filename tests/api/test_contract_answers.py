"""What a 200 holds, member by member, and what each optional member of a request does."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from service.api.answer_members import ANSWER_MEMBERS
from service.simulator import ExpiryForm, ProviderUidForm
from tests.house import NOW, OTHER_TOKEN, TOKEN, House, caller, grant, static

ALWAYS: Final = {"site", "provider", "tokens", "withheld", "cached", "age", "audit_id"}
OPTIONAL: Final = {
    *("expires_at", "session_expires_at", "provider_uid", "provider_uid_verified", "context"),
    "gigya_call_id",
}
DAY: Final = 86_400


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def ask(house: House, **members: Any) -> Any:
    async with house.open() as visitor:
        answer = await visitor.ask(**members)
    assert "no-store" == answer.headers["cache-control"]
    assert answer.headers["audit-id"] == answer.json()["audit_id"]
    assert answer.headers["audit-id"] == house.records()[-1]["audit_id"]
    return answer.json()


class TestMembers:
    def test_are_those_of_the_contract(self) -> None:
        """The documented members are those that design.md lists, present always or not."""
        assert ALWAYS == {member.name for member in ANSWER_MEMBERS if member.is_always}
        assert OPTIONAL == {member.name for member in ANSWER_MEMBERS if not member.is_always}

    async def test_twitter_has_the_fewest(self, tmp_path: Path) -> None:
        """Without an expiry, a handle and the provider's UID only these are there."""
        house = House(tmp_path)
        house.settings["callers"][0]["grants"] = [grant("authToken", "tokenSecret")]

        told = await ask(house)

        assert ALWAYS | {"gigya_call_id"} == set(told)
        assert ("shop", "twitter", [], False, 0) == tuple(
            told[name] for name in ("site", "provider", "withheld", "cached", "age")
        )
        assert {"oauth_token", "oauth_token_secret"} == set(told["tokens"])
        assert house.records()[0]["upstream"]["call_id"] == told["gigya_call_id"]

    async def test_a_session_with_everything_has_the_most(self, tmp_path: Path) -> None:
        """Both expiries as moments and as seconds left, and the provider's UID."""
        house = House(tmp_path)

        told = await ask(
            house,
            uid="user-google-oauth1",
            provider="google",
            verify_provider_uid=True,
            context={"a": [1, None]},
        )

        assert ALWAYS | OPTIONAL == set(told)
        assert moment(3600) == told["expires_at"]
        assert moment(365 * DAY) == told["session_expires_at"]
        session = house.gigya.site.users["user-google-oauth1"]["google"]
        assert {
            "oauth_token": session.auth_token,
            "oauth_token_secret": session.token_secret,
            "oauth_expires_in": 3600,
            "oauth_session_handle": session.session_handle,
            "oauth_authorization_expires_in": 365 * DAY,
        } == told["tokens"]
        assert session.provider_uid == told["provider_uid"]
        assert told["provider_uid_verified"] is True
        assert {"a": [1, None]} == told["context"]

    async def test_an_alias_is_answered_by_the_canonical_name(self, tmp_path: Path) -> None:
        """Whoever asks for googleplus hears of google, and Gigya is asked for google."""
        house = House(tmp_path)

        told = await ask(house, uid="user-google", provider="googleplus")

        assert "google" == told["provider"]
        assert "google" == house.simulator.calls.last.get("provider")
        assert "google" == house.records()[0]["provider"]

    async def test_gigyas_call_id_is_absent_where_it_is_none(self, tmp_path: Path) -> None:
        """A reply without a call id leaves the member out."""
        house = House(tmp_path)
        house.simulator.knobs.turn(members={"callId": None})

        assert "gigya_call_id" not in await ask(house)


class TestWithheld:
    async def test_names_what_policy_refused(self, tmp_path: Path) -> None:
        """What the reply held and no grant gives is named as the provider names it."""
        house = House(tmp_path)
        house.settings["callers"][0]["grants"] = [grant("authToken")]

        told = await ask(house, uid="user-google-oauth1", provider="google")

        assert {"oauth_token", "oauth_expires_in"} == set(told["tokens"])
        assert [
            "oauth_token_secret", "oauth_session_handle", "oauth_authorization_expires_in"
        ] == told["withheld"]  # fmt: skip
        assert not {"session_expires_at", "provider_uid"} & set(told)
        record = house.records()[0]
        assert ["authToken", "tokenExpiration"] == record["released"]
        assert ["tokenSecret", "sessionHandle", "sessionExpiration", "providerUID"] == (
            record["withheld"]
        )

    async def test_expiries_follow_their_token(self, tmp_path: Path) -> None:
        """The handle's grant gives the handle's expiry, and not the token's."""
        house = House(tmp_path)
        house.settings["callers"][0]["grants"] = [grant("sessionHandle", providers=["google"])]

        told = await ask(house, uid="user-google-oauth1", provider="google")

        assert {"oauth_session_handle", "oauth_authorization_expires_in"} == set(told["tokens"])
        assert ("session_expires_at" in told, "expires_at" in told) == (True, False)


class TestFields:
    @pytest.mark.parametrize(
        ("fields", "names"),
        [
            (["oauth_token"], {"oauth_token", "oauth_expires_in"}),
            (["access_token"], {"oauth_token", "oauth_expires_in"}),
            (["authToken"], {"oauth_token", "oauth_expires_in"}),
            (["tokenExpiration"], {"oauth_expires_in"}),
            (["tokenExpirationUTC"], {"oauth_expires_in"}),
            (["refresh_token", "tokenSecret"], {
                "oauth_token_secret", "oauth_session_handle", "oauth_authorization_expires_in"
            }),
            (["providerUID"], set()),
        ],
        ids=["OAuth 1", "OAuth 2", "Gigya", "expiry", "expiry in UTC", "mixed", "UID"],
    )  # fmt: skip
    async def test_may_be_named_in_any_way(
        self, fields: list[str], names: set[str], tmp_path: Path
    ) -> None:
        """Names of any column and Gigya's own mean one field; the answer has the reply's names."""
        house = House(tmp_path)

        told = await ask(house, uid="user-google-oauth1", provider="google", fields=fields)

        assert names == set(told["tokens"])
        assert [] == told["withheld"]
        assert ("provider_uid" in told) is (fields == ["providerUID"])

    async def test_known_and_not_granted_is_refused(self, tmp_path: Path) -> None:
        """A field that no grant gives is 403, and Gigya is not asked."""
        house = House(tmp_path)
        house.settings["callers"][0]["grants"] = [grant("authToken")]

        told = await ask(house, fields=["oauth_token", "oauth_token_secret"])

        assert ("access-denied", "field") == (told["code"], told["missing"])
        assert 0 == house.simulator.calls.total
        assert ["authToken", "tokenSecret"] == house.records()[0]["asked"]

    async def test_granted_and_not_there_is_absent(self, tmp_path: Path) -> None:
        """A field that the reply lacks is no fault."""
        told = await ask(House(tmp_path), fields=["oauth_token", "oauth_session_handle"])

        assert {"oauth_token"} == set(told["tokens"])


class TestLife:
    async def test_seconds_are_floored(self, tmp_path: Path) -> None:
        """Half a second of the hour gone, 3599 whole seconds are left."""
        house = House(tmp_path)
        house.simulator.knobs.turn(members={"tokenExpirationUTC": str(int((NOW + 3600) * 1000))})
        async with house.open() as visitor:
            house.time.now = NOW + 0.5
            told = (await visitor.ask(uid="user-google", provider="google")).json()

        assert 3599 == told["tokens"]["expires_in"]
        assert moment(3600) == told["expires_at"]

    @pytest.mark.parametrize(
        ("min_ttl", "code"), [(0, None), (3600, None), (3601, "token-expiring")]
    )
    async def test_min_ttl(self, min_ttl: int, code: str | None, tmp_path: Path) -> None:
        """A token that lives shorter than is asked is refused, not handed out."""
        house = House(tmp_path)

        told = await ask(house, uid="user-google", provider="google", min_ttl=min_ttl)

        assert code == told.get("code")
        assert (code or "released") == house.records()[0]["outcome"]

    async def test_min_ttl_says_nothing_of_what_never_expires(self, tmp_path: Path) -> None:
        """A token without a known expiry passes any min_ttl."""
        assert "tokens" in await ask(House(tmp_path), min_ttl=31_536_000)

    @pytest.mark.parametrize("late", [0.0, 1.0, 1e6])
    async def test_past_is_past(self, late: float, tmp_path: Path) -> None:
        """At its expiry a token is dead, and the user must log in again."""
        house = House(tmp_path)
        house.simulator.knobs.turn(members={"tokenExpirationUTC": str(int(NOW - late))})

        told = await ask(house, uid="user-google", provider="google")

        assert "reauthentication-required" == told["code"]
        assert "token-expired" == house.records()[0]["reason"]

    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            (ExpiryForm.DATE_TIME, 3600),
            (ExpiryForm.ISO, 3600),
            (ExpiryForm.ISO_OFFSET, 3600),
            (ExpiryForm.SECONDS, 3600),
            (ExpiryForm.MILLISECONDS, 3600),
            (ExpiryForm.RELATIVE, "upstream-invalid"),
            (ExpiryForm.EMPTY, None),
            (ExpiryForm.ZERO, None),
            (ExpiryForm.GARBAGE, "upstream-invalid"),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("name", ["tokenExpiration", "tokenExpirationUTC"])
    async def test_every_form_of_an_expiry(
        self, form: ExpiryForm, expected: int | str | None, name: str, tmp_path: Path
    ) -> None:
        """Whatever form and name Gigya uses, the seconds are the same, or there are none."""
        house = House(tmp_path)
        house.simulator.knobs.turn(expiry_form=form, expiry_field=name)

        told = await ask(house, uid="user-google", provider="google")

        if isinstance(expected, str):
            assert expected == told["code"]
        else:
            assert expected == told["tokens"].get("expires_in")
            assert (expected is not None) is ("expires_at" in told)

    async def test_relative_expiries_where_the_site_says_so(self, tmp_path: Path) -> None:
        """Digits below 10^9 are seconds left at a site that says so."""
        house = House(tmp_path)
        house.settings["sites"]["shop"]["expiries"] = {"relative": True}
        house.simulator.knobs.turn(expiry_form=ExpiryForm.RELATIVE)

        assert (
            3600 == (await ask(house, uid="user-google", provider="google"))["tokens"]["expires_in"]
        )

    async def test_a_sites_time_zone(self, tmp_path: Path) -> None:
        """A time without a zone is of the site's zone, unless its name says UTC."""
        house = House(tmp_path)
        house.settings["sites"]["shop"]["expiries"] = {"time_zone": "Asia/Tokyo"}
        house.simulator.knobs.turn(
            members={
                "tokenExpirationUTC": None,
                "tokenExpiration": datetime.fromtimestamp(NOW + 10 * 3600, UTC).strftime(
                    "%Y-%m-%d %H:%M:%S"
                ),
            }
        )

        assert (
            3600 == (await ask(house, uid="user-google", provider="google"))["tokens"]["expires_in"]
        )


class TestWhatGigyaGets:
    async def test_is_what_the_contract_says(self, tmp_path: Path) -> None:
        """UID, provider, cid and our own context; the caller's context stays here."""
        house = House(tmp_path)

        await ask(house, cid="campaign-7", context={"mine": "s3cret"})

        sent = dict(house.simulator.calls.last.parameters)
        assert 32 == len(sent.pop("context"))
        assert {
            "UID": "user-twitter",
            "provider": "twitter",
            "cid": "campaign-7",
            "encrypt": "true",
            "paddingMode": "PKCS7",
            "format": "json",
            "httpStatusCodes": "false",
            "apiKey": house.gigya.api_key,
            "userKey": house.gigya.user_key,
            "secret": house.gigya.user_secret,
        } == sent
        headers = house.simulator.calls.last.headers
        assert ("POST", "identity") == (
            house.simulator.calls.last.http_method,
            headers["accept-encoding"],
        )

    async def test_is_no_cid_where_none_is_sent(self, tmp_path: Path) -> None:
        """What the caller leaves out is left out."""
        house = House(tmp_path)

        await ask(house)

        assert house.simulator.calls.last.get("cid") is None

    async def test_is_nothing_in_the_url(self, tmp_path: Path) -> None:
        """Everything travels in the body."""
        house = House(tmp_path)

        await ask(house)

        assert "https://socialize.us1.gigya.com/socialize.getSessionInfo" == (
            house.simulator.calls.last.url
        )


class TestProviderUid:
    @pytest.mark.parametrize("form", ProviderUidForm)
    async def test_verified(self, form: ProviderUidForm, tmp_path: Path) -> None:
        """A good signature in either documented form is verified."""
        house = House(tmp_path)
        house.simulator.knobs.turn(provider_uid_form=form)

        told = await ask(house, verify_provider_uid=True)

        assert told["provider_uid_verified"] is True
        assert "true" == house.simulator.calls.last.get("signIDs")

    @pytest.mark.parametrize(
        "knob",
        [
            {"wrong_signature": True},
            {"signature_age": 181.0},
            {"signature_age": -181.0},
            {"ignores": frozenset({"signIDs"})},
            {"members": {"providerUID": "42"}},
            {"members": {"timestamp": "soon"}},
        ],
        ids=["another key", "old", "of the future", "none", "of another", "no timestamp"],
    )
    async def test_not_verified(self, knob: dict[str, Any], tmp_path: Path) -> None:
        """Anything else is not, and the tokens come all the same."""
        house = House(tmp_path)
        house.simulator.knobs.turn(**knob)

        told = await ask(house, verify_provider_uid=True)

        assert told["provider_uid_verified"] is False
        assert told["tokens"]

    async def test_unasked(self, tmp_path: Path) -> None:
        """Whoever does not ask is not told, and Gigya is not asked to sign."""
        house = House(tmp_path)

        told = await ask(house)

        assert "provider_uid_verified" not in told
        assert house.simulator.calls.last.get("signIDs") is None

    async def test_needs_the_grant_of_the_uid(self, tmp_path: Path) -> None:
        """A verdict on what one may not see is not given."""
        house = House(tmp_path)
        house.settings["callers"][0]["grants"] = [grant("authToken")]

        told = await ask(house, verify_provider_uid=True)

        assert not {"provider_uid", "provider_uid_verified"} & set(told)


class TestUserProof:
    @staticmethod
    def house(directory: Path) -> House:
        made = House(directory)
        made.settings["callers"][0]["grants"] = [grant(user_proof="uid_signature")]
        return made

    @staticmethod
    def proof(house: House, uid: str = "user-twitter", age: float = 0) -> dict[str, str]:
        timestamp = str(int(NOW - age))
        return {"timestamp": timestamp, "signature": house.gigya.site.sign_uid(uid, timestamp)}

    async def test_gigyas_fresh_signature_of_this_user_opens(self, tmp_path: Path) -> None:
        """What the user's browser was given a short while ago proves that the user is there."""
        house = self.house(tmp_path)

        assert "tokens" in await ask(house, uid_signature=self.proof(house, age=179))

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda _: None,
            lambda house: TestUserProof.proof(house, age=181),
            lambda house: TestUserProof.proof(house, age=-181),
            lambda house: TestUserProof.proof(house, uid="user-facebook"),
            lambda house: {**TestUserProof.proof(house), "signature": "A" * 27 + "="},
            lambda house: {**TestUserProof.proof(house), "signature": "not base64"},
            lambda house: {**TestUserProof.proof(house), "timestamp": str(int(NOW) + 1)},
            lambda house: {**TestUserProof.proof(house), "timestamp": "today"},
        ],
        ids=["none", "old", "future", "another user", "wrong", "garbage", "other time", "no time"],
    )
    async def test_nothing_else_does(
        self, spoil: Callable[[House], dict[str, str] | None], tmp_path: Path
    ) -> None:
        """Without it the grant is closed, Gigya is not asked, and the record has the rule."""
        house = self.house(tmp_path)
        proof = spoil(house)

        told = await ask(house, **({} if proof is None else {"uid_signature": proof}))

        assert ("access-denied", "user-proof") == (told["code"], told["missing"])
        assert 0 == house.simulator.calls.total
        record = house.records()[0]
        assert ("deny", "missing-user-proof", "crm/grants[0]") == (
            record["decision"], record["reason"], record["rule"]
        )  # fmt: skip


class TestCache:
    async def test_max_age(self, tmp_path: Path) -> None:
        """A kept session is told as such; max_age bounds its age, and 0 asks Gigya."""
        house = House(tmp_path)
        house.settings["cache"] = {"enabled": True, "ttl": 60}
        told = []
        async with house.open() as visitor:
            for age, max_age in ((0, None), (10, None), (20, 20), (30, 29), (31, 0)):
                house.time.now = NOW + age
                members: dict[str, Any] = {} if max_age is None else {"max_age": max_age}
                answer = (await visitor.ask(uid="user-google", provider="google", **members)).json()
                told.append((answer["cached"], answer["age"], answer["tokens"]["expires_in"]))

        assert [
            (False, 0, 3600), (True, 10, 3590), (True, 20, 3580), (False, 0, 3570), (False, 0, 3569)
        ] == told  # fmt: skip
        assert 3 == house.simulator.calls.total
        cached = [record["upstream"]["cached"] for record in house.records()]
        assert [False, True, True, False, False] == cached

    async def test_is_off_unless_asked_for(self, tmp_path: Path) -> None:
        """Without the section every request asks Gigya."""
        house = House(tmp_path)
        async with house.open() as visitor:
            answers = [(await visitor.ask()).json()["cached"] for _ in range(2)]

        assert ([False, False], 2) == (answers, house.simulator.calls.total)


class TestTheOtherRoutes:
    async def test_the_mapping_table(self, tmp_path: Path) -> None:
        """Any caller sees the table."""
        house = House(tmp_path)
        async with house.open() as visitor:
            answer = await visitor.get("/v1/providers", token=OTHER_TOKEN)

        assert 200 == answer.status_code
        rows = {row["provider"]: row for row in answer.json()["providers"]}
        assert "documented" == rows["facebook"]["source"]
        assert {"oauth1", "oauth2", "facebook"} == set(answer.json()["columns"])
        assert ("answered", "newsletter") == (
            house.records()[0]["outcome"],
            house.records()[0]["caller"]["name"],
        )
        assert "no-store" == answer.headers["cache-control"]

    async def test_what_sites_make_of_the_table(self, tmp_path: Path) -> None:
        """A caller sees rows and naming of the sites it is granted, and of no other."""
        house = House(tmp_path)
        shop = house.settings["sites"]["shop"]
        house.settings["sites"]["blog"] = {
            **shop,
            "naming": "documented",
            "providers": {"saml-inside": {"names": "oauth2"}},
        }
        shop["providers"] = {
            "twitter": {"names": "oauth2"},
            "messenger": {"names": "oauth1"},
            "oidc-acme": {"names": {"authToken": "id_token"}},
        }
        house.settings["callers"][0]["grants"] += [grant(site="blog")]
        async with house.open() as visitor:
            both = (await visitor.get("/v1/providers")).json()
            one = (await visitor.get("/v1/providers", token=OTHER_TOKEN)).json()

        rows = {row["provider"]: row for row in one["sites"]["shop"]["providers"]}
        assert {"twitter", "microsoft", "oidc-acme"} == set(rows)
        assert {("configured", "row")} == {(r["source"], r["decided_by"]) for r in rows.values()}
        assert {"authToken": "id_token"} == rows["oidc-acme"]["names"]
        assert (["shop"], "reply") == (list(one["sites"]), one["sites"]["shop"]["naming"])
        assert "saml-inside" not in str(one)
        assert "documented" == both["sites"]["blog"]["naming"]
        assert ["saml-inside"] == [r["provider"] for r in both["sites"]["blog"]["providers"]]
        assert one["sites"]["shop"] == both["sites"]["shop"]

    async def test_ones_own_grants(self, tmp_path: Path) -> None:
        """A caller sees its own grants and no other's."""
        async with House(tmp_path).open() as visitor:
            answer = await visitor.get("/v1/grants", token=OTHER_TOKEN)

        assert {
            "caller": "newsletter",
            "grants": [
                {
                    "site": "shop",
                    "providers": ["facebook", "twitter"],
                    "fields": ["authToken"],
                    "user_proof": "none",
                }
            ],
        } == answer.json()

    async def test_the_contract_needs_no_caller(self, tmp_path: Path) -> None:
        """The OpenAPI document is everybody's, and recorded like everything on this port."""
        house = House(tmp_path)
        async with house.open() as visitor:
            answer = await visitor.get("/openapi.json", token=None)

        assert (200, "3.1") == (answer.status_code, answer.json()["openapi"][:3])
        assert answer.headers["audit-id"] == house.records()[0]["audit_id"]

    @pytest.mark.parametrize("path", ["/v1/providers", "/v1/grants"])
    async def test_the_tables_do(self, path: str, tmp_path: Path) -> None:
        """Without a credential they are refused."""
        async with House(tmp_path).open() as visitor:
            assert 401 == (await visitor.get(path, token=None)).status_code

    @pytest.mark.parametrize(
        ("path", "allow"),
        [("/v1/provider-tokens", "POST"), ("/v1/grants", "GET"), ("/openapi.json", "GET")],
    )
    async def test_other_methods(self, path: str, allow: str, tmp_path: Path) -> None:
        """What a route answers stands in Allow, and the record says which route it was."""
        house = House(tmp_path)
        async with house.open() as visitor:
            answers = [
                await visitor.request(method, path)
                for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
                if method != allow
            ]

        assert {(405, allow)} == {(a.status_code, a.headers["allow"]) for a in answers}
        assert {path} == {record["route"] for record in house.records()}

    @pytest.mark.parametrize(
        "path",
        ["/", "/v1", "/v1/grants/", "/V1/grants", "//v1/grants", "/v1/provider-tokens/x",
         "/metrics", "/livez", "/v1/%67rants%2f", "/docs"],
    )  # fmt: skip
    async def test_other_paths(self, path: str, tmp_path: Path) -> None:
        """There is nothing else, and the record does not keep what was made up."""
        house = House(tmp_path)
        async with house.open() as visitor:
            answer = await visitor.get(path)

        assert (404, "not-found") == (answer.status_code, answer.json()["code"])
        assert "route" not in house.records()[0]


BAD_AUTHORIZATIONS: Final = [
    [],
    [""],
    ["Bearer"],
    ["Bearer "],
    ["Bearer gcproxy_of-nobody"],
    ["Bearer " + TOKEN + "x"],
    ["Bearer " + TOKEN.upper()],
    ["Basic Y3JtOmNybQ=="],
    [TOKEN],
    ["Bearer " + TOKEN, "Bearer " + TOKEN],
    ["Bearer eyJhbGciOiJub25lIn0.e30."],
    ["Bearer " + "x" * 20_000],
    ["Bearer \xe9"],
]


class TestUnauthenticated:
    async def test_all_look_alike(self, tmp_path: Path) -> None:
        """Whatever is wrong with a credential, the answer differs in its audit id only."""
        house = House(tmp_path)
        expired = {**static("late", "gcproxy_late"), "expires": "2027-01-15T09:00:00Z"}
        house.settings["authentication"][0]["tokens"] += [expired, static("none", "gcproxy_none")]
        house.settings["callers"].append(caller("late", grant()))
        bad = [*BAD_AUTHORIZATIONS, ["Bearer gcproxy_late"], ["Bearer gcproxy_none"]]
        answers = set()
        async with house.open() as visitor:
            house.time.now = NOW + 7200
            for values in bad:
                lines = [(b"authorization", value.encode("latin-1")) for value in values]
                answer = await visitor.request("GET", "/v1/grants", headers=lines)
                audit_id = answer.headers.pop("audit-id")
                assert audit_id == json.loads(answer.text)["audit_id"]
                seen = answer.text.replace(audit_id, ""), tuple(answer.headers.multi_items())
                answers.add((answer.status_code, *seen))

        [(status, _, headers)] = answers
        assert (401, "Bearer") == (status, dict(headers)["www-authenticate"])
        reasons = [record["reason"] for record in house.records()]
        assert len(bad) == len(reasons)
        assert {"no-credential", "expired", "identity-unknown"} < set(reasons)
