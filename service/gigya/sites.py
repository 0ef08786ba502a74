"""Where Gigya lives: the data centers, and the one address that a site's requests go to.

Source: facts.md §6. Hosts are ``<namespace>.<domain>``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCenter:
    """One row: what the configuration calls it, its domain, where we know it from.

    ``is_legacy``: no longer in Gigya's current documentation; a site must ask for it by name.
    """

    name: str
    domain: str
    source: str
    is_legacy: bool = False


_CURRENT: Final = "SAP Help Portal, 2025-06-09"
_FORMER: Final = "developers.gigya.com, 2017-2019; no longer listed"

DATA_CENTERS: Final[Mapping[str, DataCenter]] = MappingProxyType(
    {
        row.name: row
        for row in (
            DataCenter(name="us1", domain="us1.gigya.com", source=_CURRENT),
            DataCenter(name="eu1", domain="eu1.gigya.com", source=_CURRENT),
            DataCenter(name="eu2", domain="eu2.gigya.com", source=_CURRENT),
            DataCenter(name="au1", domain="au1.gigya.com", source=_CURRENT),
            DataCenter(name="global", domain="global.gigya.com", source=_CURRENT),
            DataCenter(name="cn1", domain="cn1.sapcdm.cn", source=_CURRENT),
            DataCenter(name="ru1", domain="ru1.gigya.com", source=_FORMER, is_legacy=True),
            DataCenter(
                name="cn1-gigya-api", domain="cn1.gigya-api.cn", source=_FORMER, is_legacy=True
            ),
        )
    }
)

BY_DOMAIN: Final[Mapping[str, DataCenter]] = MappingProxyType(
    {row.domain: row for row in DATA_CENTERS.values()}
)


_NETWORK_LOCATION: Final = re.compile(r"[A-Za-z0-9.:_\[\]-]+")


class BadSimulatorUrl(ValueError):
    """The URL is none that a simulator may have; says why, quoting nothing."""


def origin(data_center: DataCenter, namespace: str = "socialize") -> str:
    """Return scheme and host of a data center: always HTTPS."""
    return f"https://{namespace}.{data_center.domain}"


def simulator_origin(url: str) -> str:
    """Return scheme, host and port of a simulator's ``url``; raises ``BadSimulatorUrl``.

    Plain HTTP only to this machine: 127.0.0.0/8, ::1 or localhost.
    """
    try:
        parts = urlsplit(url)
        problem = _problem(parts, parts.port)
    except ValueError:
        problem = "it is not a URL"
    if problem is not None:
        raise BadSimulatorUrl(problem)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def endpoint(origin: str, method: str) -> str:
    """Return the URL of a method of Gigya's, such as ``socialize.getSessionInfo``."""
    return f"{origin}/{method}"


def _problem(parts: SplitResult, port: int | None) -> str | None:
    checks = (
        (parts.scheme in {"http", "https"}, "its scheme is neither http nor https"),
        (bool(parts.hostname) and port != 0, "it has no host or no port"),
        ("@" not in parts.netloc, "it holds a user name"),
        (_NETWORK_LOCATION.fullmatch(parts.netloc) is not None, "its host is not a host"),
        (parts.path in {"", "/"} and not parts.query and not parts.fragment, "it has a path"),
        (
            parts.scheme != "http" or _is_loopback(parts.hostname or ""),
            "plain http is only for 127.0.0.0/8, ::1 and localhost",
        ),
    )
    return next((problem for holds, problem in checks if not holds), None)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None
