import base64
import pickle

import pytest

from service.proxy_credentials import BadProxyCredentials, ProxyCredentials


class TestProxyCredentials:
    @pytest.mark.parametrize(
        "content",
        ["egress:sesame", " egress:sesame\r\n", "a b:c:d e", "egress:", "ü:日本", "e:a\u00a0"],
    )
    def test_are_what_basic_wants(self, content: str) -> None:
        """User and password in UTF-8, white space around forgiven, are base64 (RFC 7617)."""
        credentials = ProxyCredentials.from_file(content.encode())
        scheme, encoded = credentials.authorization().split(" ")
        assert ("Basic", content.strip(" \t\r\n")) == (scheme, base64.b64decode(encoded).decode())

    @pytest.mark.parametrize(
        "content", [b"", b"sesame", b":sesame", b"a:se\nsame", b"a:se\0same", b"a:\xff", b"a:b\x0c"]
    )
    def test_are_nothing_else(self, content: bytes) -> None:
        """No colon, no user, more than a line, no UTF-8: a fault that quotes nothing."""
        with pytest.raises(BadProxyCredentials) as caught:
            ProxyCredentials.from_file(content)
        assert "must hold user:password in one line" == str(caught.value)

    def test_show_nothing(self) -> None:
        """They are for the proxy, and for nobody who prints or pickles them."""
        credentials = ProxyCredentials.from_file(b"egress:sesame")
        assert "ProxyCredentials(***)" == repr(credentials) == str(credentials)
        with pytest.raises(TypeError):
            pickle.dumps(credentials)
