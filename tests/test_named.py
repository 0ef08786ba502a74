from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.catalogue import Catalogue
from service.errors import InvalidRequest, ServiceError
from service.grants import CallerRules, Grant
from service.model import CallerName, Field, ProviderName, SiteName, TokenRequest, Uid
from service.named import MOST_RESOLVED, Names, named
from service.policy import Policy
from service.provider_rows import OAUTH1, OAUTH2

CATALOGUES = {
    SiteName("shop"): Catalogue({"acme": OAUTH1}),
    SiteName("blog"): Catalogue({"acme": OAUTH2, "saml-own": OAUTH2}),
}
CRM, SYNC = CallerName("crm"), CallerName("sync")


def policy(**sites: str) -> Policy:
    """Return the rules by which each caller reaches the sites that stand beside it."""
    return Policy([CallerRules(name=CallerName(c), grants=grants(s)) for c, s in sites.items()])


def grants(sites: str) -> tuple[Grant, ...]:
    return tuple(
        Grant(
            site=SiteName(site),
            providers=frozenset({ProviderName("acme")}),
            fields=frozenset({Field.AUTH_TOKEN}),
        )
        for site in sites.split()
    )


def request(**asked: Any) -> TokenRequest:
    return TokenRequest(uid=Uid("u"), **{"provider": "acme", **asked})


def outcome(of: Callable[..., Any], *given: Any) -> Any:
    """Return what comes of it, or what it raises."""
    try:
        return of(*given)
    except ServiceError as error:
        return type(error), error.detail, error.reason


def told(rules: Policy, caller: CallerName, asked: TokenRequest) -> Any:
    """Return what ``Names`` is to say, found without remembering anything."""
    site = rules.site_for(caller, asked.site)
    provider, fields = asked.provider, asked.fields
    return site, *named(
        rules, CATALOGUES, caller=caller, site=site, provider=provider, fields=fields
    )


POLICIES = (policy(crm="shop", sync="shop blog"), policy(crm="blog", sync=""))
REQUESTS = st.builds(
    request,
    site=st.sampled_from([None, "shop", "blog", "made-up"]),
    provider=st.sampled_from(["acme", "saml-own", "twitter", "nobody", ""]),
    fields=st.sampled_from([None, ("authToken",), ("oauth_token", "authToken"), ("nothing",)]),
)


class TestNames:
    @given(
        st.lists(
            st.tuples(st.sampled_from(POLICIES), st.sampled_from([CRM, SYNC]), REQUESTS),
            max_size=12,
        )
    )
    def test_what_is_remembered_is_what_would_be_found(
        self, asked: list[tuple[Policy, CallerName, TokenRequest]]
    ) -> None:
        """Whatever was asked before, under whichever rules, and by whom."""
        names = Names(CATALOGUES)

        for each in asked:
            assert outcome(told, *each) == outcome(names.of, *each)
            assert outcome(told, *each) == outcome(names.of, *each)

    def test_new_rules_find_anew(self) -> None:
        """What the old ones made of the same words is forgotten."""
        names = Names(CATALOGUES)

        assert names.of(POLICIES[0], CRM, request())[0] == "shop"
        assert names.of(POLICIES[1], CRM, request())[0] == "blog"

    def test_remembers_no_site_that_a_caller_made_up(self) -> None:
        """Nor what it asked in vain: there is no end of such names."""
        names = Names(CATALOGUES)

        names.of(POLICIES[0], CRM, request(site="made-up"))
        with pytest.raises(InvalidRequest):
            names.of(POLICIES[0], CRM, request(fields=("nothing",)))

        assert not names._resolved

    def test_remembers_so_many_and_no_more(self) -> None:
        """One list of names can be written in many ways, all of them good."""
        names, known = Names(CATALOGUES), [field.value for field in Field]

        for at in range(MOST_RESOLVED + 2):
            fields = tuple(known[at // 6**place % 6] for place in range(5))
            names.of(POLICIES[0], CRM, request(fields=fields))

        assert 0 < len(names._resolved) <= MOST_RESOLVED
