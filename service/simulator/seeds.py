"""Users, keys and tokens made from a seed: the same seed gives the same texts."""

import base64
import functools
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service.simulator.providers import FAMILIES, FORMER_OAUTH1, Family
from service.simulator.world import DATA_CENTERS, Connection, Site, UserKey, World

EVERYTHING: Final = "user-everything"
NOBODY: Final = "user-nobody"
EXPIRED: Final = "user-expired"
AWKWARD: Final = "_guid_Ünï+/c&=d é%41~*日本=="

DAY: Final = 86_400
LIVES: Final[Mapping[Family, float | None]] = {
    Family.FACEBOOK: 60 * DAY,
    Family.OAUTH1: None,
    Family.OAUTH1_SESSION: 3_600,
    Family.OAUTH2: 3_600,
}
"""Seconds that a token of each family lives from its birth, and again from each renewal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A source of texts that look random and are not."""

    value: str

    def octets(self, name: str, length: int = 32) -> bytes:
        """Return ``length`` octets (64 at most) that belong to ``name``."""
        return hmac.new(self.value.encode(), name.encode(), hashlib.sha512).digest()[:length]

    def hex(self, name: str, length: int = 24) -> str:
        """Return ``length`` hexadecimal digits that belong to ``name``."""
        return self.octets(name).hex()[:length]

    def secret(self, name: str, length: int = 32) -> str:
        """Return base64 of ``length`` octets: a secret as the console shows it."""
        return base64.b64encode(self.octets(name, length)).decode()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seeded:
    """A world made from a seed, with what its customers hold of it.

    ``api_key`` is a site as today: the partner secret seals and does not authenticate.
    ``legacy_api_key`` is one where it still does; ``elsewhere_api_key`` lives in another data
    center. All three have the same users and keys.
    """

    world: World
    api_key: str
    legacy_api_key: str
    elsewhere_api_key: str
    partner_secret: str = field(repr=False)
    user_key: str
    user_secret: str = field(repr=False)
    private_key: RSAPrivateKey = field(repr=False)

    @property
    def site(self) -> Site:
        """The site of ``api_key`` as it is now."""
        return self.world.sites[self.api_key]

    @property
    def private_key_pem(self) -> bytes:
        """The user key's private key as the console gives it: PKCS#1."""
        return pem(self.private_key)


def seeded(  # each of them may be left out
    seed: object = 0,
    *,
    now: float,
    data_center: str = "us1.gigya.com",
    key: RSAPrivateKey | None = None,
    partner_secret: str | None = None,
    user_secret: str | None = None,
) -> Seeded:
    """Return the world of ``seed``, its tokens born at ``now`` (UNIX seconds).

    ``key`` is the user key's RSA key, which no seed gives: a throwaway one if left out. The two
    secrets (base64) are the seed's if left out.
    """
    source = Seed(value=str(seed))
    private_key = key or throwaway_key()
    partner_secret = partner_secret or source.secret("partner secret")
    user_secret = user_secret or source.secret("user secret")
    user_key = "A" + source.hex("user key", 11)
    mine = UserKey(
        user_key=user_key, secrets=(user_secret,), public_keys=(private_key.public_key(),)
    )
    today, legacy, elsewhere = ("3_" + source.hex(f"api key {n}", 62) for n in range(3))
    site = Site(
        api_key=today,
        data_center=data_center,
        partner_secrets=(partner_secret,),
        user_keys={user_key: mine},
        users=users(source, now),
    )
    other = next(each for each in DATA_CENTERS if each != data_center)
    world = World(
        site,
        replace(site, api_key=legacy, partner_secret_authenticates=True),
        replace(site, api_key=elsewhere, data_center=other),
        data_center=data_center,
    )
    return Seeded(
        world=world,
        api_key=today,
        legacy_api_key=legacy,
        elsewhere_api_key=elsewhere,
        partner_secret=partner_secret,
        user_key=user_key,
        user_secret=user_secret,
        private_key=private_key,
    )


def users(seed: Seed, now: float) -> dict[str, dict[str, Connection]]:
    """Return one user for each provider, and the few who are special."""
    alone = {
        uid: {name: connection(seed, uid, name, family, now)} for uid, name, family in _each_alone()
    }
    special = {
        EVERYTHING: _all(seed, EVERYTHING, now),
        NOBODY: {},
        EXPIRED: _all(seed, EXPIRED, now, is_expired=True),
        AWKWARD: _all(seed, AWKWARD, now),
    }
    return {**alone, **special}


def connection(
    seed: Seed, uid: str, provider: str, family: Family, now: float, *, is_expired: bool = False
) -> Connection:
    """Return the session of ``uid`` with ``provider`` that ``family`` has, born at ``now``."""

    def text(name: str) -> str:
        return f"{provider}-{name}-{seed.hex(f'{uid} {provider} {name}')}"

    life = LIVES[family]
    return Connection(
        auth_token=text("token"),
        provider_uid=str(int(seed.hex(f"{uid} {provider} id", 12), 16)),
        token_secret=text("secret") if family in {Family.OAUTH1, Family.OAUTH1_SESSION} else "",
        token_expires_at=None if life is None else now + life,
        renewed_every=life,
        session_handle=text("handle") if family in _WITH_HANDLE else "",
        session_expires_at=now + 365 * DAY if family is Family.OAUTH1_SESSION else None,
        is_expired=is_expired,
    )


def load_users(seed: Seed, count: int, now: float) -> dict[str, dict[str, Connection]]:
    """Return ``load-0`` … with a facebook, a twitter and a google session each, for load."""
    wanted = ("facebook", "twitter", "google")
    return {
        f"load-{n}": {p: connection(seed, f"load-{n}", p, FAMILIES[p], now) for p in wanted}
        for n in range(count)
    }


@functools.lru_cache(maxsize=8)
def throwaway_key(slot: int = 0) -> RSAPrivateKey:  # noqa: ARG001  # the cache's key
    """Return an RSA key of 2048 bits, one for each ``slot`` and process."""
    return generate_private_key(public_exponent=65_537, key_size=2048)


def pem(key: RSAPrivateKey, form: PrivateFormat = PrivateFormat.TraditionalOpenSSL) -> bytes:
    """Return ``key`` as PEM: PKCS#1, or PKCS#8 if asked."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


_WITH_HANDLE: Final = frozenset({Family.OAUTH2, Family.OAUTH1_SESSION})


def _each_alone() -> Iterator[tuple[str, str, Family]]:
    for provider, family in FAMILIES.items():
        yield f"user-{provider}", provider, family
    for provider in FORMER_OAUTH1:
        yield f"user-{provider}-oauth1", provider, Family.OAUTH1_SESSION


def _all(seed: Seed, uid: str, now: float, *, is_expired: bool = False) -> dict[str, Connection]:
    return {
        provider: connection(seed, uid, provider, family, now, is_expired=is_expired)
        for provider, family in FAMILIES.items()
    }
