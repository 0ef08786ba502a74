import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope

from service.api.answers import Endpoint, JsonAnswer
from service.api.headers import headers_of
from service.api.recording import ENTRY, Recording
from service.audit.record import RELEASED, Entry
from service.errors import AccessDenied, AuditUnavailable, Missing, ServiceError, ShuttingDown
from service.model import AT_ONCE
from tests.house import TOKEN, House, body
from tests.listening import listening

ASK = b'{"uid": "user-twitter", "provider": "twitter"}'


class Journal:
    """Opens entries and keeps what they said when they were committed."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.kept: list[dict[str, Any]] = []
        self._refuses = refuses

    def open(self, *, method: str, peer: str | None, trace_id: str | None) -> Entry:
        return Entry(
            audit_id=f"{len(self.kept):032x}",
            method=method,
            peer=peer,
            trace_id=trace_id,
            commit_to=self._commit,
        )

    async def _commit(self, entry: Entry) -> None:
        if self._refuses and entry.outcome == RELEASED:
            entry.outcome = AuditUnavailable.code
            raise AuditUnavailable("The record could not be written.")
        self.kept.append({name: getattr(entry, name) for name in ("outcome", "reason", "status")})


class Desk:
    """A recording layer around an application, and what it told whom."""

    def __init__(self, app: Endpoint, *, refuses: bool = False, most: int = 8) -> None:
        self.journal = Journal(refuses=refuses)
        self.observed: list[str] = []
        self.unexpected: list[Exception] = []
        self.is_closing = False
        self.sent: list[Message] = []
        self.breaks_after = 2
        """So many parts of an answer go out."""
        self.recording = Recording(
            app,
            journal=self.journal,
            observe=lambda entry: self.observed.append(entry.outcome),
            unexpected=lambda _, error: self.unexpected.append(error),
            lifecycle=self,
            most_in_flight=most,
        )

    async def ask(
        self,
        *headers: tuple[bytes, bytes],
        client: Any = ("192.0.2.7", 1),
        at_once: "AtOnce | None" = None,
    ) -> None:
        """Serve one request."""
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "headers": list(headers),
            "client": client,
            AT_ONCE: at_once,
        }
        self.scope = scope
        await self.recording(scope, _silent, self._send)

    async def _send(self, message: Message) -> None:
        if len(self.sent) == self.breaks_after:
            raise OSError
        self.sent.append(message)

    @property
    def document(self) -> Any:
        """The problem that was answered."""
        return json.loads(self.sent[-1]["body"])


class AtOnce:
    """Takes an answer whole, if at all; has what it ``taken`` as the parts it is made of."""

    def __init__(self, *, takes: bool) -> None:
        self.taken: list[Message] = []
        self._takes = takes

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        if self._takes:
            headers = headers_of(lines)
            self.taken = [
                {"type": "http.response.start", "status": status, "headers": headers},
                {"type": "http.response.body", "body": body},
            ]
        return self._takes


async def _silent() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def raising(error: BaseException) -> Endpoint:
    async def app(_: Scope, __: Receive) -> JsonAnswer:
        raise error

    return app


def answering(outcome: str | None = "answered") -> Endpoint:
    async def app(scope: Scope, _: Receive) -> JsonAnswer:
        if outcome is not None:
            scope[ENTRY].outcome = outcome
        return JsonAnswer({})

    return app


class TestRecording:
    async def test_commits_what_was_answered(self) -> None:
        """The record has the outcome and the status; the answer has the record's id."""
        desk = Desk(answering())

        await desk.ask()

        assert [{"outcome": "answered", "reason": None, "status": 200}] == desk.journal.kept
        assert headers_of(JsonAnswer({}).lines("0" * 32)) == desk.sent[0]["headers"]
        assert {"type": "http.response.body", "body": b"{}"} == desk.sent[1]
        assert ["answered"] == desk.observed

    @pytest.mark.parametrize("takes", [True, False])
    @pytest.mark.parametrize("app", [answering(), raising(ShuttingDown("Ask again."))])
    async def test_sends_whole_what_is_taken_whole(self, app: Endpoint, *, takes: bool) -> None:
        """A listener that takes an answer whole gets the same as one that takes it in parts."""
        in_parts, desk, at_once = Desk(app), Desk(app), AtOnce(takes=takes)
        await in_parts.ask()

        await desk.ask(at_once=at_once)

        assert in_parts.journal.kept == desk.journal.kept
        assert in_parts.sent == (at_once.taken if takes else desk.sent)
        assert takes == (not desk.sent)

    async def test_an_outcome_must_be_earned(self) -> None:
        """Whoever does not say how it ended has ended in a fault."""
        desk = Desk(answering(outcome=None))

        await desk.ask()

        assert "internal-error" == desk.journal.kept[0]["outcome"]

    async def test_an_error_is_a_problem(self) -> None:
        """An error of ours becomes its problem, and the record has its reason."""
        desk = Desk(raising(AccessDenied("No.", missing=Missing.FIELD)))

        await desk.ask()

        assert [{"outcome": "access-denied", "reason": "missing-field", "status": 403}] == (
            desk.journal.kept
        )
        assert ("access-denied", "No.", "0" * 32) == tuple(
            desk.document[name] for name in ("code", "detail", "audit_id")
        )
        assert [] == desk.unexpected

    async def test_a_bug_is_a_fault_of_ours(self) -> None:
        """What nobody expected is 500, says nothing of itself, and is told to the operator."""
        bug = RuntimeError("s3cret")
        desk = Desk(raising(bug))

        await desk.ask()

        assert [("internal-error", 500)] == [
            (kept["outcome"], kept["status"]) for kept in desk.journal.kept
        ]
        assert b"s3cret" not in desk.sent[1]["body"]
        assert [bug] == desk.unexpected

    async def test_an_unlisted_error_says_nothing(self) -> None:
        """An error without a row of its own is a fault, and its words stay inside."""

        class Unlisted(ServiceError):
            code = "unlisted"

        desk = Desk(raising(Unlisted("s3cret")))

        await desk.ask()

        assert (500, "internal-error") == (desk.sent[0]["status"], desk.document["code"])
        assert b"s3cret" not in desk.sent[1]["body"]

    async def test_a_cancel_is_recorded_and_goes_on(self) -> None:
        """Who is cancelled is recorded as such, and stays cancelled."""
        desk = Desk(raising(asyncio.CancelledError()))

        with pytest.raises(asyncio.CancelledError):
            await desk.ask()

        assert ["cancelled"] == [kept["outcome"] for kept in desk.journal.kept]
        assert (503, "shutting-down") == (desk.journal.kept[0]["status"], desk.document["code"])

    async def test_a_cancel_after_the_gate_does_not_rewrite_history(self) -> None:
        """What was recorded as released stays so, though the answer was cut off."""

        async def app(scope: Scope, _: Receive) -> JsonAnswer:
            scope[ENTRY].outcome, scope[ENTRY].status = RELEASED, 200
            await scope[ENTRY].commit()
            raise asyncio.CancelledError

        desk = Desk(app)
        with pytest.raises(asyncio.CancelledError):
            await desk.ask()

        assert [RELEASED] == [kept["outcome"] for kept in desk.journal.kept] == desk.observed

    async def test_a_release_without_a_record_is_none(self) -> None:
        """Where the gate does not open, the caller is told so, and observers too."""

        async def app(scope: Scope, _: Receive) -> JsonAnswer:
            scope[ENTRY].outcome = RELEASED
            await scope[ENTRY].commit()
            raise AssertionError

        desk = Desk(app, refuses=True)

        await desk.ask()

        assert (503, "audit-unavailable") == (desk.sent[0]["status"], desk.document["code"])
        assert ["audit-unavailable"] == desk.observed

    async def test_half_an_answer_stays_half(self) -> None:
        """After the first byte nothing else can be said: the server closes the connection."""
        desk = Desk(answering())
        desk.breaks_after = 1

        await desk.ask()

        assert 1 == len(desk.sent)
        assert 1 == len(desk.unexpected)

    async def test_sheds_what_is_too_much(self) -> None:
        """Beyond so many requests in flight the rest is told to come back."""
        hold = asyncio.Event()

        async def app(scope: Scope, receive: Receive) -> JsonAnswer:
            await hold.wait()
            return await answering()(scope, receive)

        desk = Desk(app, most=2)
        tasks = [asyncio.create_task(desk.ask()) for _ in range(2)]
        await asyncio.sleep(0)
        await desk.ask()

        assert ("overloaded", 3 - 1) == (desk.document["code"], desk.recording.in_flight)
        assert "in-flight" == desk.journal.kept[0]["reason"]
        hold.set()
        await asyncio.gather(*tasks)
        assert (0, 3) == (desk.recording.in_flight, len(desk.journal.kept))

    async def test_a_process_that_ends_takes_nothing_new(self) -> None:
        """Shutting down comes before everything else, and is recorded too."""
        desk = Desk(raising(AssertionError()))
        desk.is_closing = True

        await desk.ask()

        assert "shutting-down" == desk.document["code"] == desk.journal.kept[0]["outcome"]

    @pytest.mark.parametrize("kind", ["lifespan", "websocket"])
    async def test_speaks_http_only(self, kind: str) -> None:
        """Another scope is not ours, and has no record."""
        desk = Desk(answering())

        with pytest.raises(NotImplementedError, match=kind):
            await desk.recording({"type": kind}, _silent, desk._send)

        assert [] == desk.journal.kept


TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class TestWhereItCameFrom:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([PARENT], TRACE),
            ([f"cc{PARENT[2:]}-what-comes-later"], TRACE),
            ([], None),
            ([PARENT, PARENT], None),
            ([f"{PARENT}-more"], TRACE),
            ([f"ff{PARENT[2:]}"], None),
            ([PARENT.upper()], None),
            ([PARENT.replace(TRACE, "0" * 32)], None),
            ([PARENT[:-1]], None),
            ([f" {PARENT}"], None),
            (["s3cret"], None),
        ],
    )
    async def test_the_trace(self, values: list[str], expected: str | None) -> None:
        """A valid traceparent (W3C Trace Context) gives the trace id, anything else nothing."""
        desk = Desk(answering())

        await desk.ask(*((b"traceparent", value.encode()) for value in values))

        entry: Entry = desk.scope[ENTRY]
        assert expected == entry.trace_id

    @pytest.mark.parametrize(("client", "peer"), [(("192.0.2.7", 1), "192.0.2.7"), (None, None)])
    async def test_the_peer(self, client: Any, peer: str | None) -> None:
        """The peer's address without its port, if there is one."""
        desk = Desk(answering())

        await desk.ask(client=client)

        entry: Entry = desk.scope[ENTRY]
        assert peer == entry.peer


class TestTheWholeService:
    async def test_a_cancel_while_gigya_is_asked(self, tmp_path: Path) -> None:
        """A request that is cancelled has its record, with what was known by then."""
        house = House(tmp_path)
        house.simulator.knobs.turn(hold=asyncio.Event())
        async with house.open() as visitor:
            task = asyncio.create_task(visitor.ask())
            await house.simulator.calls.arrive(1)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        [record] = house.records()
        assert ("cancelled", "allow", "twitter") == tuple(
            record[name] for name in ("outcome", "decision", "provider")
        )
        assert not {"released", "names_released", "tokens"} & set(record)

    async def test_a_caller_that_leaves_while_gigya_is_asked(self, tmp_path: Path) -> None:
        """Nobody waits for the answer: the request ends, and nothing is released."""
        house = House(tmp_path)
        house.simulator.knobs.turn(hold=asyncio.Event())
        head = (
            f"POST /v1/provider-tokens HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {TOKEN}"
            f"\r\nContent-Type: application/json\r\nContent-Length: {len(ASK)}\r\n\r\n"
        )
        done = asyncio.Event()
        async with house.open() as visitor, listening(visitor.application.api) as door:
            recording: Any = visitor.application.api
            recording._observe = lambda _: done.set()
            async with door.client() as client:
                client.writer.write(head.encode() + ASK)
                await house.simulator.calls.arrive(1)
            await done.wait()

        [record] = house.records()
        assert ("caller-gone", "crm") == (record["outcome"], record["caller"]["name"])
        assert "released" not in record

    async def test_a_caller_that_leaves_before_its_request_is_complete(
        self, tmp_path: Path
    ) -> None:
        """Nobody was there to be answered: caller-gone, with the caller's name."""
        house = House(tmp_path)
        async with house.open() as visitor:
            await visitor.exchange(body(b"{", more=True), {"type": "http.disconnect"})

        [record] = house.records()
        assert ("caller-gone", "crm") == (record["outcome"], record["caller"]["name"])
        assert "status" not in record

    async def test_a_bug(self, tmp_path: Path) -> None:
        """A bug has its record and its line, with places and no words of it."""
        house = House(tmp_path)
        async with house.open() as visitor:
            recording: Any = visitor.application.api
            recording._app = raising(RuntimeError("s3cret"))
            answer = await visitor.ask()

        assert (500, "internal-error") == (answer.status_code, answer.json()["code"])
        [record] = house.records()
        assert ("internal-error", "internal-error", 500) == tuple(
            record[name] for name in ("outcome", "reason", "status")
        )
        [line] = house.lines("unexpected")
        assert answer.json()["audit_id"] == line["audit_id"] == record["audit_id"]
        assert "RuntimeError" == line["error"][0]["type"]
        assert any("test_recording.py" in place for place in line["error"][0]["at"])
        assert "s3cret" not in house.log.getvalue() + str(house.records())
