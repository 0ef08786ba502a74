"""How each kind of key is rotated: what the operator does here and at Gigya, step by step.

``settled`` waits until every healthy user has been served once more; operators wait longer.
Requests for sick ones, with their pauses, may be under way over several steps, as in life.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from service.simulator.seeds import pem
from service.simulator.tls import Authority
from tests.pki import Authority as CallersAuthority
from tests.resilience.place import LATER, SUBJECT, Place, certificate, load_into, new_secret

Settled = Callable[[], Awaitable[None]]
Rotation = Callable[[Place, Settled], Awaitable[None]]
LONGEST: Final = 3.0
"""Seconds that no request of the soak takes."""
SITES: Final = ("shop", "blog", "club", "desk")


async def partner_secret(place: Place, settled: Settled) -> None:
    """Mount the new secret before the old one; switch at Gigya; then let the old one go."""
    old, new = place.mount.files["partner"], new_secret()
    world, key = place.gigya.world, place.gigya.api_key
    names = [f"partner-secrets:{site}" for site in SITES]
    await place.reload(*names, **{"partner": new, "partner-older": old})
    await settled()
    world.change(key, partner_secrets=(new.decode(), old.decode()), sealing_secret=old.decode())
    await settled()
    world.change(key, sealing_secret=new.decode())
    await settled()
    world.change(key, partner_secrets=(new.decode(),))
    await settled()


async def user_secret_with_overlap(place: Place, settled: Settled) -> None:
    """Have Gigya take both secrets for a while."""
    old, new = place.mount.files["user"], new_secret()
    _change_key(place, secrets=(new.decode(), old.decode()))
    await settled()
    await _reload_user(place, user=new, user_older=old)
    await settled()
    _change_key(place, secrets=(new.decode(),))
    place.simulator.tokens.revoke_all()
    await settled()


async def user_secret_before_gigya(place: Place, settled: Settled) -> None:
    """Mount the new secret before Gigya knows it, which then knows it alone."""
    old, new = place.mount.files["user"], new_secret()
    await _reload_user(place, user=new, user_older=old)
    await settled()
    _change_key(place, secrets=(new.decode(),))
    place.simulator.tokens.revoke_all()
    await settled()


async def user_secret_after_gigya(place: Place, settled: Settled) -> None:
    """Mount the new secret as previous, as current only when the old one has gone."""
    old, new = place.mount.files["user"], new_secret()
    _change_key(place, secrets=(new.decode(), old.decode()))
    await _reload_user(place, user=old, user_older=new)
    await settled()
    _change_key(place, secrets=(new.decode(),))
    await settled()
    await _reload_user(place, user=new, user_older=old)
    await settled()


async def rsa_key(place: Place, settled: Settled) -> None:
    """Mount the new key as current before Gigya knows it, the old one as previous."""
    old, new = place.mount.files["user.pem"], generate_private_key(65_537, 2048)
    keys = place.gigya.site.user_keys[place.gigya.user_key].public_keys
    await place.reload("credentials:blog", **{"user.pem": pem(new), "user-older.pem": old})
    await settled()
    _change_key(place, public_keys=(new.public_key(), *keys[:1]))
    await settled()
    _change_key(place, public_keys=(new.public_key(),))
    await settled()


async def audit_key(place: Place, settled: Settled) -> None:
    """Mount the new key before the old one; whoever reads older files keeps the older keys."""
    old, new = place.mount.files["audit"], new_secret()
    place.audit_keys.insert(0, new)
    await place.reload("audit-keys", **{"audit": new, "audit-older": old})
    await settled()


async def server_certificate(place: Place, settled: Settled) -> None:
    """Mount another certificate, by an authority that the callers trust already."""
    authority = Authority()
    place.callers_tls.load_verify_locations(cadata=authority.pem.decode())
    made = certificate(authority)
    await place.reload("tls", **{"tls.crt": made.certificate, "tls.key": made.key})
    await settled()


async def authority_of_callers(place: Place, settled: Settled) -> None:
    """Trust both authorities until the callers have changed, and connected anew.

    A connection made with the older certificate is worth nothing without its authority: operators
    wait ``max_connection_age``. Here a change of the files ends each with the first answer to a
    request that began after it, so that the longest request is waited for.
    """
    # Names of their own, as real ones have: of namesakes OpenSSL takes whichever comes first.
    name = f"authority {os.urandom(4).hex()}"
    older, newer = place.mount.files["clients.crt"], CallersAuthority(name)
    await place.reload("tls", **{"clients.crt": older + newer.pem})
    await settled()
    place.show(newer.issue(SUBJECT, end=LATER))
    await place.reload("tls", **{"clients.crt": newer.pem + older})
    await asyncio.sleep(LONGEST)
    await settled()
    await place.reload("tls", **{"clients.crt": newer.pem})
    await settled()


async def authority_of_gigya(place: Place, settled: Settled) -> None:
    """Trust both authorities while the other end changes its certificate."""
    older, newer = place.gigya_authority, Authority()
    names = [f"authority:site:{site}" for site in SITES]
    await place.reload(*names, ca=older.pem + newer.pem)
    await settled()
    load_into(place.gigya_tls, certificate(newer), place.mount.directory)
    place.gigya_authority = newer
    await settled()
    await place.reload(*names, ca=newer.pem)
    await settled()


async def _reload_user(place: Place, *, user: bytes, user_older: bytes) -> None:
    names = [f"credentials:{site}" for site in ("shop", "club", "desk")]
    await place.reload(*names, **{"user": user, "user-older": user_older})


def _change_key(place: Place, **changes: Any) -> None:
    site, name = place.gigya.site, place.gigya.user_key
    key = replace(site.user_keys[name], **changes)
    place.gigya.world.change(site.api_key, user_keys={name: key})


ROTATIONS: Final[Mapping[str, Rotation]] = {
    "partner secret": partner_secret,
    "user key's secret, both good for a while": user_secret_with_overlap,
    "user key's secret, mounted before Gigya knows it": user_secret_before_gigya,
    "user key's secret, known to Gigya before it is mounted": user_secret_after_gigya,
    "RSA key": rsa_key,
    "audit key": audit_key,
    "certificate of the API port": server_certificate,
    "client CA": authority_of_callers,
    "CA file of Gigya": authority_of_gigya,
}
