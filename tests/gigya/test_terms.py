import re

import pytest

from service.gigya.authentication import RESERVED
from service.gigya.client import COMMON
from service.gigya.keys import KeyRing, PartnerKey
from service.gigya.sealing import Scope, Sealing
from service.gigya.terms import sendable, wire_params
from service.model import ProviderName, SessionQuery, SiteName, Uid

QUERY = SessionQuery(
    site=SiteName("shop"),
    provider=ProviderName("twitter"),
    uid=Uid("user"),
    cid="campaign",
    sign_ids=True,
)


class TestSendable:
    @pytest.mark.parametrize("scope", Scope)
    @pytest.mark.parametrize("keys", [0, 1, 2])
    def test_names_everything_that_is_sent(self, scope: Scope, keys: int) -> None:
        """Whatever is asked of Gigya, its name is known before: a series is begun for each."""
        sealing = Sealing(scope=scope)
        ring = KeyRing([PartnerKey(bytes([number] * 32)) for number in range(keys)])

        sent = wire_params(QUERY, sealing, ring, context="x")

        assert set(sent) <= sendable(sealing)

    @pytest.mark.parametrize("scope", Scope)
    def test_names_nothing_that_has_to_be_encoded(self, scope: Scope) -> None:
        """RFC 3986: what SDKs and OAuth would sign differently does not occur in a name."""
        names = {*sendable(Sealing(scope=scope)), *COMMON, *RESERVED}
        assert [] == [name for name in names if not re.fullmatch(r"[A-Za-z0-9._~-]+", name)]
