"""How a site asks for session info: its terms, the parameters, what its signature is made of.

Source: facts.md §1.2, §1.3 and §4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Final

from service.gigya.keys import KeyRing, PartnerKey, Vouching
from service.gigya.sealing import Sealing
from service.gigya.signature import BaseString, ProviderUidSignature
from service.model import SessionQuery
from service.secret import Secret

METHOD: Final = "socialize.getSessionInfo"

Fields = Mapping[str, Secret[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How one site asks for session info and reads it.

    ``zone`` is for expiries that name none; ``window`` is the seconds by which Gigya's signature
    of a provider UID may be old.
    """

    sealing: Sealing = field(default_factory=Sealing)
    relative_expiries: bool = False
    zone: tzinfo = UTC
    base_string: BaseString = BaseString.EITHER
    window: float = 180.0


def wire_params(
    query: SessionQuery, sealing: Sealing, ring: KeyRing, *, context: str
) -> dict[str, str]:
    """Return what to send for ``query``, authentication apart.

    With several keys Gigya's signature of the provider UID tells which of them it used.
    """
    keys = len(ring)
    params = {
        "UID": query.uid,
        "provider": query.provider,
        "context": context,
        **sealing.params(keys),
    }
    if query.sign_ids or keys > 1:
        params["signIDs"] = "true"
    if query.cid is not None:
        params["cid"] = query.cid
    return params


def sendable(sealing: Sealing) -> frozenset[str]:
    """Return the name of everything that ``wire_params`` may send to a site."""
    always = ("UID", "provider", "context", "signIDs", "cid")
    return frozenset({*always, *sealing.names})


def provider_uid_signature(
    fields: Fields, provider: str, form: BaseString
) -> ProviderUidSignature | None:
    """Return Gigya's signature of the provider UID, if the reply has one."""
    if "timestamp" not in fields or "providerUIDSig" not in fields:
        return None
    return ProviderUidSignature(
        base_string=form,
        provider=provider,
        timestamp=fields["timestamp"].reveal(),
        signature=fields["providerUIDSig"].reveal(),
    )


def vouching(fields: Fields, signature: ProviderUidSignature | None) -> Vouching | None:
    """Return what tells a key by ``signature``; None without one."""
    if signature is None:
        return None

    def is_vouched(key: PartnerKey, plaintexts: Fields) -> bool:
        provider_uid = plaintexts.get("providerUID", fields.get("providerUID"))
        return provider_uid is not None and signature.is_of(provider_uid, key)

    return is_vouched
