"""Leaks as they happen in real services, each put into a real one on purpose."""

import base64
import json
import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from starlette.types import Receive, Scope

from service.api.answers import Endpoint, JsonAnswer
from service.api.recording import ENTRY
from service.errors import InternalError, UpstreamInvalid
from service.logs import Log
from tests.leaks.drive import Drive


@dataclass
class ReadableSession:
    """What ``Session`` would be with texts in the place of secrets."""

    auth_token: str

    __module__ = "service.planted"


@dataclass
class ReadableQuery:
    """What ``SessionQuery`` would be if its UID were shown."""

    uid: str

    __module__ = "service.planted"


class Planted:
    """A layer of the application that is given a drive and lets something slip."""

    def __init__(self, app: Endpoint, drive: Drive) -> None:
        self.app = app
        self.drive = drive
        self.secrets = drive.secrets
        self.log = Log(drive.house.log, level="debug", form="json")

    async def __call__(self, scope: Scope, receive: Receive) -> JsonAnswer:
        """Serve, and slip."""
        self.stumble(scope)
        answer = await self.app(scope, receive)
        self.slip(scope)
        return answer

    def stumble(self, scope: Scope) -> None:
        """Let something happen before the answer."""

    def slip(self, scope: Scope) -> None:
        """Let something out after the answer."""


class LoggedHeader(Planted):
    """A log line with the headers of a request."""

    def slip(self, scope: Scope) -> None:
        self.log.info("headers", headers=[value.decode() for _, value in scope["headers"]])


class LoggedTraceback(Planted):
    """A traceback with its locals."""

    def slip(self, scope: Scope) -> None:
        handle = self.secrets.tokens["handle"]
        try:
            scope[handle]
        except KeyError as error:
            return self._tell(error)

    def _tell(self, error: Exception) -> None:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        self.log.error("failed", traceback="".join(told.format()))


class QuotingError(Planted):
    """An error whose detail quotes what it is about."""

    def stumble(self, scope: Scope) -> None:
        del scope
        raise UpstreamInvalid(f"{self.secrets.tokens['token']} cannot be read")


class ChainedError(Planted):
    """An error that says nothing and is caused by one that says all."""

    def stumble(self, scope: Scope) -> None:
        del scope
        try:
            json.loads(self.secrets.tokens["secret"])
        except json.JSONDecodeError as error:
            raise InternalError("A reply cannot be read.") from error


class MetricsLabel(Planted):
    """A metric by something that has no end."""

    def slip(self, scope: Scope) -> None:
        del scope
        self.drive.house.metrics.count("problems", self.secrets.uid)


class ReadableRepr(Planted):
    """A session that is kept and shows itself."""

    def slip(self, scope: Scope) -> None:
        del scope
        self.drive.roots.append(ReadableSession(self.secrets.tokens["token"]))


class ReadableUid(Planted):
    """A query in a flight's key that shows whose it is."""

    def slip(self, scope: Scope) -> None:
        del scope
        self.drive.roots.append(ReadableQuery(self.secrets.uid))


class PlainMemory(Planted):
    """A form that is kept after it was posted."""

    def slip(self, scope: Scope) -> None:
        del scope
        self.drive.roots.append({"secret": base64.b64encode(self.secrets.user).decode()})


class RecordMember(Planted):
    """A member of the record that is input as it came."""

    def stumble(self, scope: Scope) -> None:
        scope[ENTRY].peer = self.secrets.uid


class RecordHex(Planted):
    """A token in hexadecimal where an identifier belongs."""

    def stumble(self, scope: Scope) -> None:
        scope[ENTRY].trace_id = self.secrets.tokens["handle"].encode().hex()


class AnswerHeader(Planted):
    """A header that helps to debug."""

    async def __call__(self, scope: Scope, receive: Receive) -> JsonAnswer:
        bearer = base64.urlsafe_b64encode(b"caller=" + self.secrets.bearers["crm"].encode())
        answer = await self.app(scope, receive)
        return Debugging(json.loads(answer.body), bearer)


class Debugging(JsonAnswer):
    """An answer with one header too many."""

    def __init__(self, content: Any, told: bytes) -> None:
        super().__init__(content)
        self.told = told

    def lines(self, audit_id: str) -> bytes:
        return super().lines(audit_id) + b"x-debug: %b\r\n" % self.told


class LibraryLog(Planted):
    """A library that logs a URL with its query."""

    def slip(self, scope: Scope) -> None:
        del scope
        secret = quote(base64.b64encode(self.secrets.partner).decode(), safe="")
        logging.getLogger("httpx").info("POST https://socialize.us1.gigya.com/?secret=%s", secret)


class SpanAttribute(Planted):
    """An attribute that is allowed, with a value that is not."""

    def slip(self, scope: Scope) -> None:
        del scope
        assert self.drive.house.tracer is not None
        with self.drive.house.tracer.span("look up") as span:
            span.tell("credential_proxy.reason", f"no session of {self.secrets.uid}")


class SpanName(Planted):
    """A span called by the path as it came."""

    def slip(self, scope: Scope) -> None:
        del scope
        assert self.drive.house.tracer is not None
        with self.drive.house.tracer.span("look up") as span:
            span.rename(f"GET /users/{quote(self.secrets.uid, safe='')}")


class SpanStatus(Planted):
    """A span that failed for a reason in other people's words."""

    def slip(self, scope: Scope) -> None:
        del scope
        assert self.drive.house.tracer is not None
        with self.drive.house.tracer.span("look up") as span:
            span.fail(f"bad token {self.secrets.tokens['token']}")


class Console(Planted):
    """A print that was forgotten."""

    def slip(self, scope: Scope) -> None:
        del scope
        print("key:", self.secrets.audit.hex().upper())  # noqa: T201  # the leak


class PastedKey(Planted):
    """A private key in a line of the log, as PEM is often pasted."""

    def slip(self, scope: Scope) -> None:
        del scope
        pem = self.drive.house.files["/secrets/user.pem"].decode()
        self.log.warning("faulty", detail=f"cannot parse {pem!r}")


PLANTS: Final[Mapping[str, tuple[Callable[[Endpoint, Drive], Endpoint], str, str]]] = {
    "a log line with a header": (LoggedHeader, "log", "bearer of crm"),
    "a traceback with locals": (LoggedTraceback, "log", "core of handle"),
    "an error that quotes": (QuotingError, "answers", "token"),
    "an error that quotes, as raised": (QuotingError, "errors", "token"),
    "an error's cause": (ChainedError, "errors", "secret"),
    "a metric's label": (MetricsLabel, "metrics", "core of uid"),
    "a repr that shows a token": (ReadableRepr, "repr", "token"),
    "a repr that shows a UID": (ReadableUid, "repr", "uid"),
    "a text kept in memory": (PlainMemory, "memory", "user secret in base64"),
    "a member of the record": (RecordMember, "audit", "core of uid"),
    "hexadecimal in the record": (RecordHex, "audit", "handle"),
    "a header of the answer": (AnswerHeader, "answers", "bearer of crm"),
    "a library's log line": (LibraryLog, "libraries", "partner secret in base64"),
    "a span's attribute": (SpanAttribute, "spans", "uid"),
    "a span's name": (SpanName, "spans", "uid"),
    "a span's status": (SpanStatus, "spans", "token"),
    "a print": (Console, "console", "audit key"),
    "a private key in the log": (PastedKey, "log", "line 3 of the RSA key"),
}
"""What is planted, the place where it must be found, and what of it."""
