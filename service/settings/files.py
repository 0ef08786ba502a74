"""The files that a configuration names: each read once, and checked for what it must hold."""

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from service.secret import Secret
from service.settings import contents
from service.settings.authentication import Jwt, TokenReview
from service.settings.contents import Check
from service.settings.credentials import Bearer, Credentials, OAuth2, PartnerSecret, Signed
from service.settings.findings import Path
from service.settings.rules.remarks import Remark, advice, fault
from service.settings.schema import Settings

ReadFile = Callable[[str], bytes]
"""Returns a file's octets; raises ``OSError``."""

Materials = Mapping[str, Secret[bytes]]
"""What the named files held, by path, as they were when they were checked."""

_FAILURES: Final[tuple[tuple[type[OSError], str], ...]] = (
    (FileNotFoundError, "a file that does not exist"),
    (PermissionError, "a file that may not be read"),
    (IsADirectoryError, "a directory, not a file"),
    (OSError, "a file that cannot be read"),
)


def failing(error: OSError) -> str:
    """Return what it is that could not be read."""
    return next(told for kind, told in _FAILURES if isinstance(error, kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One place that names a file, and what it must hold there."""

    path: Path
    file: str
    check: Check


@dataclass(slots=True, eq=False)
class Reader:
    """Reads each file once and keeps what it held."""

    read_file: ReadFile
    materials: dict[str, Secret[bytes]] = field(default_factory=dict, repr=False)
    problems: dict[str, str] = field(default_factory=dict, repr=False)

    def problem(self, file: str) -> str | None:
        """Return why ``file`` cannot be had, or nothing."""
        if file not in self.materials and file not in self.problems:
            self._read(file)
        return self.problems.get(file)

    def _read(self, file: str) -> None:
        try:
            octets = self.read_file(file)
        except OSError as error:
            self.problems[file] = f"names {failing(error)}"
            return
        if len(octets) > contents.LARGEST:
            self.problems[file] = f"names a file larger than {contents.LARGEST} octets"
        else:
            self.materials[file] = Secret(octets)


def file_remarks(settings: Settings, reader: Reader, now: datetime) -> Iterator[Remark]:
    """Yield what is wrong with the named files, and what their owner should know."""
    sound: dict[Path, Use] = {}
    for use in uses(settings):
        problem = reader.problem(use.file) or _problem(use.check, reader.materials[use.file])
        if problem is None:
            sound[use.path] = use
        else:
            yield fault(use.path, problem)
    held = {path: reader.materials[use.file].reveal() for path, use in sound.items()}
    for path, use in sound.items():
        if use.check is contents.certificates:
            yield from (advice(path, told) for told in contents.dates(held[path], now))
    yield from _tls_pair(held)
    if _CLIENT_CA in held and not contents.has_authority(held[_CLIENT_CA]):
        yield advice(_CLIENT_CA, "holds no authority: only the certificates in it are let in")
    for listed in _listed(settings):
        yield from _twins([path for path in listed if path in sound], sound, held)


def _problem(check: Check, content: Secret[bytes]) -> str | None:
    try:
        check(content.reveal())
    except ValueError as error:
        return str(error)
    return None


_TLS: Final[Path] = ("listeners", "api", "tls")
_CLIENT_CA: Final[Path] = (*_TLS, "client_ca_file")


def _tls_pair(held: Mapping[Path, bytes]) -> Iterator[Remark]:
    certificate, key = (*_TLS, "certificate_file"), (*_TLS, "key_file")
    if certificate in held and key in held and not contents.is_pair(held[certificate], held[key]):
        yield fault(key, "does not belong to {}", named=certificate)


def _twins(
    paths: list[Path], sound: Mapping[Path, Use], held: Mapping[Path, bytes]
) -> Iterator[Remark]:
    """Tell of each file that holds what one before it in its list holds.

    It is how a rotation ends where only contents can be replaced while running: no fault.
    """
    for at, path in enumerate(paths):
        for first in paths[:at]:
            is_other_file = sound[first].file != sound[path].file  # the same path is a rule's
            if is_other_file and hmac.compare_digest(held[first].strip(), held[path].strip()):
                yield advice(path, "holds the same as {}", named=first)
                break


def _listed(settings: Settings) -> Iterator[list[Path]]:
    for name, site in settings.sites.items():
        files: Path = ("sites", name, "partner_secret_files")
        yield [(*files, at) for at in range(len(site.partner_secret_files))]
    yield [("audit", "key_files", at) for at in range(len(settings.audit.key_files))]


def uses(settings: Settings) -> Iterator[Use]:
    """Yield every place that names a file which is there before the start."""
    for path, file, check in _places(settings):
        if file is not None:
            yield Use(path=path, file=file, check=check)


Place = tuple[Path, str | None, Check]


def _places(settings: Settings) -> Iterator[Place]:
    yield from _listener(settings)
    yield from _sites(settings)
    yield from _authentication(settings)
    proxy: Path = ("upstream", "proxy_credentials_file")
    yield proxy, settings.upstream.proxy_credentials_file, contents.proxy_credentials
    yield ("upstream", "ca_file"), settings.upstream.ca_file, contents.certificates
    yield ("tracing", "ca_file"), settings.tracing.ca_file, contents.certificates
    for at, file in enumerate(settings.audit.key_files):
        yield ("audit", "key_files", at), file, contents.audit_key


def _listener(settings: Settings) -> Iterator[Place]:
    tls = settings.listeners.api.tls
    if tls is not None:
        yield (*_TLS, "certificate_file"), tls.certificate_file, contents.certificates
        yield (*_TLS, "key_file"), tls.key_file, contents.private_key
        yield _CLIENT_CA, tls.client_ca_file, contents.certificates


def _sites(settings: Settings) -> Iterator[Place]:
    for name, site in settings.sites.items():
        path: Path = ("sites", name)
        if site.simulator is not None:
            yield (*path, "simulator", "ca_file"), site.simulator.ca_file, contents.certificates
        for at, file in enumerate(site.partner_secret_files):
            yield (*path, "partner_secret_files", at), file, contents.partner_secret
        ways = site.authentication
        for key, way in (("current", ways.current), ("previous", ways.previous)):
            if way is not None:
                yield _credentials((*path, "authentication", key), way)


def _credentials(path: Path, way: Credentials) -> Place:
    if isinstance(way, Bearer):
        return (*path, "key_file"), way.key_file, contents.rsa_key
    is_partners = isinstance(way, (Signed, PartnerSecret)) or (
        isinstance(way, OAuth2) and way.user_key is None
    )
    check = contents.partner_secret if is_partners else contents.user_secret
    return (*path, "secret_file"), way.secret_file, check


def _authentication(settings: Settings) -> Iterator[Place]:
    for at, way in enumerate(settings.authentication):
        path: Path = ("authentication", at)
        if isinstance(way, Jwt):
            yield (*path, "keys", "file"), way.keys.file, contents.key_set
        if isinstance(way, (Jwt, TokenReview)):
            yield (*path, "ca_file"), way.ca_file, contents.certificates
            yield (*path, "token_file"), way.token_file, contents.token
