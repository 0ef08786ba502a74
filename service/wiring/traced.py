"""What is traced, wrapped where it is put together; without a tracer everything stays as it is."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.recording import ENTRY, Opens
from service.audit.record import Commit, Entry
from service.deadline import Deadline
from service.gigya.keys import KeyRing, Vouching
from service.gigya.replies import Reply
from service.gigya.sealing import Sealing, unsealed
from service.gigya.session_info import Unseal
from service.http_methods import OTHER, told
from service.model import AT_ONCE, Caller
from service.outbound import Answer, Outbound
from service.policy import Decide, Decision, Policy, Question
from service.secret import Secret
from service.tracing import (
    AUTHENTICATE,
    CALL_GIGYA,
    COMMIT,
    DECIDE,
    DECRYPT,
    RESPOND,
    Kind,
    Span,
    Tracer,
    Value,
)

Identify = Callable[[Scope, Deadline], Awaitable[Caller]]

HEADER: Final = b"traceparent"
FAULTS: Final = 500


class Traces:
    """Wraps what is traced, or returns it as it is where there is no tracer."""

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer

    def requests(self, app: ASGIApp) -> ASGIApp:
        """Trace each request as a whole, and its answer."""
        return app if self._tracer is None else _Traced(app, self._tracer)

    def identify(self, identify: Identify) -> Identify:
        """Trace who is calling."""
        tracer = self._tracer
        if tracer is None:
            return identify

        async def traced(scope: Scope, deadline: Deadline) -> Caller:
            with tracer.span(AUTHENTICATE) as span:
                caller = await identify(scope, deadline)
                span.tell("credential_proxy.caller", caller.name)
                span.tell("credential_proxy.authentication", caller.identity.via)
                return caller

        return traced

    def decide(self) -> Decide:
        """Trace what policy says."""
        tracer = self._tracer
        if tracer is None:
            return Policy.decision

        def traced(policy: Policy, question: Question) -> Decision:
            with tracer.span(DECIDE) as span:
                decision = policy.decision(question)
                span.tell("credential_proxy.rule", decision.rule)
                span.tell("credential_proxy.reason", decision.reason)
                return decision

        return traced

    def unseal(self) -> Unseal:
        """Trace what is decrypted."""
        tracer = self._tracer
        if tracer is None:
            return unsealed

        def traced(
            reply: Reply, sealing: Sealing, ring: KeyRing, vouching: Vouching | None
        ) -> tuple[Mapping[str, Secret[str]], int | None]:
            with tracer.span(DECRYPT) as span:
                fields, slot = unsealed(reply, sealing, ring, vouching)
                span.tell("credential_proxy.key_slot", slot)
                return fields, slot

        return traced

    def outbound(self, outbound: Outbound, site: str) -> Outbound:
        """Trace each attempt at the Gigya of ``site``, and hand ``traceparent`` on."""
        return outbound if self._tracer is None else _TracedOutbound(outbound, self._tracer, site)

    def journal(self, journal: Opens) -> Opens:
        """Trace the writing of each record."""
        return journal if self._tracer is None else _TracedJournal(journal, self._tracer)

    async def aclose(self) -> None:
        """Send what is left."""
        if self._tracer is not None:
            await self._tracer.aclose()


class _Traced:
    """A request as a span, under the caller's; the layers below see our span as their parent."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = [value for name, value in scope["headers"] if name == HEADER]
        asked = given[0].decode("latin-1") if len(given) == 1 else None
        with self._tracer.span("request", kind=Kind.SERVER, traceparent=asked) as span:
            ours = (HEADER, self._tracer.traceparent().encode())
            headers = [*(each for each in scope["headers"] if each[0] != HEADER), ours]
            inner = {**scope, "headers": headers}
            inner.pop(AT_ONCE, None)  # what is sent past us has no span
            with ExitStack() as response:
                try:
                    await self._app(inner, receive, _Responding(send, self._tracer, response))
                except asyncio.CancelledError:
                    span.fail("cancelled")
                    raise
                finally:
                    _tell(span, inner.get(ENTRY))


class _Responding:
    """Sends, with a span from the first octet of the answer to the last."""

    def __init__(self, send: Send, tracer: Tracer, response: ExitStack) -> None:
        self._send = send
        self._tracer = tracer
        self._response = response

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._response.enter_context(self._tracer.span(RESPOND))
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._response.close()


def _tell(span: Span, entry: Entry | None) -> None:
    if entry is None:
        return
    span.rename(f"{told(entry.method or OTHER)} {entry.route or 'unknown'}")
    for name, value in _facts(entry).items():
        span.tell(name, value)
    if (entry.status or FAULTS) >= FAULTS:
        span.fail(entry.outcome)


def _facts(entry: Entry) -> dict[str, Value | None]:
    exchange, caller = entry.exchange, entry.caller
    return {
        "http.request.method": entry.method and told(entry.method),
        "http.route": entry.route,
        "http.response.status_code": entry.status,
        "credential_proxy.audit_id": entry.audit_id,
        "credential_proxy.caller": None if caller is None else caller.name,
        "credential_proxy.site": entry.site,
        "credential_proxy.provider": entry.provider,
        "credential_proxy.outcome": entry.outcome,
        "credential_proxy.reason": entry.reason,
        "credential_proxy.rule": entry.rule,
        "credential_proxy.cached": None if exchange is None else exchange.cached,
        "gigya.error_code": None if exchange is None else exchange.error_code,
        "gigya.call_id": None if exchange is None else exchange.call_id,
    }


class _TracedOutbound(Outbound):
    """The door out with a span for each request through it."""

    def __init__(self, inner: Outbound, tracer: Tracer, site: str) -> None:
        self._inner = inner
        self._tracer = tracer
        self._site = site

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        body: bytes | None = None,
        deadline: Deadline,
    ) -> Answer:
        """Return the peer's answer."""
        with self._tracer.span(CALL_GIGYA, kind=Kind.CLIENT) as span:
            span.tell("credential_proxy.site", self._site)
            span.tell("http.request.method", method)
            handed_on = {**(headers or {}), "traceparent": self._tracer.traceparent()}
            answer = await self._inner.send(
                method,
                url,
                headers=handed_on,
                content_type=content_type,
                body=body,
                deadline=deadline,
            )
            span.tell("http.response.status_code", answer.status)
            return answer

    async def aclose(self) -> None:
        """Close every connection to the peer."""
        await self._inner.aclose()


class _TracedJournal:
    """Opens entries whose commit is a span."""

    def __init__(self, journal: Opens, tracer: Tracer) -> None:
        self._journal = journal
        self._tracer = tracer

    def open(self, *, method: str, peer: str | None, trace_id: str | None) -> Entry:
        """Begin the entry of one request."""
        entry = self._journal.open(method=method, peer=peer, trace_id=trace_id)
        entry.commit_to = self._traced(entry.commit_to)
        return entry

    def _traced(self, commit: Commit) -> Commit:
        async def traced(entry: Entry) -> None:
            with self._tracer.span(COMMIT) as span:
                span.tell("credential_proxy.outcome", entry.outcome)
                gate = commit(entry)
                if gate is not None:
                    await gate

        return traced
