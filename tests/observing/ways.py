"""One way to each outcome that a request can have."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from service.simulator import Body, Seal
from tests.callers import issuer
from tests.callers.composed import Outside
from tests.callers.house import Net
from tests.house import OTHER_TOKEN, House, Visitor, body, caller, grant

ISSUER: Final = "https://issuer.example"
Go = Callable[[House, Visitor], Awaitable[Any]]


def as_it_is(_: House) -> None:
    """Change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What is set before the start, and what is done."""

    go: Go
    before: Callable[[House], None] = as_it_is


def asking(**members: Any) -> Go:
    """Ask for provider tokens."""
    return lambda _, visitor: visitor.ask(**members)


def troubled(**knob: Any) -> Go:
    """Ask while Gigya misbehaves."""

    async def go(house: House, visitor: Visitor) -> None:
        house.simulator.knobs.turn(**knob)
        await visitor.ask()

    return go


def sections(**changes: Mapping[str, Any]) -> Callable[[House], None]:
    """Change sections of the configuration."""

    def change(house: House) -> None:
        for name, section in changes.items():
            house.settings[name] = {**house.settings.get(name, {}), **section}

    return change


def one_a_minute(house: House) -> None:
    """Allow crm one request a minute."""
    limits = {"rate": 1 / 60, "burst": 1}
    house.settings["callers"][0] = caller("crm", grant(), limits=limits)


def with_two_sinks(house: House) -> None:
    """Ask two sinks for each record, one of which is not there."""
    gone = {"name": "gone", "type": "unix", "path": str(house.directory / "none.sock")}
    sinks = [*house.settings["audit"]["sinks"], gone]
    house.settings["audit"] = {**house.settings["audit"], "accept": "all", "sinks": sinks}


def with_an_issuer(house: House) -> None:
    """Let callers in by an issuer that is away."""
    house.settings["authentication"].append(
        {
            "name": "cluster",
            "method": "jwt",
            "kind": "oidc",
            "issuer": ISSUER,
            "audiences": ["proxy"],
            "algorithms": ["ES256"],
            "keys": {"jwks_uri": f"{ISSUER}/keys"},
        }
    )
    outside = Outside(house, Net({}))
    house.dial = lambda _: outside


async def twice(_: House, visitor: Visitor) -> None:
    """Ask once more than is allowed."""
    await visitor.ask()
    await visitor.ask()


async def leave(_: House, visitor: Visitor) -> None:
    """Leave before the request is complete."""
    await visitor.exchange(body(b"{", more=True), {"type": "http.disconnect"})


async def be_cut(house: House, visitor: Visitor) -> None:
    """Have the process end while Gigya is asked."""
    before = house.simulator.calls.total
    house.simulator.knobs.turn(hold=(hold := asyncio.Event()))
    task = asyncio.create_task(visitor.ask())
    await house.simulator.calls.arrive(before + 1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    hold.set()


async def crowd(house: House, visitor: Visitor) -> None:
    """Ask while the only place is taken."""
    hold = asyncio.Event()
    house.simulator.knobs.turn(hold=hold)
    first = asyncio.create_task(visitor.ask(uid="user-google", provider="google"))
    await house.simulator.calls.arrive(1)
    await visitor.ask()
    hold.set()
    await first


async def stumble(_: House, visitor: Visitor) -> None:
    """Meet a bug."""

    async def bug(*_: object) -> None:
        raise RuntimeError

    recording: Any = visitor.application.api
    recording._app = bug
    await visitor.ask()


async def come_late(_: House, visitor: Visitor) -> None:
    """Ask when nothing new is taken any more."""
    visitor.application.lifecycle.refuse()
    await visitor.ask()


async def show_a_token(house: House, visitor: Visitor) -> httpx.Response:
    """Show a token of the issuer."""
    now = int(house.time.now)
    claims = {"iss": ISSUER, "sub": "crm", "aud": "proxy", "iat": now, "exp": now + 600}
    return await visitor.ask(token=issuer.token(claims))


WAYS: Final[Mapping[str, Way]] = {
    "released": Way(go=asking(fields=["authToken", "tokenSecret"])),
    "answered": Way(go=lambda _, visitor: visitor.get("/v1/grants")),
    "no-session": Way(go=asking(provider="facebook")),
    "invalid-request": Way(go=lambda _, visitor: visitor.post(b"{")),
    "unknown-provider": Way(go=asking(provider="nonsense")),
    "request-timeout": Way(
        before=sections(listeners={"api": {"body_timeout": 0.01}}),
        go=lambda _, visitor: visitor.exchange(body(b"{", more=True)),
    ),
    "request-too-large": Way(go=lambda _, visitor: visitor.post(b"{" + b" " * 17_000)),
    "unsupported-media-type": Way(
        go=lambda _, visitor: visitor.post(b"{}", content_type="text/plain")
    ),
    "unauthenticated": Way(go=asking(token="gcproxy_of-nobody")),
    "access-denied": Way(go=asking(token=OTHER_TOKEN, provider="google", uid="user-google")),
    "not-found": Way(go=lambda _, visitor: visitor.get("/v2/anything")),
    "method-not-allowed": Way(go=lambda _, visitor: visitor.get("/v1/provider-tokens")),
    "rate-limited": Way(before=one_a_minute, go=twice),
    "reauthentication-required": Way(go=asking(uid="user-expired")),
    "token-expiring": Way(go=asking(provider="google", uid="user-google", min_ttl=86_400)),
    "internal-error": Way(go=stumble),
    "upstream-rejected": Way(go=troubled(error_code=403007)),
    "upstream-invalid": Way(go=troubled(body=Body.HTML)),
    "undecryptable": Way(go=troubled(seal=Seal.WRONG_KEY)),
    "upstream-unavailable": Way(go=troubled(error_code=500001)),
    "upstream-busy": Way(go=troubled(error_code=403048)),
    "upstream-timeout": Way(go=troubled(error_code=504001)),
    "overloaded": Way(before=sections(listeners={"api": {"max_in_flight": 1}}), go=crowd),
    "audit-unavailable": Way(before=with_two_sinks, go=asking()),
    "authentication-unavailable": Way(before=with_an_issuer, go=show_a_token),
    "shutting-down": Way(go=come_late),
    "caller-gone": Way(go=leave),
    "cancelled": Way(go=be_cut),
}


async def ask_again(_: House, visitor: Visitor) -> None:
    """Ask for what was just given."""
    await visitor.ask()
    await visitor.ask(max_age=30)


def watched(house: House) -> None:
    """Try rules on crm that would give it nothing of this provider."""
    house.settings["callers"][0] = caller(
        "crm", grant(), candidate_grants=[grant(providers=["facebook"])]
    )


VARIANTS: Final[Mapping[str, Way]] = {
    "released from memory": Way(before=sections(cache={"enabled": True}), go=ask_again),
    "released, though candidates would deny it": Way(before=watched, go=asking()),
}
"""Releases whose line and record have more to tell than that."""


def prepared(directory: Path, outcome: str) -> House:
    """Return a house set for the way to an outcome; one attempt at Gigya and no second."""
    house = House(directory, fraction=lambda: 0.0)
    house.settings["upstream"] = {"attempts": 1}
    _way(outcome).before(house)
    return house


async def gone(house: House, outcome: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Go the way; return the canonical line and the record of that outcome, or of the variant."""
    async with house.open() as visitor:
        await _way(outcome).go(house, visitor)
    if outcome in VARIANTS:
        return house.lines()[-1], house.records()[-1]
    [line] = [line for line in house.lines() if line["outcome"] == outcome]
    [record] = [record for record in house.records() if record["outcome"] == outcome]
    return line, record


def _way(name: str) -> Way:
    return {**WAYS, **VARIANTS}[name]
