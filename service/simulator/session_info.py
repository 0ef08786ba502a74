"""``socialize.getSessionInfo``: what the reply holds, and how it is sealed (facts.md §1, §2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from service.simulator import expiries, providers, sealing, signing
from service.simulator.calls import Call
from service.simulator.codes import Refusal
from service.simulator.knobs import Knob, Seal
from service.simulator.world import Connection, Site

SEALED: Final = frozenset({"tokenSecret", "sessionHandle"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call that has authenticated, with what answering it needs."""

    call: Call
    site: Site
    uid: str
    knob: Knob
    ignored: frozenset[str]
    now: float
    entropy: Callable[[int], bytes]

    def is_true(self, name: str, *, default: bool = False) -> bool:
        """Return a Boolean parameter of the method; one that is ignored has its default."""
        return default if name in self.ignored else self.call.is_true(name, default=default)


def answer(question: Question) -> dict[str, Any]:
    """Return the fields of the reply; raises the ``Refusal`` that Gigya would answer with."""
    provider = question.call.need("provider")
    padding = _padding(question)
    connection = _connection(question, provider)
    members = _fields(question, connection)
    signature = _signature(question, connection, provider)
    return {**_sealed(question, members, padding), **signature}


def _padding(question: Question) -> str:
    asked = None if "paddingMode" in question.ignored else question.call.get("paddingMode")
    if (asked or "PKCS7") not in sealing.PADDINGS:
        raise Refusal(400006, "Invalid parameter value : paddingMode")
    return asked or "PKCS7"


def _connection(question: Question, asked: str) -> Connection:
    site, users = question.site, question.site.users
    if question.uid not in users:
        raise Refusal(site.unknown_uid, "Unknown UID")
    provider = providers.canonical(asked)
    if not providers.is_known(asked):
        raise Refusal(400006, "Invalid parameter value : provider")
    if provider in site.unsupported:
        raise Refusal(400096, "No connected provider supports this method")
    if site.applications is not None and provider not in site.applications:
        raise Refusal(500031, "The site has no application for this provider")
    connection = users[question.uid].get(provider)
    if connection is None:
        raise Refusal(400106, "The user is not connected to this provider")
    if connection.is_expired:
        raise Refusal(403009, "The provider session has expired")
    return connection


def _fields(question: Question, connection: Connection) -> dict[str, str]:
    site, knob, now = question.site, question.knob, question.now
    form = knob.expiry_form or site.expiry_form

    def when(at: float | None) -> str:
        return "" if at is None else expiries.write(form, at, now)

    members = {
        "authToken": connection.auth_token,
        "tokenSecret": connection.token_secret,
        knob.expiry_field or site.expiry_field: when(connection.token_expiry(now)),
        "sessionHandle": connection.session_handle,
        "sessionExpiration": when(connection.session_expires_at),
        "providerUID": connection.provider_uid,
    }
    # A knob that empties an expiry wants to see it empty, not absent.
    has_expiry = {knob.expiry_field or site.expiry_field} if connection.token_expires_at else set()
    return {k: v for k, v in members.items() if v or site.empty_fields or k in has_expiry}


def _sealed(question: Question, members: dict[str, str], padding: str) -> dict[str, str]:
    names = question.site.encrypt_all if question.is_true("encryptAll") else SEALED
    encrypts = question.is_true("encryptAll") or question.is_true(
        "encrypt", default=_encrypts_unasked(question)
    )
    if not encrypts:
        return members
    iv = question.entropy(sealing.BLOCK)
    seal = _sealer(question, iv, padding)
    sealed = {k: seal(v) if k in names and v else v for k, v in members.items()}
    return {**sealed, **_iv(question.knob.seal, iv)}


def _encrypts_unasked(question: Question) -> bool:
    default = question.site.encrypts_by_default
    return not question.call.is_secure if default is None else default


def _sealer(question: Question, iv: bytes, padding: str) -> Callable[[str], str]:
    fault, secret = question.knob.seal, question.site.sealing
    if fault is Seal.WRONG_KEY:
        secret = sealing.another(secret)

    def seal(text: str) -> str:
        broken = fault is Seal.WRONG_PADDING
        whole = sealing.seal(text, secret=secret, iv=iv, padding=padding, broken=broken)
        spoil = sealing.SPOILED.get(fault or "")
        return spoil(whole, text) if spoil else whole

    return seal


def _iv(fault: Seal | None, iv: bytes) -> dict[str, str]:
    octets = {Seal.NO_IV: b"", Seal.SHORT_IV: iv[:8]}.get(fault, iv) if fault else iv
    return {"IV": sealing.text(octets)} if octets else {}


def _signature(question: Question, connection: Connection, provider: str) -> dict[str, str]:
    if not question.is_true("signIDs"):
        return {}
    knob, site = question.knob, question.site
    timestamp = str(int(question.now - knob.signature_age))
    signature = signing.sign_provider_uid(
        knob.provider_uid_form or site.provider_uid_form,
        provider=providers.canonical(provider),
        provider_uid=connection.provider_uid,
        timestamp=timestamp,
        secret=sealing.another(site.sealing) if knob.wrong_signature else site.sealing,
    )
    return {"timestamp": timestamp, "providerUIDSig": signature}
