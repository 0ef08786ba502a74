"""From the credentials of a request to the caller it comes from, or one refusal."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from service.callers.credentials import Credentials, Directory, Judgement, Proof
from service.callers.refusals import Refusal
from service.deadline import Deadline
from service.errors import Unauthenticated
from service.model import Caller


class Method(Protocol):
    """A configured way to prove who is calling."""

    name: str

    def authenticate(self, credentials: Credentials, deadline: Deadline) -> Judgement | None:
        """Return the proof, ``None`` if the credential is not of this kind, or raise.

        Where others must be asked for it, or a signature verified, it is to be awaited, and may
        raise then.
        """


async def identify(
    methods: Sequence[Method], credentials: Credentials, policy: Directory, deadline: Deadline
) -> Caller:
    """Return who is calling.

    Each credential is judged by the first method that takes it for its own, and that judgement is
    final. Every credential must prove an identity, and all must be the same caller's. Raises
    ``Unauthenticated`` or ``AuthenticationUnavailable``.
    """
    if credentials.certificate is None or credentials.bearer is None:  # as nearly always
        # As ``_prove`` does, without a coroutine more for each request.
        judgement = _judge(methods, credentials, deadline)
        proof = judgement if isinstance(judgement, Proof) else await judgement
        return proof.caller(policy)
    proofs = [await _prove(methods, one, deadline) for one in _each(credentials)]
    callers = [proof.caller(policy) for proof in proofs]
    if len({caller.name for caller in callers}) > 1:
        raise Unauthenticated(Refusal.CALLERS_DIFFER)
    return _merge(callers)


def _each(credentials: Credentials) -> list[Credentials]:
    return [replace(credentials, certificate=None), replace(credentials, bearer=None)]


async def _prove(methods: Sequence[Method], credentials: Credentials, deadline: Deadline) -> Proof:
    judgement = _judge(methods, credentials, deadline)
    return judgement if isinstance(judgement, Proof) else await judgement


def _judge(methods: Sequence[Method], credentials: Credentials, deadline: Deadline) -> Judgement:
    for method in methods:
        judgement = method.authenticate(credentials, deadline)
        if judgement is not None:
            return judgement
    raise Unauthenticated(_unrecognised(credentials))


def _unrecognised(credentials: Credentials) -> Refusal:
    if credentials.bearer is None:
        return Refusal.CERTIFICATE_UNKNOWN
    token = credentials.bearer.token
    return token if isinstance(token, Refusal) else Refusal.ISSUER_UNKNOWN


def _merge(callers: Sequence[Caller]) -> Caller:
    """Return one caller proved several ways: what the first says that says it, the sooner end."""
    ends = [each.credential_expires_at for each in callers if each.credential_expires_at]
    return Caller(
        callers[0].name,
        callers[0].identity,
        next((each.namespace for each in callers if each.namespace), None),
        next((each.pod for each in callers if each.pod), None),
        min(ends, default=None),
    )
