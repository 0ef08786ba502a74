"""The simulator's keys in a directory: what is there is used, what is not is made and written."""

import base64
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from service.simulator import tls
from service.simulator.seeds import Seed, Seeded, load_users, pem, seeded, throwaway_key

AES_LENGTHS: Final = frozenset({16, 24, 32})


class MaterialFault(Exception):
    """A file of the directory is not what its name says."""


def made_from(directory: Path, *, seed: str, now: float, data_center: str, load: int = 0) -> Seeded:
    """Return the world of ``seed`` with the keys in ``directory``.

    ``partner-secret``, ``user-secret`` (base64) and ``user-key.pem`` are read if they are there;
    if not, they are made and written with mode 600. ``load`` users more are seeded. Raises
    ``MaterialFault`` and ``OSError``.
    """
    source = Seed(value=seed)
    directory.mkdir(parents=True, exist_ok=True)
    made = seeded(
        seed,
        now=now,
        data_center=data_center,
        key=_rsa_key(directory / "user-key.pem"),
        partner_secret=_secret(directory / "partner-secret", source.secret("partner secret")),
        user_secret=_secret(directory / "user-secret", source.secret("user secret")),
    )
    more = load_users(source, load, now)
    for api_key, site in made.world.sites.items():
        made.world.sites[api_key] = replace(site, users={**site.users, **more})
    return made


def server_context(directory: Path, names: Sequence[str]) -> ssl.SSLContext:
    """Return the TLS context of ``server.pem`` and ``server-key.pem`` in ``directory``.

    If they are not there, an authority is made that signs them for ``names``; its own certificate
    is ``ca.pem``, its key is kept nowhere.
    """
    if not (directory / "server.pem").exists():
        authority = tls.Authority()
        tls.write(directory, authority, authority.certificate(names))
    certificate = (directory / "server.pem").read_bytes()
    key = (directory / "server-key.pem").read_bytes()
    try:
        return tls.Certificate(certificate=certificate, key=key).context()
    except ssl.SSLError:
        raise MaterialFault(f"{directory} holds no certificate with its key") from None


def _secret(path: Path, otherwise: str) -> str:
    text = _kept(path, otherwise.encode()).decode("ascii", "replace").strip()
    try:
        octets = base64.b64decode(text, validate=True)
    except ValueError:
        octets = b""
    if len(octets) not in AES_LENGTHS:
        raise MaterialFault(f"{path} is not base64 of 16, 24 or 32 octets")
    return text


def _rsa_key(path: Path) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(_kept(path, pem(throwaway_key())), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise MaterialFault(f"{path} is not an RSA private key in PEM")
    return key


def _kept(path: Path, otherwise: bytes) -> bytes:
    if not path.exists():
        tls.write_privately(path, otherwise)
    return path.read_bytes()
