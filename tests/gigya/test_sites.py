import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gigya import sites
from service.gigya.sites import DATA_CENTERS, BadSimulatorUrl


class TestDataCenters:
    def test_are_those_of_the_documentation(self) -> None:
        """The rows of facts.md §6 that are not mere sightings, old ones marked."""
        expected = {
            ("us1", "us1.gigya.com", False),
            ("eu1", "eu1.gigya.com", False),
            ("eu2", "eu2.gigya.com", False),
            ("au1", "au1.gigya.com", False),
            ("global", "global.gigya.com", False),
            ("cn1", "cn1.sapcdm.cn", False),
            ("ru1", "ru1.gigya.com", True),
            ("cn1-gigya-api", "cn1.gigya-api.cn", True),
        }
        assert expected == {(n, row.domain, row.is_legacy) for n, row in DATA_CENTERS.items()}

    def test_each_says_where_it_is_known_from(self) -> None:
        """No row without a source, no two rows with one domain."""
        assert all(row.source for row in DATA_CENTERS.values())
        assert set(DATA_CENTERS.values()) == set(sites.BY_DOMAIN.values())


class TestOrigin:
    @pytest.mark.parametrize("name", DATA_CENTERS)
    def test_is_the_namespace_at_the_domain_over_tls(self, name: str) -> None:
        """``https://<namespace>.<domain>``, whatever the data center."""
        row = DATA_CENTERS[name]
        assert f"https://socialize.{row.domain}" == sites.origin(row)

    def test_other_namespaces_have_other_hosts(self) -> None:
        """A method beside socialize's lives beside it."""
        assert "https://accounts.eu1.gigya.com" == sites.origin(DATA_CENTERS["eu1"], "accounts")


class TestEndpoint:
    def test_is_the_method_below_the_origin(self) -> None:
        """The path is the method's whole name."""
        url = sites.endpoint(sites.origin(DATA_CENTERS["eu1"]), "socialize.getSessionInfo")
        assert "https://socialize.eu1.gigya.com/socialize.getSessionInfo" == url


class TestSimulatorOrigin:
    @pytest.mark.parametrize(
        ("url", "origin"),
        [
            ("http://127.0.0.1:9321", "http://127.0.0.1:9321"),
            ("http://127.0.0.1", "http://127.0.0.1"),
            ("http://127.255.255.254:1/", "http://127.255.255.254:1"),
            ("http://localhost:9321/", "http://localhost:9321"),
            ("HTTP://LocalHost:9321", "http://localhost:9321"),
            ("http://[::1]:9321", "http://[::1]:9321"),
            ("https://127.0.0.1:9321", "https://127.0.0.1:9321"),
            ("https://simulator.test.svc:9321", "https://simulator.test.svc:9321"),
        ],
    )
    def test_takes_plain_http_to_this_machine_and_tls_to_any(self, url: str, origin: str) -> None:
        """Loopback by address or by name; elsewhere only over TLS."""
        assert origin == sites.simulator_origin(url)

    @pytest.mark.parametrize(
        "url",
        [
            "http://simulator.test.svc:9321",
            "http://socialize.us1.gigya.com",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://128.0.0.1",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "http://localhost.",
            "http://127.1",
            "http://2130706433",
            "http://0x7f.0.0.1",
            "http://[::]",
            "http://[::2]",
            "http://[::ffff:127.0.0.1]",
            "http://evil.example#@127.0.0.1",
            "http://evil.example?127.0.0.1",
        ],
    )
    def test_refuses_plain_http_elsewhere(self, url: str) -> None:
        """What only looks like this machine is not this machine."""
        with pytest.raises(BadSimulatorUrl):
            sites.simulator_origin(url)

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("", "its scheme is neither http nor https"),
            ("127.0.0.1:9321", "its scheme is neither http nor https"),
            ("ftp://127.0.0.1", "its scheme is neither http nor https"),
            ("http://", "it has no host or no port"),
            ("http://127.0.0.1:0", "it has no host or no port"),
            ("http://127.0.0.1:99999", "it is not a URL"),
            ("http://127.0.0.1:port", "it is not a URL"),
            ("http://[127.0.0.1", "it is not a URL"),
            ("http://user:pw@127.0.0.1", "it holds a user name"),
            ("http://127.0.0.1@evil.example", "it holds a user name"),
            ("https://two words", "its host is not a host"),
            ("https://höst", "its host is not a host"),
            ("http://127.0.0.1/socialize", "it has a path"),
            ("http://127.0.0.1?x=1", "it has a path"),
            ("http://127.0.0.1#x", "it has a path"),
        ],
    )
    def test_refuses_what_is_more_or_less_than_an_origin(self, url: str, why: str) -> None:
        """Says why in words of its own."""
        with pytest.raises(BadSimulatorUrl) as caught:
            sites.simulator_origin(url)
        assert (why, None, None) == (
            str(caught.value),
            caught.value.__cause__,
            caught.value.__context__,
        )

    @given(address=st.ip_addresses(v=4))
    def test_loopback_is_one_network(self, address: object) -> None:
        """127.0.0.0/8 and no other address of IPv4."""
        try:
            sites.simulator_origin(f"http://{address}:9321")
        except BadSimulatorUrl:
            assert not str(address).startswith("127.")
        else:
            assert str(address).startswith("127.")
