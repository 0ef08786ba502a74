"""One question to the real Gigya that settles what its documents leave open; never a value.

Source: facts.md, "Open points worth a live check"; design.md, ``check --live``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from service.deadline import Deadline
from service.errors import ServiceError
from service.gigya.cipher import Unopened, is_sealed
from service.gigya.expiries import SMALLEST_EPOCH, SMALLEST_MILLISECONDS
from service.gigya.keys import KeyRing
from service.gigya.replies import WANTED, Reply
from service.gigya.sealing import SEALABLE, CameBackPlain, unsealed
from service.gigya.signature import BaseString
from service.gigya.terms import METHOD, Fields, Terms, provider_uid_signature, vouching, wire_params
from service.model import Exchange, SessionQuery

UNKNOWN_PARAMETER: Final = 403007
"""Permission denied, which with ``checkParams`` also says that a parameter is not known."""


class Calls(Protocol):
    """Who calls Gigya (``client.Client``)."""

    @property
    def date_offset(self) -> float | None:
        """Seconds by which the last answer's ``Date`` was ahead of our clock."""

    @property
    def working_slot(self) -> str:
        """The name of the credentials that work."""

    async def call(
        self, method: str, params: Mapping[str, str], deadline: Deadline
    ) -> tuple[Reply, Exchange]:
        """Return a reply whose code is 0, and what the call took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What one call showed: shapes and verdicts.

    ``problem`` is the detail of what went wrong, if anything did, ``reason`` its slug.
    ``knows_all_parameters`` is what ``checkParams`` said. ``shapes``: each field of the reply,
    sealed or plain. ``opening``: opened, unopened, plain or nothing-sealed. ``signature_forms``:
    the base strings that ``providerUIDSig`` fits; None where there is none.
    """

    exchange: Exchange
    problem: str | None = None
    reason: str | None = None
    knows_all_parameters: bool | None = None
    ignored: tuple[str, ...] = ()
    authentication_slot: str | None = None
    shapes: Mapping[str, str] = field(default_factory=dict)
    opening: str | None = None
    key_slot: int | None = None
    context_is_echoed: bool | None = None
    expiry_forms: Mapping[str, str] = field(default_factory=dict)
    signature_forms: tuple[str, ...] | None = None
    clock_offset: float | None = None


async def check_live(
    calls: Calls,
    ring: KeyRing,
    terms: Terms,
    query: SessionQuery,
    deadline: Deadline,
    *,
    nonce: Callable[[], str],
) -> Findings:
    """Ask for ``query`` with ``checkParams`` (once more without, if that is what fails)."""
    params = wire_params(query, terms.sealing, ring, context=nonce()) | {"signIDs": "true"}
    knows_all: bool | None = True
    outcome = await _asked(calls, params | {"checkParams": "true"}, deadline)
    if isinstance(outcome, ServiceError) and _code(outcome) == UNKNOWN_PARAMETER:
        outcome = await _asked(calls, params, deadline)
        knows_all = False
    if isinstance(outcome, ServiceError):
        return Findings(
            exchange=outcome.exchange or Exchange(),
            problem=outcome.detail,
            reason=outcome.reason,
            clock_offset=calls.date_offset,
        )
    reply, exchange = outcome
    fields, opening, slot = _opening(reply, terms, ring, query.provider)
    return Findings(
        exchange=exchange,
        knows_all_parameters=knows_all,
        ignored=tuple(name for name in reply.ignored if name in params),
        authentication_slot=calls.working_slot,
        shapes={n: _shape(reply.fields, n) for n in WANTED if n in reply.fields},
        opening=opening,
        key_slot=slot,
        context_is_echoed=None if not reply.context else reply.context == params["context"],
        expiry_forms={n: expiry_form(fields[n].reveal()) for n in fields if _EXPIRY in n},
        signature_forms=_signature_forms(fields, query.provider, ring),
        clock_offset=calls.date_offset,
    )


async def _asked(
    calls: Calls, params: Mapping[str, str], deadline: Deadline
) -> tuple[Reply, Exchange] | ServiceError:
    try:
        return await calls.call(METHOD, params, deadline)
    except ServiceError as error:
        return error


def _code(error: ServiceError) -> int | None:
    return error.exchange.error_code if error.exchange is not None else None


def _opening(
    reply: Reply, terms: Terms, ring: KeyRing, provider: str
) -> tuple[Fields, str, int | None]:
    signature = provider_uid_signature(reply.fields, provider, BaseString.EITHER)
    try:
        fields, slot = unsealed(reply, terms.sealing, ring, vouching(reply.fields, signature))
    except Unopened:
        return reply.fields, "unopened", None
    except CameBackPlain:
        return reply.fields, "plain", None
    return fields, "nothing-sealed" if slot is None else "opened", slot


def _shape(fields: Fields, name: str) -> str:
    # The IV looks like a sealed field, and is none.
    return "sealed" if name in SEALABLE and is_sealed(fields[name]) else "plain"


def _signature_forms(fields: Fields, provider: str, ring: KeyRing) -> tuple[str, ...] | None:
    fitting = []
    for form in (BaseString.SESSION_INFO, BaseString.IDENTITY):
        signature = provider_uid_signature(fields, provider, form)
        if signature is None or "providerUID" not in fields:
            return None
        if signature.is_of(fields["providerUID"], ring):
            fitting.append(form.value)
    return tuple(fitting)


_EXPIRY: Final = "Expiration"
_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(?P<zone>.*)", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,15}")


def expiry_form(text: str) -> str:
    """Return the name of the form in which an expiry is written."""
    if _DIGITS.fullmatch(text):
        return _form_of(int(text))
    if match := _DATE_TIME.fullmatch(text):
        return "date-time-with-zone" if match["zone"] else "date-time-without-zone"
    return "unknown"


def _form_of(number: int) -> str:
    if number >= SMALLEST_MILLISECONDS:
        return "milliseconds-since-1970"
    return "seconds-since-1970" if number >= SMALLEST_EPOCH else "seconds-left"
