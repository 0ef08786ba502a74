"""What a search has gone through: "nobody" means something only if it could have known."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from service.audit.fingerprints import Keyring
from service.audit.reading import PREFIX, Line
from service.audit.record import RELEASED


class Place(NamedTuple):
    """Where a record has a fingerprint: after ``after``, and after the next ``then`` behind it.

    No text in a record can pretend to be one: its quotes are escaped.
    """

    after: bytes
    then: bytes


TOKENS: Final = Place(b'"tokens":{"', b'":"')
USER: Final = Place(b'"user":"', b"")

_RELEASE: Final = f'"outcome":"{RELEASED}"'.encode()
_HASH: Final = b',"hash":"'
_KEY_ID: Final = re.compile(rb"[0-9a-f]{8}")
_KEY_AT: Final = -len('9b311aff:"}') - 64
_KEY_END: Final = _KEY_AT + 8
_HASH_AT: Final = _KEY_AT - len(_HASH)
"""Where a record's last member stands, from the line's end, and in it the id of its key."""


@dataclass(slots=True, eq=False)
class Survey:
    """Counts records, and the keys that wrote them and the fingerprints that are looked for."""

    place: Place
    records: int = 0
    releases: int = 0
    others: int = 0
    """Lines that are no records."""
    _keys: set[bytes] = field(default_factory=set)

    def watch(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Yield ``lines``, looked at."""
        for line in lines:
            octets = line.octets
            if octets.startswith(PREFIX) and octets[_HASH_AT:_KEY_AT] == _HASH:
                self.records += 1
                self.releases += _RELEASE in octets
                for key in (octets[_KEY_AT:_KEY_END], self._fingerprint(octets)):
                    if key not in self._keys and _KEY_ID.fullmatch(key):
                        self._keys.add(key)
            else:
                self.others += 1
            yield line

    @property
    def key_ids(self) -> list[str]:
        """The keys' ids."""
        return sorted(key.decode() for key in self._keys)

    def lacks(self, keys: Keyring) -> list[str]:
        """Return the ids of those keys without which values cannot be found in every record."""
        return [key_id for key_id in self.key_ids if keys.find(key_id) is None]

    def _fingerprint(self, octets: bytes) -> bytes:
        at = octets.find(self.place.after)
        if at < 0:
            return b""
        at = octets.find(self.place.then, at + len(self.place.after)) + len(self.place.then)
        return octets[at : at + 8]
