"""Tokens of our own making."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.callers.credentials import Bearer, Credentials
from service.callers.static import Row, Static
from service.deadline import Deadline
from service.errors import Unauthenticated
from tests.callers.house import Hands
from tests.virtual_time import EPOCH

EXPIRES: Final = datetime.fromtimestamp(EPOCH + 60, UTC)
TOKENS: Final = [f"token-of-job-{number}" for number in range(5)]


def row(number: int) -> Row:
    """Return the row of token ``number``."""
    digest = sha256(TOKENS[number].encode()).digest()
    return Row(subject=f"job-{number}", sha256=digest, expires=EXPIRES)


class TestStatic:
    @given(st.sets(st.integers(0, 4)), st.integers(0, 4))
    @settings(max_examples=60, deadline=None)
    def test_only_its_own(self, rows: set[int], shown: int) -> None:
        """A token proves the row of its digest, and without such a row it is not ours."""
        hands = Hands()
        method = Static(name="tokens", rows=map(row, rows), clock=hands.clock)
        proof = method.authenticate(
            Credentials(bearer=Bearer(TOKENS[shown].encode())), Deadline.after(1, hands.clock)
        )

        assert (f"job-{shown}" if shown in rows else None) == (proof and proof.identity.subject)

    def test_ends_at_its_expiry(self) -> None:
        """A token is good until its expiry, to the second."""
        hands = Hands(EPOCH + 59)
        method = Static(name="tokens", rows=[row(0)], clock=hands.clock)
        shown = Credentials(bearer=Bearer(TOKENS[0].encode()))
        deadline = Deadline.after(1, hands.clock)

        proof = method.authenticate(shown, deadline)
        assert proof is not None
        assert EXPIRES == proof.expires_at
        hands.move(1)
        with pytest.raises(Unauthenticated):
            method.authenticate(shown, deadline)

    def test_no_bearer(self) -> None:
        """Without a bearer token there is nothing for this authentication."""
        hands = Hands()
        method = Static(name="tokens", rows=[row(0)], clock=hands.clock)

        assert method.authenticate(Credentials(), Deadline.after(1, hands.clock)) is None
