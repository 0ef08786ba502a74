"""Every failure that is injected, and what the service makes of it: the README's table is this one.

``python -m tests.resilience.failures`` prints it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any, Final

from service.simulator.expiries import ExpiryForm
from service.simulator.knobs import Body, Knob, Seal, Wire
from service.simulator.tls import LOOPBACK, Authority, Certificate
from tests.house import House
from tests.resilience import failure_proxy as proxy
from tests.resilience.failure_proxy import Act

GIGYA: Final = ("socialize.us1.gigya.com",)
"""The name that is really asked for where a proxy leads to the simulator."""


class Way(StrEnum):
    """How the service reaches Gigya in a row."""

    PLAIN = "http"
    TLS = "https"
    PROXY = "connect"  # https through an HTTP proxy


class Breaker(StrEnum):
    """What the breaker makes of it."""

    FAILURE = "counts as a failure"
    REJECTION = "counts as a rejection"
    RIGHTS = "counts as a rejection, once for each session"
    PAUSE = "counts as a request to slow down"
    SESSION = "none; three in a row, and the session rests"
    PROVIDER = "none; three in a row, and the provider rests"
    ANSWER = "none: Gigya answered"
    UNASKED = "none: Gigya is not asked"


class Port(StrEnum):
    """What is at the address of Gigya."""

    GIGYA = "gigya"
    REFUSED = "refused"
    FULL = "full"


Certify = Callable[[Authority], Certificate]
NOW: Final = datetime.now(UTC)
HOUR: Final = timedelta(hours=1)


def good(authority: Authority) -> Certificate:
    """Return a certificate for where Gigya really is."""
    return authority.certificate((*LOOPBACK, *GIGYA))


def another_name(authority: Authority) -> Certificate:
    """Return a certificate for somebody else."""
    return authority.certificate(("gigya.example",))


def expired(authority: Authority) -> Certificate:
    """Return a certificate of yesterday."""
    return authority.certificate(not_before=NOW - 48 * HOUR, not_after=NOW - 24 * HOUR)


def too_new(authority: Authority) -> Certificate:
    """Return a certificate of tomorrow."""
    return authority.certificate(not_before=NOW + 24 * HOUR, not_after=NOW + 48 * HOUR)


def foreign(_: Authority) -> Certificate:
    """Return a certificate by an authority that nobody knows."""
    return Authority().certificate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is injected (the first half), and what must come of it (the second).

    ``deadline`` is the service's, in seconds; ``calls`` are attempts at Gigya, and ``arrives``
    whether they get there.
    """

    group: str
    what: str
    knob: Knob | None = None
    act: Act = proxy.relay
    way: Way = Way.PLAIN
    port: Port = Port.GIGYA
    certify: Certify = good
    arrange: Callable[[House], None] = lambda _: None
    ask: Mapping[str, Any] = field(default_factory=dict)
    deadline: float = 5.0

    status: int
    code: str
    calls: int
    breaker: Breaker
    reason: str
    arrives: bool = True


_COUNTS: Final[Mapping[str, Any]] = {"breaker": Breaker.FAILURE}
_ANSWER: Final[Mapping[str, Any]] = {"breaker": Breaker.ANSWER}
_OURS: Final[Mapping[str, Any]] = {"breaker": Breaker.REJECTION}
_AWAY: Final[Mapping[str, Any]] = {"status": 503, "code": "upstream-unavailable", **_COUNTS}
_LATE: Final[Mapping[str, Any]] = {
    "status": 504, "code": "upstream-timeout", "calls": 1, "reason": "timeout", "deadline": 0.35,
    **_COUNTS,
}  # fmt: skip
_INVALID: Final[Mapping[str, Any]] = {"status": 502, "code": "upstream-invalid", **_COUNTS}
_REJECTED: Final[Mapping[str, Any]] = {"status": 502, "code": "upstream-rejected", "calls": 1}
_SERVED: Final[Mapping[str, Any]] = {
    "status": 200, "code": "released", "reason": "granted", **_ANSWER,
}  # fmt: skip
_BROKEN: Final[Mapping[str, Any]] = {**_INVALID, "calls": 3, "reason": "broken-reply"}
_CUT: Final[Mapping[str, Any]] = {**_AWAY, "calls": 3, "reason": "unreachable-connection-lost"}
_LOST: Final[Mapping[str, Any]] = {"arrives": False}


def _network() -> Iterator[Failure]:
    network = "The way to Gigya"

    def row(what: str, **more: Any) -> Failure:
        return Failure(group=network, what=what, **more)

    yield row(
        "connection refused", port=Port.REFUSED, **_AWAY, **_LOST, calls=3,
        reason="unreachable-refused",
    )  # fmt: skip
    yield row(
        "connection never accepted (firewall)",
        port=Port.FULL,
        **_AWAY,
        **_LOST,
        calls=3,
        reason="unreachable-connect-timeout",
    )
    yield row("reset when the connection is accepted", act=proxy.reset_at_once, **_CUT, **_LOST)
    yield row("closed when the connection is accepted", act=proxy.close_at_once, **_CUT, **_LOST)
    yield row(
        "reset at the first octet of the request", act=proxy.reset_at_first_word, **_CUT, **_LOST
    )
    yield row("reset after the request", act=proxy.reset_after_request, **_CUT, **_LOST)
    yield row("closed after the request", act=proxy.close_after_request, **_CUT, **_LOST)
    yield row("reset in the answer's head", act=proxy.reset_after_answer_begins, **_CUT)
    yield row("reset after the answer's head", knob=Knob(wire=Wire.RESET_AFTER_HEADERS), **_BROKEN)
    yield row("reset in the answer's body", knob=Knob(wire=Wire.RESET_IN_BODY), **_BROKEN)
    yield row("lost once, then well", knob=Knob(wire=Wire.RESET, times=1), **_SERVED, calls=2)
    yield row(
        "black hole: the connection is taken, nothing comes",
        act=proxy.say_nothing,
        **_LATE,
        **_LOST,
    )
    yield row("no answer to the request", knob=Knob(wire=Wire.SILENCE), **_LATE)
    yield row("an octet at a time, from the status line on", act=proxy.drip_all, **_LATE)
    yield row("an octet at a time, in the body", act=proxy.drip_body, **_LATE)
    yield row("all but the last octet, then nothing", act=proxy.stall_in_body, **_LATE)
    yield row("all but the last octet, then closed", act=proxy.close_in_body, **_BROKEN)
    yield row("half of the body, then closed", knob=Knob(wire=Wire.TRUNCATE), **_BROKEN)
    yield row("slower than the deadline", knob=Knob(delay=60), **_LATE)


def _tls() -> Iterator[Failure]:
    def row(what: str, **more: Any) -> Failure:
        return Failure(group="TLS and proxy", what=what, **{"way": Way.TLS, **more})

    wall: Mapping[str, Any] = {**_AWAY, **_LOST, "calls": 1, "reason": "unreachable-tls"}
    gate: Mapping[str, Any] = {**_AWAY, **_LOST, "calls": 3, "reason": "unreachable-proxy"}
    yield row("certificate for another name", certify=another_name, **wall)
    yield row("certificate that has expired", certify=expired, **wall)
    yield row("certificate that is not valid yet", certify=too_new, **wall)
    yield row("certificate by an unknown authority", certify=foreign, **wall)
    yield row(
        "reset in the handshake",
        act=proxy.reset_at_first_word,
        **_AWAY,
        **_LOST,
        calls=3,
        reason="unreachable-connection-lost",
    )
    yield row(
        "no answer to the handshake",
        act=proxy.say_nothing,
        **_AWAY,
        **_LOST,
        calls=3,
        reason="unreachable-connect-timeout",
    )
    yield row(
        "something that is not TLS", act=proxy.greet(b"220 mail.example.com ESMTP\r\n"), **wall
    )
    yield row("proxy away", way=Way.PROXY, port=Port.REFUSED, **gate)
    yield row(
        "proxy asks for a password (407)",
        way=Way.PROXY,
        act=proxy.gateway(b"407 Proxy Authentication Required"),
        **gate,
    )
    yield row(
        "proxy cannot reach Gigya (502)",
        way=Way.PROXY,
        act=proxy.gateway(b"502 Bad Gateway"),
        **gate,
    )
    yield row(
        "proxy reads TLS with its own authority",
        way=Way.PROXY,
        certify=foreign,
        act=proxy.gateway(b"200 OK"),
        **wall,
    )
    yield row(
        "proxy as it should be", way=Way.PROXY, act=proxy.gateway(b"200 OK"), **_SERVED, calls=1
    )


def _answers() -> Iterator[Failure]:
    def row(what: str, **more: Any) -> Failure:
        return Failure(group="What answers is not Gigya, or not whole", what=what, **more)

    malformed: Mapping[str, Any] = {**_INVALID, "calls": 3, "reason": "malformed-reply"}
    gateway: Mapping[str, Any] = {**_AWAY, "calls": 3, "reason": "gateway-error"}
    large: Mapping[str, Any] = {**_INVALID, "calls": 1, "reason": "too-large"}
    html = Body.HTML
    yield row(
        "not HTTP", act=proxy.script(b"220 mail.example.com ESMTP\r\n\r\n"), **_BROKEN, **_LOST
    )
    yield row(
        "head over 8 KiB a line",
        act=proxy.script(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 20_000 + b"\r\n\r\n"),
        **_BROKEN,
        **_LOST,
    )
    yield row(
        "chunks that are none",
        act=proxy.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        **_BROKEN,
        **_LOST,
    )
    yield row("length shorter than the body", act=proxy.length_too_short, **_BROKEN)
    yield row("length longer than the body", act=proxy.length_too_long, **_BROKEN)
    yield row("empty body", knob=Knob(body=Body.EMPTY), **malformed)
    yield row("empty body once, then well", knob=Knob(body=Body.EMPTY, times=1), **_SERVED, calls=2)
    yield row("garbage", knob=Knob(body=Body.GARBAGE), **malformed)
    yield row("half of the JSON", knob=Knob(body=Body.HALF), **malformed)
    yield row("JSON that is no object", knob=Knob(body=Body.ARRAY), **malformed)
    yield row("a member twice", knob=Knob(body=Body.DUPLICATE), **malformed)
    yield row("nested very deep", knob=Knob(body=Body.DEEP), **large)
    yield row("not UTF-8", knob=Knob(body=Body.NOT_UTF8), **malformed)
    yield row("1 MiB", knob=Knob(body=Body.HUGE), **large)
    yield row(
        "gzip, though none was asked for",
        knob=Knob(body=Body.GZIP),
        **_INVALID,
        calls=1,
        reason="encoded-body",
    )
    yield row(
        "gzip bomb of 64 MiB",
        knob=Knob(body=Body.GZIP_BOMB, body_size=64 << 20),
        **_INVALID,
        calls=1,
        reason="encoded-body",
    )
    yield row("HTML with 200", knob=Knob(body=html), **malformed)
    yield row(
        "HTML with 404",
        knob=Knob(body=html, http_status=404),
        **_INVALID,
        calls=1,
        reason="not-gigya",
    )
    yield row("HTML with 500", knob=Knob(body=html, http_status=500), **gateway)
    yield row("HTML with 503", knob=Knob(body=html, http_status=503), **gateway)
    yield row(
        "HTML with 429 and Retry-After: 7",
        knob=Knob(body=html, http_status=429, headers={"retry-after": "7"}),
        status=503,
        code="upstream-busy",
        calls=1,
        breaker=Breaker.PAUSE,
        reason="http-429",
    )
    yield row(
        "redirect",
        knob=Knob(body=html, http_status=302, headers={"location": "/else"}),
        **_INVALID,
        calls=1,
        reason="redirect",
    )
    yield row(
        "another request's context",
        knob=Knob(context="of-another"),
        **{**_INVALID, **_ANSWER},
        calls=1,
        reason="foreign-context",
    )
    yield row(
        "success without a token",
        knob=Knob(members={"authToken": None}),
        **{**_INVALID, **_ANSWER},
        calls=1,
        reason="gigya-no-auth-token",
    )
    yield row(
        "an expiry in no known form",
        knob=Knob(expiry_form=ExpiryForm.GARBAGE),
        ask={"uid": "user-facebook", "provider": "facebook"},
        **{**_INVALID, **_ANSWER},
        calls=1,
        reason="unreadable-expiry",
    )


_PAUSE: Final = "the pause it asks for is longer than the deadline"
_BUSY: Final = (503, "upstream-busy", Breaker.SESSION)
_DOWN: Final = (503, "upstream-unavailable", Breaker.FAILURE)
_NO: Final = (502, "upstream-rejected", Breaker.ANSWER)
_KEYS: Final = (502, "upstream-rejected", Breaker.REJECTION)
_ODD: Final = (502, "upstream-invalid", Breaker.ANSWER)
_AGAIN: Final = (409, "reauthentication-required", Breaker.ANSWER)
_NONE: Final = (404, "no-session", Breaker.ANSWER)
_CODES: Final[tuple[tuple[tuple[int, str, Breaker], int, tuple[int, ...]], ...]] = (
    (_NONE, 1, (403005, 404000, 404003, 400106)),
    (_AGAIN, 1, (403009, 403011, 403012, 403017, 403022, 403023, 500014)),
    (_BUSY, 3, (409030,)),
    (_DOWN, 3, (500001, 500028, 500034)),
    ((503, "upstream-unavailable", Breaker.PROVIDER), 3, (500023,)),
    ((504, "upstream-timeout", Breaker.FAILURE), 3, (504001, 504002)),
    (_NO, 1, (400001, 400002, 400006, 400030, 403001, 403026, 405001, 500002, 500003, 500031)),
    (_KEYS, 1, (301001, 400008, 400093, 403003, 403006, 403010, 403036)),
    ((502, "upstream-rejected", Breaker.RIGHTS), 1, (403000, 403007, 403041)),
    ((400, "unknown-provider", Breaker.ANSWER), 1, (400096,)),
    (_ODD, 1, (200008, 500000, 500033)),
    (_ODD, 3, (500026,)),
)  # fmt: skip
"""What each of Gigya's codes becomes, and after how many calls."""


def _codes() -> Iterator[Failure]:
    group = "Gigya's codes"
    for (status, code, breaker), calls, numbers in _CODES:
        for number in numbers:
            yield Failure(
                group=group, what=str(number), knob=Knob(error_code=number), status=status,
                code=code, calls=calls, breaker=breaker, reason=f"gigya-{number}",
            )  # fmt: skip
    for number, (status, code, breaker) in {
        100001: _DOWN,
        403024: (503, "upstream-busy", Breaker.PROVIDER),
        403048: (503, "upstream-busy", Breaker.PAUSE),
    }.items():  # fmt: skip
        yield Failure(
            group=group, what=f"{number}; {_PAUSE}", knob=Knob(error_code=number), status=status,
            code=code, calls=1, breaker=breaker, reason=f"gigya-{number}", deadline=0.4,
        )  # fmt: skip
    yield Failure(
        group=group, what="a code in no list", knob=Knob(error_code=499_999), status=502,
        code="upstream-invalid", calls=1, breaker=Breaker.ANSWER, reason="gigya-unlisted-code",
    )  # fmt: skip
    yield Failure(
        group=group, what="500001 once, then well", knob=Knob(error_code=500001, times=1),
        **_SERVED, calls=2,
    )  # fmt: skip


def _sealing() -> Iterator[Failure]:
    def row(what: str, **more: Any) -> Failure:
        return Failure(group="Sealed fields", what=what, **{"calls": 1, **_ANSWER, **more})

    shut: Mapping[str, Any] = {"status": 502, "code": "undecryptable", "reason": "undecryptable"}
    plain: Mapping[str, Any] = {**_REJECTED, "reason": "came-back-plain"}
    yield row("sealed by another key", knob=Knob(seal=Seal.WRONG_KEY), **shut)
    yield row("wrong padding", knob=Knob(seal=Seal.WRONG_PADDING), **shut)
    yield row("part of a block", knob=Knob(seal=Seal.PART_OF_A_BLOCK), **plain)
    yield row("no IV", knob=Knob(seal=Seal.NO_IV), **shut)
    yield row("short IV", knob=Knob(seal=Seal.SHORT_IV), **shut)
    yield row("not base64", knob=Knob(seal=Seal.NOT_BASE64), **plain)
    yield row("plain, without a word", knob=Knob(seal=Seal.PLAIN), **plain)
    yield row(
        "plain, and `encrypt` among the ignored parameters",
        knob=Knob(ignores=frozenset({"encrypt"})),
        **plain,
    )
    yield row(
        "sealed by the older of two partner secrets", arrange=_newer_partner_secret, **_SERVED
    )


def _credentials() -> Iterator[Failure]:
    def row(what: str, **more: Any) -> Failure:
        return Failure(group="Who we are to Gigya", what=what, **more)

    yield row("our clock ten minutes slow", arrange=_clock(600), **_SERVED, calls=2)
    yield row("our clock ten minutes fast", arrange=_clock(-600), **_SERVED, calls=2)
    yield row(
        "403002, and the clocks agree",
        knob=Knob(error_code=403002),
        arrange=_clock(0),
        **_REJECTED,
        **_OURS,
        reason="gigya-403002",
    )
    yield row(
        "a nonce refused once",
        knob=Knob(error_code=403004, times=1),
        arrange=_clock(0),
        **_SERVED,
        calls=2,
    )
    yield row(
        "every nonce refused",
        knob=Knob(error_code=403004),
        arrange=_clock(0),
        **{**_REJECTED, "calls": 2},
        **_OURS,
        reason="gigya-403004",
    )
    yield row(
        "the user key's secret was replaced at Gigya",
        arrange=_another_secret,
        **_REJECTED,
        breaker=Breaker.REJECTION,
        reason="gigya-403010",
    )
    yield row("the same, and the new one is there beside it", arrange=_rotating, **_SERVED, calls=2)
    yield row(
        "the user key lost its rights",
        arrange=_no_rights,
        **_REJECTED,
        breaker=Breaker.RIGHTS,
        reason="gigya-403007",
    )
    yield row(
        "an API key that Gigya does not know",
        arrange=_api_key("3_of-nobody"),
        **_REJECTED,
        **_OURS,
        reason="gigya-400093",
    )
    yield row(
        "an API key of another data center (301001)",
        arrange=_elsewhere,
        **_REJECTED,
        **_OURS,
        reason="gigya-301001",
    )
    yield row(
        "an access token refused once",
        arrange=_oauth,
        knob=Knob(error_code=403025, times=1, method="socialize.getSessionInfo"),
        **_SERVED,
        calls=2,
    )
    yield row(
        "every access token refused",
        arrange=_oauth,
        knob=Knob(error_code=403025, method="socialize.getSessionInfo"),
        **{**_REJECTED, "calls": 2},
        **_OURS,
        reason="gigya-403025",
    )
    yield row(
        "no access token to be had",
        arrange=_oauth,
        knob=Knob(method="socialize.getToken", body=Body.HTML, http_status=503),
        **_AWAY,
        **_LOST,
        calls=3,
        reason="gateway-error",
    )


def _ours() -> Iterator[Failure]:
    yield Failure(
        group="Here",
        what="the audit cannot be written",
        arrange=_no_audit,
        status=503,
        code="audit-unavailable",
        calls=0,
        breaker=Breaker.UNASKED,
        reason="audit-unavailable",
    )


def _newer_partner_secret(house: House) -> None:
    house.settings["sites"]["shop"]["partner_secret_files"].insert(0, "/secrets/newer")
    house.files["/secrets/newer"] = b"bmV3ZXItcGFydG5lci1zZWNyZXQtbmV3ZXItcGFydDE="


def _clock(ahead: float) -> Callable[[House], None]:
    def arrange(house: House) -> None:
        house.ahead = ahead
        _method(house, method="user_key_signed")

    return arrange


def _method(house: House, **changes: Any) -> None:
    ways = house.settings["sites"]["shop"]["authentication"]
    ways["current"] = {**ways["current"], **changes}


def _oauth(house: House) -> None:
    _method(house, method="oauth2")


def _another_secret(house: House) -> None:
    _change_key(house, secrets=("YW5vdGhlciBzZWNyZXQgb2YgdGhlIHVzZXIga2V5IQ==",))


def _rotating(house: House) -> None:
    ways = house.settings["sites"]["shop"]["authentication"]
    ways["previous"] = {**ways["current"]}
    ways["current"] = {**ways["current"], "secret_file": "/secrets/newer-user"}
    house.files["/secrets/newer-user"] = b"bm90IHlldCBhY3RpdmUgYXQgR2lneWEsIHNhZGx5ISE="


def _no_rights(house: House) -> None:
    _change_key(house, may=frozenset())


def _change_key(house: House, **changes: Any) -> None:
    site, name = house.gigya.site, house.gigya.user_key
    key = replace(site.user_keys[name], **changes)
    house.gigya.world.change(site.api_key, user_keys={name: key})


def _api_key(value: str) -> Callable[[House], None]:
    def arrange(house: House) -> None:
        house.settings["sites"]["shop"]["api_key"] = value

    return arrange


def _elsewhere(house: House) -> None:
    house.settings["sites"]["shop"]["api_key"] = house.gigya.elsewhere_api_key


def _no_audit(house: House) -> None:
    (house.directory / "directory").mkdir()
    house.settings["audit"]["sinks"][0]["path"] = str(house.directory / "directory")


FAILURES: Final = (
    *_network(), *_tls(), *_answers(), *_codes(), *_sealing(), *_credentials(), *_ours(),
)  # fmt: skip

_HEAD: Final = (
    "| what happens | status | code | calls | breaker | `reason` in the audit |",
    "|---|---|---|---|---|---|",
)


def table(failures: tuple[Failure, ...] = FAILURES) -> str:
    """Return the failures as the README shows them; alike ones of Gigya's codes share a row."""
    lines = [
        f"{len(failures)} failures, each injected for real in `tests/resilience/test_failures.py`:",
        "calls are attempts at Gigya for one request (`attempts: 3`); the audit's `outcome` is",
        "the code.",
    ]
    for group, members in groupby(failures, key=lambda failure: failure.group):
        lines += ["", f"**{group}**", "", *_HEAD, *_rows(tuple(members))]
    return "\n".join(lines) + "\n"


def _rows(failures: tuple[Failure, ...]) -> Iterator[str]:
    for _, alike in groupby(failures, key=_likeness):
        rows = tuple(alike)
        what = ", ".join(row.what for row in rows)
        first = rows[0]
        reason = "`gigya-` and the code" if len(rows) > 1 else f"`{first.reason}`"
        yield (
            f"| {what} | {first.status} | `{first.code}` | {first.calls} | {first.breaker}"
            f" | {reason} |"
        )


def _likeness(failure: Failure) -> tuple[object, ...]:
    alone = None if failure.what.isdigit() else failure.what
    return alone, failure.status, failure.code, failure.calls, failure.breaker


if __name__ == "__main__":
    sys.stdout.write(table())
