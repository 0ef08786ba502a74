import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.audit.record import RELEASED, Entry
from service.logs import LEVELS, REQUEST, Log, places, request_line
from service.model import (
    Caller,
    CallerName,
    Exchange,
    Identity,
    ProviderName,
    ProviderTokens,
    SiteName,
    Uid,
)
from service.secret import Secret
from tests.audit.test_record import ENTRIES, RELEASES

SECRET = "s3cret-s3cret-s3cret"
MOMENT = datetime(2027, 1, 15, 8, 0, 0, 250_000, tzinfo=UTC)
CRM = Caller(name=CallerName("crm"), identity=Identity(via="tokens", subject="the-crm"))


class Written:
    """A log and what is in it."""

    def __init__(self, **options: Any) -> None:
        self.stream = io.StringIO()
        self.log = Log(self.stream, **{"form": "json", **options})

    @property
    def text(self) -> str:
        """Everything that was written."""
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines, without their times."""
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [{k: v for k, v in line.items() if k != "timestamp"} for line in lines]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Standing:
    """A clock that stands still."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self, tz: tzinfo) -> datetime:
        return self._at.astimezone(tz)


def failing(error: BaseException) -> BaseException:
    """Return ``error`` as it is when it was raised in a function that knows a secret."""
    known = SECRET
    try:
        raise error
    except type(error) as raised:
        assert known == SECRET
        return raised


class TestLog:
    def test_is_a_line_of_json(self) -> None:
        """An event is one line with its facts, its level and the time in UTC."""
        written = Written()

        written.log.warning("reload", name="callers", generation=2)

        [line] = map(json.loads, written.text.splitlines())
        time = datetime.fromisoformat(line.pop("timestamp"))
        assert UTC.utcoffset(None) == time.utcoffset()
        assert {"event": "reload", "level": "warning", "name": "callers", "generation": 2} == line

    @given(st.datetimes(timezones=st.just(UTC)))
    def test_tells_the_time_in_one_way(self, at: datetime) -> None:
        """The time is written the same whatever else is in the line, and for whomever it is."""
        machines, people = Written(), Written(form="console")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("service.logs.datetime", Standing(at))
            machines.log.info("event")
            machines.log.info("event", half="\ud800")
            people.log.info("event")

        told = [json.loads(line)["timestamp"] for line in machines.text.splitlines()]
        assert [at.isoformat().replace("+00:00", "Z")] * 2 == told
        assert told[0] in people.text

    @pytest.mark.parametrize("level", LEVELS)
    def test_says_what_is_grave_enough(self, level: str) -> None:
        """Only events of the level and above are written."""
        written = Written(level=level)

        for name in ("info", "warning", "error"):
            getattr(written.log, name)("event")

        grave = LEVELS[LEVELS.index(level) :]
        assert [name for name in grave if name != "debug"] == [x["level"] for x in written.lines]

    def test_changes_its_level_while_running(self) -> None:
        """A new level holds from the next event on."""
        written = Written(level="error")

        written.log.info("before")
        written.log.set_level("info")
        written.log.info("after")

        assert ["after"] == [line["event"] for line in written.lines]

    @given(ENTRIES, st.sampled_from(("json", "console")))
    def test_writes_a_request_as_any_other_event(self, entry: Entry, form: str) -> None:
        """The line of a request, which goes a shorter way, is what the logger would write."""
        straight, by_the_logger = Written(form=form), Written(form=form)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("service.logs.datetime", Standing(MOMENT))
            straight.log.request(entry, 0.25)
            by_the_logger.log.info(REQUEST, **request_line(entry, 0.25))

        assert straight.text == by_the_logger.text != ""

    @pytest.mark.parametrize("level", LEVELS)
    def test_writes_requests_where_it_writes_info(self, level: str) -> None:
        """A request is no news where only what is graver is wanted."""
        written = Written(level=level)

        written.log.info("event")
        written.log.request(Entry("an-audit-id"), 0.0)

        assert ([], ["event", "request"])[level in ("debug", "info")] == [
            line["event"] for line in written.lines
        ]

    def test_is_for_people_on_a_terminal(self) -> None:
        """``auto`` writes JSON into a file or pipe, and for people on a terminal."""
        terminal, pipe = Terminal(), io.StringIO()

        for stream in (terminal, pipe):
            Log(stream, form="auto").info("listening", port=8080)

        assert "listening" in terminal.getvalue()
        assert not terminal.getvalue().startswith("{")
        assert 8080 == json.loads(pipe.getvalue())["port"]

    def test_shows_only_the_type_of_what_is_no_json(self) -> None:
        """A secret, octets or an object in a line is a mistake that says its type and no more."""
        written = Written()

        written.log.info("mistake", one=Secret(SECRET), two=object(), three=SECRET.encode())

        [line] = written.lines
        assert ("Secret", "object", "bytes") == (line["one"], line["two"], line["three"])
        assert SECRET not in written.text

    @given(
        st.dictionaries(
            st.sampled_from(["a", "b", "c"]),
            st.text(st.characters(exclude_categories=()))
            | st.binary()
            | st.floats()
            | st.integers(),
        )
    )
    def test_never_fails_and_never_breaks_a_line(self, facts: dict[str, Any]) -> None:
        """Whatever the facts are, an event is one line."""
        written = Written()

        written.log.info("event", **facts)

        assert 1 == written.text.count("\n")
        assert {"event", *facts} == set(json.loads(written.text)) - {"level", "timestamp"}


class TestConsole:
    def test_no_value_moves_the_cursor(self) -> None:
        """Control characters and escape sequences of a value are written out, on one line."""
        written = Written(form="console")

        written.log.info("event", peer="\x1b[2Jgone\r\nfaked", name="plain")

        assert "\x1b[2J" not in written.text
        assert 1 == written.text.count("\n")
        assert "\\x1b[2Jgone\\r\\nfaked" in written.text


class TestNeverFails:
    @pytest.mark.parametrize("say", ["info", "warning", "error"])
    def test_without_a_stream(self, say: str) -> None:
        """Where nothing can be written, nothing is said, and nobody fails."""
        written = Written()
        written.stream.close()

        getattr(written.log, say)("event")
        written.log.unexpected(failing(RuntimeError(SECRET)))
        written.log.loop_failed(None, {})
        written.log.request(Entry(audit_id="0"), 0.0)

    def test_with_facts_that_have_no_end(self) -> None:
        """Nor does anybody for a fact that cannot be written down."""
        written, endless = Written(), list[Any]()
        endless.append(endless)

        written.log.info("event", endless=endless)
        written.log.info("next")

        assert "next" in written.text


class TestUnexpected:
    def test_has_places_and_no_words(self) -> None:
        """Where something failed is told by type, file, line and function, nothing else."""
        written = Written()

        written.log.unexpected(failing(RuntimeError(SECRET)), audit_id="0")

        [line] = written.lines
        assert ("unexpected", "error", "0") == (line["event"], line["level"], line["audit_id"])
        [told] = line["error"]
        assert "RuntimeError" == told["type"]
        assert any("test_logs.py" in place and place.endswith(" failing") for place in told["at"])
        assert SECRET not in written.text

    def test_follows_causes_so_far_and_no_further(self) -> None:
        """Causes and contexts are told, a few of them, and a circle of them comes to an end."""
        first: BaseException = failing(KeyError(SECRET))
        for _ in range(9):
            error = failing(ValueError(SECRET))
            error.__cause__ = first
            first = error
        circle = failing(OSError(SECRET))
        circle.__context__ = failing(TypeError(SECRET))
        circle.__context__.__context__ = circle

        assert ["ValueError"] * 5 == [each["type"] for each in places(first)["error"]]
        assert {"OSError", "TypeError"} == {each["type"] for each in places(circle)["error"]}

    def test_what_the_event_loop_saw(self) -> None:
        """What only the loop saw is told by the loop's own words and places, no object."""
        written = Written()
        task = type("Task", (), {"__repr__": lambda _: SECRET})()

        written.log.loop_failed(
            None,
            {
                "message": "Task exception was never retrieved",
                "exception": failing(RuntimeError(SECRET)),
                "future": task,
            },
        )
        written.log.loop_failed(None, {"message": "socket.send() raised", "task": task})

        assert ["Task exception was never retrieved", "socket.send() raised"] == [
            line["message"] for line in written.lines
        ]
        assert "RuntimeError" == written.lines[0]["error"][0]["type"]
        assert {"unexpected"} == {line["event"] for line in written.lines}
        assert SECRET not in written.text


class TestRequestLine:
    def test_says_what_an_engineer_greps_for(self) -> None:
        """The canonical line of a release has everything but the user and the tokens."""
        entry = Entry(
            audit_id="0" * 32,
            trace_id="1" * 32,
            route="/v1/provider-tokens",
            method="POST",
            peer="192.0.2.7",
            caller=CRM,
            site=SiteName("shop"),
            provider=ProviderName("twitter"),
            uid=Uid(SECRET),
            tokens=ProviderTokens({"oauth_token": Secret(SECRET)}, (), (), ()),
            decision="allow",
            rule="crm/grants[0]",
            reason="granted",
            outcome=RELEASED,
            status=200,
            exchange=Exchange(error_code=0, call_id="c", attempts=2, milliseconds=12.3456),
        )

        assert {
            "audit_id": "0" * 32,
            "trace_id": "1" * 32,
            "route": "/v1/provider-tokens",
            "method": "POST",
            "caller": "crm",
            "site": "shop",
            "provider": "twitter",
            "outcome": "released",
            "reason": "granted",
            "rule": "crm/grants[0]",
            "status": 200,
            "milliseconds": 12.346,
            "gigya_error_code": 0,
            "gigya_call_id": "c",
            "gigya_attempts": 2,
            "gigya_milliseconds": 12.346,
            "cached": False,
        } == request_line(entry, 0.0123456)

    @pytest.mark.parametrize(("method", "expected"), [("GET", "GET"), ("X" * 200, "other")])
    def test_tells_methods_that_there_are(self, method: str, expected: str) -> None:
        """A method that somebody made up is no word of the log."""
        assert expected == request_line(Entry(audit_id="0", method=method), 0.0)["method"]

    def test_leaves_out_what_is_not_known(self) -> None:
        """A request that came to nothing has a short line."""
        assert {"audit_id": "0", "outcome": "internal-error", "milliseconds": 0.0} == (
            request_line(Entry(audit_id="0"), 0.0)
        )

    @given(ENTRIES)
    def test_nothing_stands_for_what_is_not_known(self, entry: Entry) -> None:
        """Whatever is known of a request, no member of its line is null."""
        assert None not in request_line(entry, 0.0).values()

    @given(RELEASES)
    def test_a_release_is_told_as_any_request(self, entry: Entry) -> None:
        """Of a release nothing stands or lacks that would not in another request's line."""
        of_a_release = request_line(entry, 0.0)
        entry.outcome = "answered"
        assert of_a_release == request_line(entry, 0.0) | {"outcome": RELEASED}


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Put the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = threading.excepthook, sys.unraisablehook
    yield root
    threading.excepthook, sys.unraisablehook = hooks
    root.handlers[:] = handlers
    root.setLevel(level)


class TestTakeOver:
    def test_libraries_write_here_in_the_same_form(self, root: logging.Logger) -> None:
        """A library's warning is a line like ours; its INFO, which may have URLs, is not."""
        written = Written(level="debug")

        written.log.take_over()
        logging.getLogger("httpx").info("GET https://gigya.example/?secret=%s", SECRET)
        logging.getLogger("asyncio").warning("slow by %s seconds", 3)

        assert [{"event": "slow by 3 seconds", "level": "warning"}] == written.lines
        assert 1 == len(root.handlers)

    @pytest.mark.usefixtures("root")
    @pytest.mark.parametrize("form", ["json", "console"])
    def test_lines_are_ours_to_the_letter(self, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a library says looks as if we had said it, the time and the order included."""
        monkeypatch.setattr("service.logs.datetime", Standing(MOMENT))
        written = Written(form=form)
        written.log.take_over()

        logging.getLogger("asyncio").error("slow")
        written.log.error("slow")

        theirs, ours = written.text.splitlines()
        assert "2027-01-15T08:00:00.250000Z" in theirs
        assert theirs == ours

    def test_tracebacks_of_libraries_are_places(self, root: logging.Logger) -> None:
        """An exception that a library logs is told by type and place, without words or locals."""
        written = Written()
        written.log.take_over()

        failed = failing(RuntimeError(SECRET))
        root.error("it failed", exc_info=failed)

        [line] = written.lines
        assert ("it failed", "RuntimeError") == (line["event"], line["error"][0]["type"])
        assert SECRET not in written.text

    @pytest.mark.usefixtures("root")
    def test_objects_in_a_librarys_line_are_types(self) -> None:
        """What an exception or another object says of itself is not written, whatever the form."""
        written = Written()
        written.log.take_over()

        library = logging.getLogger("library")
        library.error("failed: %s after %d of %.1f s", ValueError(SECRET), 2, 0.5)
        library.error("%(what)s: %(why)r", {"what": "failed", "why": KeyError(SECRET)})

        assert ["failed: ValueError after 2 of 0.5 s", "failed: 'KeyError'"] == [
            line["event"] for line in written.lines
        ]
        assert SECRET not in written.text

    @pytest.mark.usefixtures("root")
    def test_a_library_that_garbles_its_line(self) -> None:
        """A line that cannot be made is told by the place, without what was to be in it."""
        written = Written()
        written.log.take_over()

        logging.getLogger("garbler").error("%d of these", SECRET)

        [line] = written.lines
        assert ("unexpected", "garbler") == (line["event"], line["logger"])
        assert "TypeError" == line["error"][0]["type"]
        assert SECRET not in written.text

    @pytest.mark.usefixtures("root")
    def test_a_thread_that_dies(self) -> None:
        """What ends a thread is told by type and place; Python's own words have the message."""
        written = Written()
        written.log.take_over()

        def fail() -> None:
            raise RuntimeError(SECRET)

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

        [line] = written.lines
        assert ("unexpected", "RuntimeError") == (line["event"], line["error"][0]["type"])
        assert SECRET not in written.text

    @pytest.mark.usefixtures("root")
    def test_what_cannot_be_raised(self) -> None:
        """So is what fails where nobody can be told, as in an object's end."""
        written = Written()
        written.log.take_over()

        class Failing:
            def __del__(self) -> None:
                raise RuntimeError(SECRET)

        Failing()

        [line] = written.lines
        assert ("unexpected", "RuntimeError") == (line["event"], line["error"][0]["type"])
        assert SECRET not in written.text

    def test_a_line_is_no_graver_than_asked(self, root: logging.Logger) -> None:
        """Where only errors are asked for, a library's warnings are not written either."""
        written = Written(level="error")
        written.log.take_over()

        root.warning("not this")
        root.error("this")

        assert ["this"] == [line["event"] for line in written.lines]
