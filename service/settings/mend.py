"""A faulty document made whole enough to be judged further, so that all faults are told at once.

What a shape refuses is left out, or stood in for where it is required; places keep the paths that
they have in the file, and what is said about a stand-in is not said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from service.settings.findings import Fault, Path
from service.settings.messages import MISSING, UNKNOWN, faults_of
from service.settings.schema import VERSION, Settings

ROUNDS: Final = 12
"""A document that is not whole by then is judged by its shapes alone."""

_DROP: Final = object()

_FILE: Final = "/stand-in"
_CURRENT: Final = {"method": "bearer", "user_key": "x", "key_file": _FILE}
_SITE: Final = {"api_key": "3_x", "authentication": {"current": _CURRENT}}
_GRANT: Final = {"site": "stand-in", "providers": "all", "fields": ["authToken"]}
_LATER: Final = "2100-01-01T00:00:00Z"
_TOKEN: Final = {"subject": "stand-in", "sha256": "0" * 64, "expires": _LATER}

STAND_INS: Final[Mapping[str, Any]] = {
    "version": VERSION,
    "sites": {"stand-in": _SITE},
    "authentication": [{"name": "stand-in", "method": "mutual_tls"}],
    "callers": [],
    "audit": {"key_files": [_FILE]},
    "key_files": [_FILE],
    "api_key": "3_x",
    "current": _CURRENT,
    "user_key": "x",
    "key_file": _FILE,
    "secret_file": _FILE,
    "certificate_file": _FILE,
    "ca_file": _FILE,
    "token_file": _FILE,
    "path": _FILE,
    "url": "https://stand-in",
    "authToken": "access_token",
    "names": "oauth2",
    "tokens": [_TOKEN],
    "subject": "stand-in",
    "sha256": "0" * 64,
    "expires": _LATER,
    "issuer": "https://stand-in",
    "audiences": ["stand-in"],
    "audience": "stand-in",
    "keys": {"discovery": True},
    "kind": "oidc",
    "name": "stand-in",
    "via": "stand-in",
    "site": "stand-in",
    "providers": "all",
    "fields": ["authToken"],
    "identities": [{"via": "stand-in", "subject": "stand-in"}],
    "grants": [_GRANT],
    "count": 1,
    "window": 60,
    "rate": 1,
    "burst": 1,
    "type": "stdout",
}
"""For each required key something that has its shape; a test holds it against the shapes."""


@dataclass(slots=True)
class Mended:
    """The settings that came of it, if any; every fault of shape; and where places really are."""

    settings: Settings | None = None
    faults: list[Fault] = field(default_factory=list)
    touched: set[Path] = field(default_factory=set)
    misnamed: set[Path] = field(default_factory=set)
    positions: dict[Path, list[int]] = field(default_factory=dict)

    def original(self, path: Path) -> Path:
        """Return the path in the file of a path in the settings."""
        return tuple(
            self.positions[path[:at]][part]
            if isinstance(part, int) and path[:at] in self.positions
            else part
            for at, part in enumerate(path)
        )

    def is_news(self, path: Path) -> bool:
        """Whether nothing at, above or below ``path`` is already known to be faulty."""
        return not any(path[: len(each)] == each[: len(path)] for each in self.touched)

    def is_open(self, path: Path) -> bool:
        """Whether nothing at or above ``path`` is faulty, and no unknown key right below it.

        The unknown key may be the one that is meant where something is said to be missing.
        """
        if any(each[:-1] == path for each in self.misnamed):
            return False
        return not any(path[: len(each)] == each for each in self.touched)


def mend(data: Any, unknown: Iterable[Path] = (), *, rounds: int = ROUNDS) -> Mended:
    """Return what can be made of ``data``, and everything that its shapes refuse.

    ``unknown`` are places whose value is not known; nothing is said about them.
    """
    mended = Mended(touched=set(unknown))
    edits: dict[Path, Any] = {}
    for _ in range(rounds):
        mended.positions.clear()
        whole = _rebuilt(data, (), (), edits, mended.positions)
        try:
            mended.settings = Settings.model_validate(whole)
        except ValidationError as error:
            found = faults_of(error, whole, Settings)
        else:
            break
        _take(mended, [(mended.original(fault.path), fault.message) for fault in found], edits)
    return mended


def _take(mended: Mended, found: list[tuple[Path, str]], edits: dict[Path, Any]) -> None:
    mended.faults += [
        Fault(path=path, message=message) for path, message in found if mended.is_news(path)
    ]
    for path, message in found:
        mended.touched.add(path)
        if message.startswith(UNKNOWN):
            mended.misnamed.add(path)
        place, edit = _edit(path, edits, is_missing=message == MISSING)
        edits[place] = edit


def _edit(path: Path, edits: Mapping[Path, Any], *, is_missing: bool) -> tuple[Path, Any]:
    """Return what to do where: leave the place out, stand in for it, or give up what holds it."""
    if not is_missing and path not in edits:
        return path, _DROP
    if is_missing and edits.get(path, _DROP) is _DROP and path[-1] in STAND_INS:
        return path, STAND_INS[str(path[-1])]
    return path[:-1], _DROP


def _rebuilt(
    node: Any, path: Path, now: Path, edits: Mapping[Path, Any], positions: dict[Path, list[int]]
) -> Any:
    """Return ``node`` with the edits made; it stood at ``path`` and stands at ``now``."""
    if isinstance(node, dict):
        kept = {key: (*path, key) for key in node if edits.get((*path, key)) is not _DROP}
        added = {str(at[-1]): at for at in edits if at[:-1] == path and edits[at] is not _DROP}
        return {
            key: edits[at]
            if at in edits
            else _rebuilt(node[key], at, (*now, key), edits, positions)
            for key, at in {**kept, **added}.items()
        }
    if isinstance(node, list):
        left = [at for at in range(len(node)) if edits.get((*path, at)) is not _DROP]
        positions[now] = left
        return [
            _rebuilt(node[at], (*path, at), (*now, to), edits, positions)
            for to, at in enumerate(left)
        ]
    return node
