"""The order of refusals: a request with several faults is told the first one only."""

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.types import Message

from service.api.problem_table import PROBLEMS
from tests.house import TOKEN, Exchange, House, Visitor, body, caller, grant


def document() -> dict[str, Any]:
    return {"uid": "user-twitter", "provider": "twitter"}


def headers() -> dict[str, str]:
    return {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}


@dataclass
class Request:
    """A request that is well, until faults are put into it."""

    method: str = "POST"
    path: str = "/v1/provider-tokens"
    headers: dict[str, str] = field(default_factory=headers)
    members: dict[str, Any] = field(default_factory=document)
    padding: bytes = b""
    is_silent: bool = False
    before: list[Callable[[House, Visitor], Any]] = field(default_factory=list)

    def messages(self) -> list[Message]:
        """Return the body, in two parts, or the first of them."""
        octets = json.dumps(self.members).encode() + self.padding
        half = len(octets) // 2 if len(octets) < 17_000 else 17_000
        parts = [body(octets[:half], more=True), body(octets[half:])]
        return parts[:1] if self.is_silent else parts


def shutting_down(request: Request) -> None:
    request.before.append(lambda _, visitor: visitor.application.lifecycle.refuse())


def not_found(request: Request) -> None:
    request.path = "/v1/provider-token"


def method_not_allowed(request: Request) -> None:
    request.method = "PUT"


def unauthenticated(request: Request) -> None:
    request.headers["authorization"] = "Bearer gcproxy_of-nobody"


def rate_limited(request: Request) -> None:
    async def use_up(_: House, visitor: Visitor) -> None:
        assert 200 == (await visitor.get("/v1/grants")).status_code

    request.before.insert(0, use_up)


def unsupported_media_type(request: Request) -> None:
    request.headers["content-type"] = "text/plain"


def too_large(request: Request) -> None:
    request.padding = b" " * 17 * 1024


def timed_out(request: Request) -> None:
    request.is_silent = True


def malformed(request: Request) -> None:
    request.members["no such member"] = 1


def bad_header(request: Request) -> None:
    request.headers["request-timeout"] = "soon"


def unknown_provider(request: Request) -> None:
    request.members["provider"] = "myspace2"


def denied(request: Request) -> None:
    request.members["fields"] = ["sessionHandle"]


def rejected(request: Request) -> None:
    request.before.append(lambda house, _: house.simulator.knobs.turn(error_code=403007))


Fault = Callable[[Request], None]

RANKS: Final[tuple[tuple[tuple[str, int, Fault], ...], ...]] = (
    (("shutting-down", 503, shutting_down),),
    (("not-found", 404, not_found), ("method-not-allowed", 405, method_not_allowed)),
    (("unauthenticated", 401, unauthenticated),),
    (("rate-limited", 429, rate_limited),),
    (("unsupported-media-type", 415, unsupported_media_type),),
    (("request-too-large", 413, too_large), ("request-timeout", 408, timed_out)),
    (("invalid-request", 400, malformed), ("invalid-request", 400, bad_header)),
    (("unknown-provider", 400, unknown_provider),),
    (("access-denied", 403, denied),),
    (("upstream-rejected", 502, rejected),),
)
"""design.md, "Order of refusal", each with a request that has that fault."""

ALONE: Final = [each for rank in RANKS for each in rank]
PAIRS: Final = [
    (earlier, later)
    for one, other in itertools.combinations(RANKS, 2)
    for earlier, later in itertools.product(one, other)
]


async def send(faults: Iterable[Fault], directory: Path) -> tuple[Exchange, House]:
    """Send one request with all of ``faults`` to a service where nothing else is wrong."""
    house = House(directory)
    limits = {"rate": 0.001, "burst": 1}
    house.settings["callers"] = [caller("crm", grant("authToken"), limits=limits)]
    house.settings["listeners"] = {"api": {"body_timeout": 0.1}}
    request = Request()
    for fault in faults:
        fault(request)
    async with house.open() as visitor:
        for act in request.before:
            done = act(house, visitor)
            if hasattr(done, "__await__"):
                await done
        exchange = await visitor.exchange(
            *request.messages(),
            method=request.method,
            path=request.path,
            headers=request.headers,
        )
    return exchange, house


class TestOrder:
    @pytest.mark.parametrize(
        ("earlier", "later"), PAIRS, ids=[f"{one[0]}+{other[0]}" for one, other in PAIRS]
    )
    async def test_the_earlier_of_two_faults_is_told(
        self, earlier: tuple[str, int, Fault], later: tuple[str, int, Fault], tmp_path: Path
    ) -> None:
        """Whoever has two faults hears of the one that comes first in the contract."""
        code, status, _ = earlier

        exchange, house = await send((earlier[2], later[2]), tmp_path)

        assert (status, code) == (exchange.status, exchange.json()["code"])
        assert 0 == house.simulator.calls.total
        record = house.records()[-1]
        assert (code, status) == (record["outcome"], record["status"])
        assert exchange.headers["audit-id"] == record["audit_id"] == exchange.json()["audit_id"]

    async def test_faults_are_told_one_after_the_other(self, tmp_path: Path) -> None:
        """With the first fault mended the second is told, and so on down to Gigya's."""
        everything = [rank[0] for rank in RANKS]
        told = []
        for at in range(len(everything)):
            directory = tmp_path / str(at)
            directory.mkdir()
            exchange, _ = await send([fault for _, _, fault in everything[at:]], directory)
            told.append(exchange.json()["code"])

        assert [code for code, _, _ in everything] == told

    @pytest.mark.parametrize(("code", "status", "fault"), ALONE, ids=[each[0] for each in ALONE])
    async def test_each_fault_alone_is_told(
        self, code: str, status: int, fault: Fault, tmp_path: Path
    ) -> None:
        """Every row of the order is reached by a request with that fault only."""
        exchange, _ = await send((fault,), tmp_path)

        problem = exchange.json()
        assert (status, code) == (exchange.status, problem["code"])
        assert f"urn:gigya-credential-proxy:problem:{code}" == problem["type"]
        assert "application/problem+json" == exchange.headers["content-type"]
        assert "no-store" == exchange.headers["cache-control"]
        assert problem["retryable"] is ("retry-after" in exchange.headers) or code == (
            "request-timeout"
        )

    def test_every_problem_of_the_caller_has_a_rank(self) -> None:
        """The order speaks of every error that a request alone can bring about."""
        told = {code for rank in RANKS for code, _, _ in rank}

        caused = {error.code for error, row in PROBLEMS.items() if row.status.value < 500}
        of_the_session = {"no-session", "reauthentication-required", "token-expiring"}
        assert caused - of_the_session <= told


class TestBeforeTheBody:
    async def test_authentication_is_decided_before_the_body_is_read(self, tmp_path: Path) -> None:
        """A caller without a credential is refused though its body never comes."""
        async with House(tmp_path).open() as visitor:
            exchange = await visitor.exchange(headers={"authorization": ""})

        assert 401 == exchange.status
        assert not exchange.is_silent.is_set()

    async def test_an_announced_length_over_the_cap_is_refused_unread(self, tmp_path: Path) -> None:
        """17 KiB need not be sent to be refused."""
        async with House(tmp_path).open() as visitor:
            exchange = await visitor.exchange(headers={"content-length": str(17 * 1024)})

        assert 413 == exchange.status
        assert not exchange.is_silent.is_set()
