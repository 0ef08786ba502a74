import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.audit import controls
from service.audit.chain import Head
from service.audit.controls import Beginning
from service.audit.fingerprints import AuditKey, BadAuditKey, Keyring, new_key
from service.audit.record import RELEASED, Entry, canonical, describe, timestamp
from service.floods import Aggregate
from service.model import (
    Caller,
    CallerName,
    Exchange,
    Field,
    Identity,
    ProviderName,
    ProviderTokens,
    SiteName,
    Uid,
)
from service.secret import Secret
from tests.audit.fakes import KEY, KEYS, OLD_KEY, about_to_release, surroundings
from tests.audit.streams import chained
from tests.virtual_time import EPOCH

SCHEMA: Final = json.loads((files("service.audit") / "record.schema.json").read_text("utf-8"))
VALIDATOR: Final = jsonschema.Draft202012Validator(SCHEMA)
FLOODING: Final = (
    Aggregate(peer="10.0.0.9", count=5, since=EPOCH, until=EPOCH + 1),
    Aggregate(peer=None, count=2, since=EPOCH, until=EPOCH),
)
AUDIT_ID: Final = "a" * 32


def entry(**facts: Any) -> Entry:
    return Entry(audit_id=AUDIT_ID, opened_at=EPOCH, started=1.0, **facts)


def described(made: Entry) -> dict[str, Any]:
    return describe(made, KEY, now=EPOCH + 0.25, monotonic=1.25)


def on_line(record: Mapping[str, Any]) -> Any:
    return orjson.loads(chained([canonical(record)]))


class TestDescribe:
    def test_least(self) -> None:
        """A request about which nothing became known is an internal error at a time."""
        expected = {
            "kind": "request",
            "time": "2027-01-15T08:00:00.250000Z",
            "audit_id": AUDIT_ID,
            "received_at": "2027-01-15T08:00:00.000000Z",
            "outcome": "internal-error",
            "milliseconds": 250.0,
        }
        assert expected == described(entry())

    def test_most(self) -> None:
        """Everything that is known of a release stands in its record, under these names."""
        moment = datetime(2027, 1, 31, tzinfo=UTC)
        made = about_to_release(entry())
        made.caller = Caller(
            name=CallerName("crm-sync"),
            identity=Identity(via="cluster", subject="crm/sync-worker"),
            namespace="crm",
            pod="sync-1",
            credential_expires_at=moment,
        )
        made.method, made.route, made.trace_id = "POST", "/v1/provider-tokens", "f" * 32
        made.asked = ("authToken",)
        made.withheld = (Field.TOKEN_SECRET,)
        made.would_deny, made.reason = True, "granted"
        made.exchange = Exchange(
            error_code=0, call_id="c1", attempts=2, milliseconds=51.23456, key_slot=0
        )
        made.token_expires_at = moment
        made.build, made.config_hash = "1.0", "c0ffee"
        expected = {
            "kind": "request",
            "time": "2027-01-15T08:00:00.250000Z",
            "audit_id": AUDIT_ID,
            "trace_id": "f" * 32,
            "received_at": "2027-01-15T08:00:00.000000Z",
            "peer": "10.0.0.7",
            "method": "POST",
            "route": "/v1/provider-tokens",
            "caller": {
                "name": "crm-sync",
                "authentication": "cluster",
                "subject": "crm/sync-worker",
                "namespace": "crm",
                "pod": "sync-1",
                "credential_expires_at": "2027-01-31T00:00:00.000000Z",
            },
            "site": "shop",
            "provider": "facebook",
            "user": KEY.of_uid(Uid("sentinel-uid")),
            "asked": ("authToken",),
            "released": ("authToken",),
            "withheld": ("tokenSecret",),
            "names_released": ("access_token",),
            "tokens": {"access_token": KEY.of_token(Secret("sentinel-token"))},
            "decision": "allow",
            "rule": "crm-sync[0]",
            "reason": "granted",
            "would_deny": True,
            "outcome": "released",
            "upstream": {
                "error_code": 0,
                "call_id": "c1",
                "attempts": 2,
                "milliseconds": 51.235,
                "cached": False,
            },
            "key_slot": 0,
            "token_expires_at": "2027-01-31T00:00:00.000000Z",
            "status": 200,
            "milliseconds": 250.0,
            "build": "1.0",
            "configuration": "c0ffee",
        }
        assert expected == described(made)
        assert list(expected) == list(described(made))

    @given(st.lists(st.sampled_from(["answered", RELEASED]), min_size=2, max_size=3))
    def test_again(self, outcomes: list[str]) -> None:
        """A caller and an exchange of which was told before are told of in the same way."""
        caller = Caller(CallerName("crm-sync"), Identity(via="v", subject="s"), pod="p")
        exchange, known = Exchange(call_id="c1", milliseconds=0.12345), []
        for outcome in outcomes:
            made = about_to_release(entry(outcome=outcome))
            made.caller, made.exchange = caller, exchange
            record = described(made)
            known.append((record["caller"], list(record["caller"]), record["upstream"]))
        expected = {"name": "crm-sync", "authentication": "v", "subject": "s", "pod": "p"}
        upstream = {"call_id": "c1", "attempts": 0, "milliseconds": 0.123, "cached": False}
        assert [(expected, list(expected), upstream)] * len(outcomes) == known

    def test_of_another(self) -> None:
        """What was told of a caller or an exchange is not told of one that differs from it."""
        caller = Caller(CallerName("crm-sync"), Identity(via="v", subject="s"))
        exchange = Exchange(error_code=0, attempts=1)
        described(entry(caller=caller, exchange=exchange))
        made = entry(caller=replace(caller, pod="p"), exchange=replace(exchange, cached=True))
        record = described(made)
        assert ("p", True) == (record["caller"]["pod"], record["upstream"]["cached"])

    def test_identity(self) -> None:
        """An identity that was proved and is no caller's stands there by way and subject."""
        made = entry(identity=Identity(via="cluster", subject="crm/sync-worker"))
        expected = {"authentication": "cluster", "subject": "crm/sync-worker"}
        assert expected == described(made)["identity"]

    def test_no_sentinel(self) -> None:
        """Neither UID nor token stands in the record."""
        assert b"sentinel" not in canonical(described(about_to_release(entry())))

    def test_entry_shows_no_secret(self) -> None:
        """Not even the entry's repr shows UID or token."""
        assert "sentinel" not in repr(about_to_release(entry()))


NAMES: Final = st.text(st.characters(codec="utf-8"), max_size=40)
FIELDS: Final = st.lists(st.sampled_from(Field), unique=True).map(tuple)
MOMENTS: Final = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 2))  # noqa: DTZ001  # hypothesis wants it naive
SLUGS: Final = st.from_regex(r"[a-z]{1,9}(-[a-z]{1,9}){0,2}", fullmatch=True)
CALLERS: Final = st.builds(
    Caller,
    name=NAMES.map(CallerName),
    identity=st.builds(Identity, via=NAMES, subject=NAMES),
    namespace=st.none() | NAMES,
    pod=st.none() | NAMES,
    credential_expires_at=st.none() | MOMENTS,
)
EXCHANGES: Final = st.builds(
    Exchange,
    error_code=st.none() | st.integers(0, 10**6),
    call_id=st.none() | NAMES,
    attempts=st.integers(0, 9),
    milliseconds=st.floats(0, 10**6),
    cached=st.booleans(),
    key_slot=st.none() | st.integers(0, 3),
)
FACTS: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "audit_id": st.just(AUDIT_ID),
    "opened_at": st.just(EPOCH),
    "route": st.none() | NAMES,
    "method": st.none() | NAMES,
    "peer": st.none() | NAMES,
    "trace_id": st.none() | st.just("f" * 32),
    "caller": st.none() | CALLERS,
    "identity": st.none() | st.builds(Identity, via=NAMES, subject=NAMES),
    "site": st.none() | NAMES.map(SiteName),
    "provider": st.none() | NAMES.map(ProviderName),
    "uid": st.none() | st.text().map(lambda text: Uid("sentinel-uid" + text)),
    "asked": st.lists(NAMES).map(tuple),
    "released": FIELDS,
    "withheld": FIELDS,
    "names_released": st.lists(NAMES).map(tuple),
    "tokens": st.none()
    | st.dictionaries(
        NAMES, st.text().map(lambda t: Secret("sentinel-token" + t)) | st.just(3.0)
    ).map(lambda tokens: ProviderTokens(tokens, (), (), ())),
    "decision": st.sampled_from(["allow", "deny", None]),
    "rule": st.none() | NAMES,
    "reason": st.none() | SLUGS,
    "would_deny": st.none() | st.booleans(),
    "outcome": SLUGS,
    "exchange": st.none() | EXCHANGES,
    "token_expires_at": st.none() | MOMENTS,
    "status": st.none() | st.integers(100, 599),
    "config_hash": st.none() | NAMES,
    "build": st.none() | NAMES,
}
ENTRIES: Final = st.builds(Entry, **FACTS)
OF_A_RELEASE: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "outcome": st.just(RELEASED),
    "route": NAMES,
    "method": NAMES,
    "caller": CALLERS,
    "site": NAMES.map(SiteName),
    "provider": NAMES.map(ProviderName),
    "uid": st.text().map(Uid),
    "decision": st.just("allow"),
    "rule": NAMES,
    "exchange": EXCHANGES,
    "status": st.just(200),
    "build": NAMES,
    "config_hash": NAMES,
}
RELEASES: Final = st.builds(Entry, **{**FACTS, **OF_A_RELEASE})
"""Entries with all that a release cannot be without."""


class TestSchema:
    def test_is_a_schema(self) -> None:
        """The published schema is one itself."""
        jsonschema.Draft202012Validator.check_schema(SCHEMA)

    @settings(max_examples=60)
    @given(ENTRIES)
    def test_every_request(self, made: Entry) -> None:
        """Whatever an entry holds, its record is as published and holds no secret."""
        line = chained([canonical(described(made))])
        VALIDATOR.validate(orjson.loads(line))
        assert b"sentinel" not in line

    @given(ENTRIES)
    def test_nothing_stands_for_what_is_not_there(self, made: Entry) -> None:
        """A member that does not apply is absent, at whatever depth: none is null."""
        record = described(made)
        inner = [member for member in record.values() if isinstance(member, dict)]
        assert not any(None in members.values() for members in (record, *inner))

    @given(RELEASES)
    def test_a_release_is_told_as_any_request(self, made: Entry) -> None:
        """Of a release nothing stands or lacks that would not in another request's record."""
        of_a_release = described(made)
        made.outcome = "answered"
        assert of_a_release == described(made) | {"outcome": RELEASED}
        assert list(of_a_release) == list(described(made))

    def test_every_control_record(self) -> None:
        """The records that the audit writes about itself are as published."""
        around, head = surroundings(), Head(3, f"{KEY.id}:{'0' * 64}")
        beginning = Beginning(previous=head, why="start", torn=b'{"se', at=300, is_elsewhere=True)
        bodies = [
            controls.opening(around, beginning),
            controls.checkpoint(around, "time"),
            controls.checkpoint(around, "no-space", b"torn"),
            controls.rotation(around, "size", "audit.jsonl.1"),
            controls.closing(around),
            controls.gap(around, (3, 5), EPOCH, "late", b""),
            controls.withdrawal(around, AUDIT_ID, "cancelled"),
            controls.tls_refusal(around, "10.0.0.9", "unknown-ca"),
            controls.tls_refusal(around, None, "closed"),
            controls.aggregate(around, {("rate-limited", "flood"): 7}, EPOCH),
            controls.aggregate(around, {("rate-limited", "limit-rate", "crm"): 7}, EPOCH),
            controls.aggregate(around, {("rate-limited", "flood"): 7}, EPOCH, FLOODING),
        ]
        for line in chained(bodies).splitlines():
            VALIDATOR.validate(orjson.loads(line))

    def test_allow_list(self) -> None:
        """A member that the schema does not name is refused."""
        record = on_line(described(entry()) | {"token": "x"})
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(record)


class TestCanonical:
    def test_what_json_cannot_carry(self) -> None:
        """Halves of surrogate pairs and endless numbers are replaced, not stumbled over."""
        made = entry(peer="\ud800x", exchange=Exchange(error_code=10**30), rule="r")
        record = orjson.loads(canonical(described(made)))
        assert ("?x", 2**63 - 1, "r") == (
            record["peer"],
            record["upstream"]["error_code"],
            record["rule"],
        )
        VALIDATOR.validate(on_line(described(made)))

    @given(st.floats(0, 4e9))
    def test_times(self, seconds: float) -> None:
        """A time is RFC 3339 in UTC, to the microsecond."""
        written = datetime.fromisoformat(timestamp(seconds))
        assert abs(written.timestamp() - seconds) <= 1e-6


class TestAuditKey:
    def test_from_file(self) -> None:
        """A new key's file can be read; a newline at its end does not matter."""
        content = new_key(lambda count: bytes(range(count)))
        assert KEY.id == AuditKey.from_file(content).id == AuditKey.from_file(content.strip()).id

    @pytest.mark.parametrize("content", [b"", b"\n", b"c2hvcnQ=", b"not base64!", b"\xff" * 40])
    def test_bad_file(self, content: bytes) -> None:
        """What holds no key is refused in words that quote nothing."""
        with pytest.raises(BadAuditKey) as caught:
            AuditKey.from_file(content)
        assert "not base64" in str(caught.value) or "fewer than 32" in str(caught.value)
        assert None is caught.value.__context__

    def test_form(self) -> None:
        """A fingerprint is the key's id and 32 hex digits."""
        key_id, _, digest = KEY.of_uid(Uid("u")).partition(":")
        assert (KEY.id, 32) == (key_id, len(digest))
        assert set(digest) <= set("0123456789abcdef")

    @given(st.text(st.characters(exclude_categories=())), st.binary(), st.binary())
    def test_is_what_is_documented(self, text: str, previous: bytes, octets: bytes) -> None:
        """Fingerprints and the chain's hash are HMAC-SHA256 under keys derived from the audit's."""
        told = text.encode("utf-8", "surrogatepass")
        of_uid, of_token, of_chain = (
            hmac.digest(hmac.digest(bytes(range(32)), purpose, "sha256"), signed, "sha256").hex()
            for purpose, signed in (
                (b"audit uid", told),
                (b"audit token", told),
                (b"audit chain", previous + octets),
            )
        )
        token = f"{KEY.id}:{of_token[:32]}"
        assert f"{KEY.id}:{of_uid[:32]}" == KEY.of_uid(Uid(text))
        assert token == KEY.of_token(Secret(text))
        assert {"access_token": token} == KEY.of_tokens(
            ProviderTokens({"access_token": Secret(text), "left": 3.0}, (), (), ())
        )
        assert of_chain == KEY.link(previous, octets)

    @given(st.lists(st.tuples(st.sampled_from([KEY, OLD_KEY]), st.integers(0, 2)), max_size=6))
    def test_of_what_is_kept(self, asked: list[tuple[AuditKey, int]]) -> None:
        """What is told again has the fingerprint of its kind that the key of the moment gives."""
        kept = Secret("kept")
        tokens = ProviderTokens({"access_token": kept}, (), (), ())
        for key, kind in asked:
            told = (
                key.of_user(kept),
                key.of_token(kept),
                key.of_tokens(tokens)["access_token"],
            )[kind]
            afresh = key.of_uid(Uid("kept")) if kind == 0 else key.of_token(Secret("kept"))
            assert afresh == told

    def test_apart(self) -> None:
        """A UID and a token of the same text have different fingerprints, as have two keys."""
        found = {KEY.of_uid(Uid("x")), KEY.of_token(Secret("x")), OLD_KEY.of_uid(Uid("x"))}
        assert 3 == len(found)

    def test_shows_nothing(self) -> None:
        """A key shows its id alone and cannot be pickled."""
        assert f"AuditKey({KEY.id})" == repr(KEY)
        with pytest.raises(TypeError):
            KEY.__reduce__()

    def test_ring(self) -> None:
        """The newest key writes, all are found, and there is at least one."""
        ring = Keyring((OLD_KEY, KEY))
        assert (OLD_KEY, KEY, None) == (ring.newest, ring.find(KEY.id), KEYS.find("0" * 8))
        with pytest.raises(BadAuditKey):
            Keyring(())
