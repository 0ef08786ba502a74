from dataclasses import asdict, fields
from typing import Any, Final

import pytest

from service import model
from service.model import (
    FOLLOWS,
    GRANTABLE,
    Exchange,
    Field,
    ProviderName,
    ProviderTokens,
    Session,
    SessionQuery,
    SiteName,
    TokenRequest,
    Uid,
    UidSignature,
)
from service.provider_rows import NAMED, FieldNames
from service.secret import Secret

NOUNS: Final = [
    noun
    for noun in vars(model).values()
    if isinstance(noun, type) and hasattr(noun, "__dataclass_fields__")
]


class TestFields:
    def test_a_field_is_granted_or_follows(self) -> None:
        """Each field can be granted, or follows one that can."""
        assert set(Field) == set(GRANTABLE) | set(FOLLOWS)
        assert not set(GRANTABLE) & set(FOLLOWS)
        assert set(FOLLOWS.values()) <= set(GRANTABLE)

    def test_the_table_names_fields_of_a_session(self) -> None:
        """Every column of the mapping is about something that a session can hold."""
        assert len(NAMED) == len(FieldNames._fields)
        held = {field.name for field in fields(Session)}
        renamed = {
            "token_expiration": "token_expires_at",
            "session_expiration": "session_expires_at",
        }
        assert {renamed.get(name, name) for name in FieldNames._fields} <= held


class TestNouns:
    @pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.__name__)
    def test_are_of_one_form(self, noun: Any) -> None:
        """A noun has no attributes but its own; the type checker lets none be set again."""
        assert set(noun.__slots__) == {each.name for each in fields(noun)}
        with pytest.raises((AttributeError, TypeError)):
            noun.__new__(noun).another = None

    @pytest.mark.parametrize("noun", [Session, ProviderTokens])
    def test_holders_of_secrets_are_not_compared(self, noun: Any) -> None:
        """What holds secrets is equal to itself alone."""
        assert noun.__eq__ is object.__eq__


class TestExchange:
    def test_opened_by_a_key_it_is_the_same_otherwise(self) -> None:
        """Every field is taken over, whatever fields there are."""
        exchange = Exchange(
            error_code=1, call_id="c", attempts=2, milliseconds=3.0, cached=True, asked_at=4.0
        )
        assert all(v for n, v in asdict(exchange).items() if n not in ("key_slot", "told"))
        assert {**asdict(exchange), "key_slot": 0} == asdict(exchange.opened_by(0))


class TestRepr:
    def test_shows_no_user(self) -> None:
        """A request that ends up in a message does not tell whose it is."""
        request = TokenRequest(
            uid=Uid("sentinel"),
            provider="qq",
            cid="sentinel",
            context={"a": "sentinel"},
            uid_signature=UidSignature(timestamp="1", signature="sentinel"),
        )
        query = SessionQuery(
            site=SiteName("shop"), provider=ProviderName("qq"), uid=Uid("sentinel"), cid="sentinel"
        )
        assert "sentinel" not in f"{request!r}{query!r}"

    def test_shows_no_token(self) -> None:
        """Neither does a session tell what it holds."""
        session = Session(auth_token=Secret("sentinel"), fetched_at=0.0, exchange=Exchange())
        tokens = ProviderTokens(
            tokens={"a": Secret("sentinel")}, released=(), withheld=(), withheld_names=()
        )
        assert "sentinel" not in f"{session!r}{tokens!r}"
