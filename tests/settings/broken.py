"""The corpus of broken configurations, and the spoiled files that its rows name."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.settings.samples import ec_key, good_files, key_set, pem, rsa_key, spoiled

SPOILED: Final[Mapping[str, Callable[[], bytes | OSError]]] = {
    "absent": lambda: FileNotFoundError(2, "none"),
    "forbidden": lambda: PermissionError(13, "no"),
    "directory": lambda: IsADirectoryError(21, "directory"),
    "unreadable": lambda: OSError(5, "broken"),
    "huge": lambda: b"x" * 1_048_577,
    "newline": lambda: b"\n",
    "words": lambda: b"open sesame",
    "base64-31": lambda: base64.b64encode(bytes(31)),
    "partner-old": lambda: good_files()["secrets/partner-old"] + b"\n",
    "rsa-encrypted": lambda: pem(rsa_key(2048), b"sesame"),
    "rsa-1024": lambda: pem(rsa_key(1024)),
    "ec": lambda: pem(ec_key()),
    "other-ec": lambda: pem(ec_key(1)),
    "form-feed": lambda: base64.b64encode(bytes(32)) + b"\f\n",
    "key-set-empty": lambda: b'{"keys": []}',
    "key-set-private": lambda: key_set(d="sesame"),
    "key-set-symmetric": lambda: b'{"keys": [{"kty": "oct", "k": "c2VzYW1l"}]}',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One row: the whole text, the files in place of good ones, and every line that is said."""

    id: str
    text: str
    files: Mapping[str, str]
    faults: tuple[str, ...]
    shape: bool | None
    """Whether the published schema refuses it; ``None`` where it is not asked."""

    def contents(self) -> dict[str, bytes | OSError]:
        """Return what the spoiled files hold."""
        return {file: SPOILED[spoil]() for file, spoil in self.files.items()}


def _broken(row: Mapping[str, Any]) -> Broken:
    edits = [(old, new) for old, new in row.get("edits", ())]
    return Broken(
        id=row["id"],
        text=row.get("text", spoiled(*edits)),
        files=row.get("files", {}),
        faults=tuple(row["faults"]),
        shape=row.get("shape"),
    )


BROKEN: Final = [
    _broken(row)
    for row in yaml.safe_load(Path(__file__).with_name("broken.yaml").read_text(encoding="utf-8"))
]
