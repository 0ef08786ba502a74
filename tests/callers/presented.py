"""What a request presents, as the tests put it together."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.callers.credentials import Credentials, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """Authorization headers, and the peer's certificate in DER."""

    authorization: Sequence[bytes] = ()
    certificate: bytes | None = None
    is_distrusted: bool = False
    peer: str = ""

    def read(self) -> Credentials:
        """Return the credentials; raises ``Unauthenticated``."""
        return read(
            self.authorization,
            self.certificate,
            is_distrusted=self.is_distrusted,
            peer=self.peer,
        )
