"""What an HTTP proxy wants to know of us: user name and password as ``Basic`` (RFC 7617)."""

import base64
import re
from typing import Final, NoReturn

from service.gigya.keys import WHITE_SPACE
from service.secret import Secret

_PAIR: Final = re.compile(r"[^:\x00-\x1f\x7f]+:[^\x00-\x1f\x7f]*")


class BadProxyCredentials(ValueError):
    """A file that does not hold such a pair; quotes nothing."""


class ProxyCredentials:
    """A user name and a password; they prove us to a proxy, and that is all."""

    __slots__ = ("_basic",)

    def __init__(self, basic: Secret[str]) -> None:
        self._basic = basic

    @classmethod
    def from_file(cls, content: bytes) -> "ProxyCredentials":
        """Return those in a file of ``user:password``, white space around forgiven.

        Raises ``BadProxyCredentials``.
        """
        try:
            text = content.decode("utf-8").strip(WHITE_SPACE)
        except UnicodeDecodeError:
            text = ""
        if _PAIR.fullmatch(text) is None:
            raise BadProxyCredentials("must hold user:password in one line")
        return cls(Secret(f"Basic {base64.b64encode(text.encode()).decode('ascii')}"))

    def authorization(self) -> str:
        """Return the value of ``Proxy-Authorization``, for the proxy alone."""
        return self._basic.reveal()

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials cannot be pickled or copied")

    def __repr__(self) -> str:
        return "ProxyCredentials(***)"
