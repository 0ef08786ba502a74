"""Whether a reply came back sealed or plain, and the one key that opens it.

Source: socialize.getSessionInfo, ``encrypt`` and ``encryptAll``; facts.md §1.2, §2 and §10.6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from service.gigya.cipher import Padding, Unopened, blocks_of
from service.gigya.keys import KeyRing, Opened, Vouching
from service.gigya.replies import Reply
from service.secret import Secret


class Mode(StrEnum):
    """Whether a reply that came back plain is refused."""

    REQUIRED = "required"
    PREFERRED = "preferred"


class Scope(StrEnum):
    """What Gigya is asked to encrypt: the two secrets (``encrypt``), or all (``encryptAll``)."""

    SECRETS = "secrets"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """What a site asks for and accepts."""

    mode: Mode = Mode.REQUIRED
    scope: Scope = Scope.SECRETS
    padding: Padding = Padding.PKCS7

    @property
    def switch(self) -> str:
        """The parameter of Gigya's that asks for it."""
        return _SWITCHES[self.scope]

    def params(self, keys: int) -> dict[str, str]:
        """Return what to send: with no key to open it, nothing sealed is asked for."""
        if keys == 0:
            return {"encrypt": "false"}
        return {_SWITCHES[self.scope]: "true", "paddingMode": self.padding}

    @property
    def names(self) -> frozenset[str]:
        """The names of everything that ``params`` may return."""
        return frozenset({_SWITCHES[Scope.SECRETS], self.switch, "paddingMode"})


class CameBackPlain(Exception):
    """What had to be sealed is not."""


_SWITCHES: Final[Mapping[Scope, str]] = {Scope.SECRETS: "encrypt", Scope.ALL: "encryptAll"}
JUDGED: Final[Mapping[Scope, tuple[str, ...]]] = {
    Scope.SECRETS: ("tokenSecret", "sessionHandle"),
    Scope.ALL: ("authToken", "tokenSecret", "sessionHandle"),
}
"""What must be sealed. Never the IV: a reply can have one and hold nothing sealed."""

EXPIRIES: Final = (
    "tokenExpiration",
    "tokenExpirationUTC",
    "sessionExpiration",
    "sessionExpirationUTC",
)
"""Under ``encryptAll`` sealed if they look sealed: no form of a plain expiry does."""

AMBIGUOUS: Final = "providerUID"
"""Under ``encryptAll`` no document says, and a plain one may look sealed: opening it decides."""

SEALABLE: Final = frozenset({*JUDGED[Scope.ALL], *EXPIRIES, AMBIGUOUS})
"""Every field that can come sealed."""


def unsealed(
    reply: Reply, sealing: Sealing, ring: KeyRing, vouching: Vouching | None = None
) -> tuple[Mapping[str, Secret[str]], int | None]:
    """Return the reply's fields in plain text, and the slot of the key that opened them, if any.

    Raises ``Unopened`` for what looks sealed and does not open, ``CameBackPlain`` for what is not
    sealed unless that is accepted. What fails to open is taken for plain only where Gigya said
    itself that it ignored the switch.
    """
    fields, scope = reply.fields, sealing.scope
    sealed = {name: blocks_of(fields[name]) for name in JUDGED[scope] if name in fields}
    if not all(sealed.values()):
        if sealing.mode is Mode.REQUIRED:
            raise CameBackPlain
        sealed = _with_blocks(sealed)
    # Without a key nothing sealed was asked for: then only what also has an IV can be ciphertext.
    if not sealed or not ("IV" in fields or len(ring) > 0):
        return fields, None
    iv = blocks_of(fields["IV"]) if "IV" in fields else b""
    try:
        if scope is Scope.ALL:
            plaintexts, slot = _with_the_rest(fields, sealed, iv, ring, vouching)
        else:
            plaintexts, slot = ring.decrypt(sealed, iv=iv, vouching=vouching)
    except Unopened:
        # Without a key nothing was switched on, so that ignoring the switch proves nothing.
        if sealing.switch not in reply.ignored or len(ring) == 0:
            raise
    else:
        return {**fields, **plaintexts}, slot
    # It only looks sealed: Gigya says that it did not.
    if sealing.mode is Mode.REQUIRED:
        raise CameBackPlain
    return fields, None


def _with_blocks(found: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: blocks for name, blocks in found.items() if blocks}


def _with_the_rest(
    fields: Mapping[str, Secret[str]],
    sealed: Mapping[str, bytes],
    iv: bytes,
    ring: KeyRing,
    vouching: Vouching | None,
) -> Opened:
    expiries = {name: blocks_of(fields[name]) for name in EXPIRIES if name in fields}
    sealed = {**sealed, **_with_blocks(expiries)}
    if AMBIGUOUS in fields and (blocks := blocks_of(fields[AMBIGUOUS])):
        try:
            return ring.decrypt({**sealed, AMBIGUOUS: blocks}, iv=iv, vouching=vouching)
        except Unopened:
            pass  # what does not open with the others was not sealed
    return ring.decrypt(sealed, iv=iv, vouching=vouching)
