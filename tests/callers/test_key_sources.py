"""Where keys may come from, and where not."""

import json
from typing import Any, Final

import pytest

from service.callers.fetching import FetchFailed
from service.callers.key_sources import LARGEST, from_discovery, from_uri
from service.deadline import Deadline
from tests.callers.house import Hands, Net, Reply, ok

ISSUER: Final = "https://issuer.example:8443/tenant"
WELL_KNOWN: Final = f"{ISSUER}/.well-known/openid-configuration"
JWKS: Final = "https://issuer.example:8443/keys"


def deadline() -> Deadline:
    """Leave a second."""
    return Deadline.after(1, Hands().clock)


def net(document: Any, **more: Reply) -> Net:
    """Serve a discovery document, and keys at the usual place."""
    return Net({WELL_KNOWN: ok(document), JWKS: ok(b"the keys"), **more})


class TestFromDiscovery:
    async def test_follows_the_document(self) -> None:
        """The document's ``jwks_uri`` is fetched."""
        source = from_discovery(net({"issuer": ISSUER, "jwks_uri": JWKS}).fetch, ISSUER)

        assert b"the keys" == await source(deadline())

    async def test_issuer_with_a_slash(self) -> None:
        """The well-known path follows the issuer without a second slash (Discovery, section 4)."""
        there = Net(
            {
                "https://issuer.example/.well-known/openid-configuration": ok(
                    {"issuer": "https://issuer.example/", "jwks_uri": "https://issuer.example/k"}
                ),
                "https://issuer.example/k": ok(b"the keys"),
            }
        )

        source = from_discovery(there.fetch, "https://issuer.example/")
        assert b"the keys" == await source(deadline())

    @pytest.mark.parametrize(
        "jwks_uri",
        [
            "https://evil.example:8443/keys",
            "https://issuer.example/keys",
            "https://issuer.example:443/keys",
            "https://issuer.example.evil.example:8443/keys",
            "https://issuer.example:8443@evil.example/keys",
            "https://evil.example:8443\\@issuer.example:8443/keys",
            "http://issuer.example:8443/keys",
            "file:///etc/passwd",
            "//issuer.example:8443/keys",
            "/keys",
            "",
            "https://issuer.example:8443/keys#x",
            "https://issuer.example:8443/keys?x=https://evil.example",
            "https://issuer.example:8443/ keys",
            "https://issuer.example:8443/keys\n",
            "https://issuer.example:99999/keys",
            "https://[issuer.example:8443/keys",
            "https://\u0131ssuer.example:8443/keys",
            None,
            7,
            ["https://issuer.example:8443/keys"],
        ],
    )
    async def test_never_leaves_the_issuer(self, jwks_uri: Any) -> None:
        """Keys are taken from the issuer's own host and port, over https, and from nowhere else."""
        there = net({"issuer": ISSUER, "jwks_uri": jwks_uri})
        with pytest.raises(FetchFailed) as caught:
            await from_discovery(there.fetch, ISSUER)(deadline())

        assert "the keys are not on the issuer's own host" == str(caught.value)
        assert [WELL_KNOWN] == [url for url, _, _ in there.asked]

    @pytest.mark.parametrize(
        "document",
        [
            {"jwks_uri": JWKS},
            {"issuer": "https://issuer.example:8443", "jwks_uri": JWKS},
            {"issuer": ISSUER + "/", "jwks_uri": JWKS},
            {"issuer": [ISSUER], "jwks_uri": JWKS},
        ],
        ids=["none", "another", "slash", "list"],
    )
    async def test_document_of_another_issuer(self, document: Any) -> None:
        """The document must name exactly this issuer (Discovery, section 4.3)."""
        with pytest.raises(FetchFailed, match="another issuer"):
            await from_discovery(net(document).fetch, ISSUER)(deadline())

    @pytest.mark.parametrize("document", [b"", b"[]", b"<html>", b'{"issuer": 1, "issuer": 2}'])
    async def test_not_a_document(self, document: bytes) -> None:
        """What is not one strict JSON object is none."""
        with pytest.raises(FetchFailed, match="not a JSON object"):
            await from_discovery(net(document).fetch, ISSUER)(deadline())

    @pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 401, 403, 404, 429, 500, 503])
    async def test_any_other_status(self, status: int) -> None:
        """Only 200 is an answer; a redirect is not followed."""
        there = Net({WELL_KNOWN: ok({}, status)})
        with pytest.raises(FetchFailed, match=str(status)):
            await from_discovery(there.fetch, ISSUER)(deadline())

    async def test_too_large(self) -> None:
        """An answer over the cap is refused."""
        with pytest.raises(FetchFailed, match="too large"):
            await from_discovery(net(b" " * (LARGEST + 1)).fetch, ISSUER)(deadline())

    async def test_our_own_token_goes_along(self) -> None:
        """A cluster that asks for a token gets ours, read anew each time; nobody else does."""
        tokens = iter(["first", "second", "third", "fourth"])
        there = net({"issuer": ISSUER, "jwks_uri": JWKS})
        source = from_discovery(there.fetch, ISSUER, token=lambda: next(tokens))
        await source(deadline())
        await source(deadline())

        sent = [headers["authorization"] for _, headers, _ in there.asked]
        assert ["Bearer first", "Bearer second", "Bearer third", "Bearer fourth"] == sent
        assert {None} == {body for _, _, body in there.asked}

    @pytest.mark.parametrize(
        "issuer",
        ["http://issuer.example", "issuer.example", "", "https://", "https://a@b.example"],
    )
    def test_issuer_must_be_https(self, issuer: str) -> None:
        """An issuer that cannot be asked safely is a fault at the start."""
        with pytest.raises(ValueError, match="https URL"):
            from_discovery(net({}).fetch, issuer)


class TestFromUri:
    async def test_any_host(self) -> None:
        """The operator may name any host: it is the operator's word, not the issuer's."""
        there = Net({"https://www.keys.example/certs": ok(b"the keys")})
        source = from_uri(there.fetch, "https://www.keys.example/certs")

        assert b"the keys" == await source(deadline())
        assert {"accept": "application/json"} == dict(there.asked[0][1])

    def test_must_be_https(self) -> None:
        """Plain http is a fault at the start."""
        with pytest.raises(ValueError, match="https URL"):
            from_uri(net({}).fetch, "http://www.keys.example/certs")


def test_documents_are_json() -> None:
    """The helper of this file writes what a server would."""
    assert (200, {}, json.dumps({"a": 1}).encode()) == ok({"a": 1})(None)
