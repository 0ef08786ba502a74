"""Tokens of our own making."""

import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.callers.credentials import Bearer, Credentials
from service.callers.static import TOKEN_PREFIX, Row, Static, digest_of, new_token
from service.deadline import Deadline
from service.errors import Unauthenticated
from tests.callers.house import Hands
from tests.virtual_time import EPOCH

EXPIRES: Final = datetime.fromtimestamp(EPOCH + 60, UTC)
TOKENS: Final = [new_token(bytes([number]).__mul__) for number in range(5)]


def row(number: int) -> Row:
    """Return the row of token ``number``."""
    digest = bytes.fromhex(digest_of(TOKENS[number]))
    return Row(subject=f"job-{number}", sha256=digest, expires=EXPIRES)


class TestStatic:
    @given(st.sets(st.integers(0, 4)), st.integers(0, 4))
    @settings(max_examples=60, deadline=None)
    def test_only_its_own(self, rows: set[int], shown: int) -> None:
        """A token proves the row of its digest, and without such a row it is not ours."""
        hands = Hands()
        method = Static(name="tokens", rows=map(row, rows), clock=hands.clock)
        step = method.authenticate(
            Credentials(bearer=Bearer(TOKENS[shown])), Deadline.after(1, hands.clock)
        )
        with pytest.raises(StopIteration) as done:
            step.send(None)

        proof = done.value.value
        assert (f"job-{shown}" if shown in rows else None) == (proof and proof.identity.subject)

    async def test_ends_at_its_expiry(self) -> None:
        """A token is good until its expiry, to the second."""
        hands = Hands(EPOCH + 59)
        method = Static(name="tokens", rows=[row(0)], clock=hands.clock)
        shown, deadline = Credentials(bearer=Bearer(TOKENS[0])), Deadline.after(1, hands.clock)

        proof = await method.authenticate(shown, deadline)
        assert proof is not None
        assert EXPIRES == proof.expires_at
        hands.move(1)
        with pytest.raises(Unauthenticated):
            await method.authenticate(shown, deadline)

    async def test_no_bearer(self) -> None:
        """Without a bearer token there is nothing for this authentication."""
        hands = Hands()
        method = Static(name="tokens", rows=[row(0)], clock=hands.clock)

        assert await method.authenticate(Credentials(), Deadline.after(1, hands.clock)) is None


class TestNewToken:
    def test_has_a_form_that_scanners_can_know(self) -> None:
        """The prefix is fixed; what follows is 256 bits in base64url."""
        token = new_token(lambda size: b"\xfb" * size)

        assert re.fullmatch(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}", token) is not None

    def test_digest(self) -> None:
        """The configuration keeps the SHA-256 of the whole token, prefix included."""
        token = new_token(bytes)

        assert sha256(token.encode()).hexdigest() == digest_of(token)
        assert Bearer(token).digest.hex() == digest_of(token)
